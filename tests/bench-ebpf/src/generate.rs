//! Packets of as many flows as wanted.
use aya_ebpf::{
    bindings::xdp_action::XDP_TX,
    macros::map,
    maps::{Array, PerCpuArray},
    programs::XdpContext,
};

use crate::{
    frame::{self, Headers, Packet, Tcp, Transport, Udp, fold, halves},
    layout::{CHUNK, CLIENT_PORT, CLIENT_PORTS, FRAME, Plan, SERVER_PORT, UDP},
};

/// One a CPU.
#[map]
static PLAN: Array<Plan> = Array::with_max_entries(16, 0);

/// The number of the next packet.
#[map]
static SENT: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

const IPV4_BYTES: u16 = (FRAME - frame::IPV4_OFFSET) as u16;
const TRANSPORT_BYTES: u16 = (FRAME - frame::TRANSPORT_OFFSET) as u16;
const TTL: u8 = 64;
const DONT_FRAGMENT: u16 = 0x4000;

/// The client's initial sequence number, and the answers' one.
const CLIENT_SEQUENCE: u32 = 1000;
const SERVER_SEQUENCE: u32 = 5000;
const WINDOW: u16 = 64_000;
/// Seven words of header.
const HEADER: u16 = 7 << 12;
const FIN: u16 = 1;
const SYN: u16 = 2;
const ACK: u16 = 16;

#[inline(always)]
pub fn next(ctx: &XdpContext) -> Option<u32> {
    let mut packet = Packet::of(ctx)?;
    // SAFETY: the helper has no precondition.
    let cpu = unsafe { aya_ebpf::helpers::generated::bpf_get_smp_processor_id() };
    let plan = PLAN.get(cpu)?;
    let sent = SENT.get_ptr_mut(0)?;
    // SAFETY: this CPU's own.
    let number = unsafe {
        let number = *sent;
        *sent = number + 1;
        number as u32
    };
    let headers = packet.headers();
    headers.destination_mac = plan.destination_mac;
    headers.source_mac = plan.source_mac;
    headers.ethertype = frame::IPV4.to_be();
    headers.version = 0x45;
    headers.tos = 0;
    headers.total_length = IPV4_BYTES.to_be();
    headers.id = 0;
    headers.fragment = DONT_FRAGMENT.to_be();
    headers.ttl = TTL;
    if plan.kind == UDP {
        datagram(headers, plan, number)?;
    } else {
        connection(headers, plan, number)?;
    }
    Some(XDP_TX)
}

#[inline(always)]
fn datagram(headers: &mut Headers, plan: &Plan, number: u32) -> Option<()> {
    let ends = ends(headers, plan, number.checked_rem(plan.flows)?, frame::UDP);
    let length = TRANSPORT_BYTES.to_be();
    headers.transport = Transport { udp: Udp { length, check: 0, payload: [0; 20] } };
    headers.transport.udp.check = !fold(ends + u64::from(length));
    Some(())
}

#[inline(always)]
fn connection(headers: &mut Headers, plan: &Plan, number: u32) -> Option<()> {
    let (chunk, step) = (number / (3 * CHUNK), number / CHUNK % 3);
    let flow = chunk * CHUNK + number % CHUNK;
    let ends = ends(headers, plan, flow.checked_rem(plan.flows)?, frame::TCP);
    let (sequence, acknowledged, flags) = match step {
        0 => (CLIENT_SEQUENCE, 0, SYN),
        1 => (CLIENT_SEQUENCE + 1, SERVER_SEQUENCE + 1, ACK),
        _ => (CLIENT_SEQUENCE + 1, SERVER_SEQUENCE + 1, FIN | ACK),
    };
    // A SYN says how large the answers may be (kind 2: 1460 bytes); the rest is padding.
    let options = if step == 0 { [2, 4, 5, 0xb4, 1, 1, 1, 1] } else { [1; 8] };
    put_segment(headers, ends, sequence, acknowledged, flags, options);
    Some(())
}

/// Writes the addresses and ports of a flow, and the header's checksum. Returns the sum of what the
/// transport's checksum covers of them.
#[inline(always)]
fn ends(headers: &mut Headers, plan: &Plan, flow: u32, protocol: u8) -> u64 {
    let flow = plan.first + flow;
    let next = flow / CLIENT_PORTS;
    let (client, server) = if plan.one_server != 0 { (next, 0) } else { (0, next) };
    let source = (plan.client + client).to_be();
    let destination = (plan.server + server).to_be();
    let source_port = (CLIENT_PORT + (flow % CLIENT_PORTS) as u16).to_be();
    let destination_port = SERVER_PORT.to_be();
    headers.protocol = protocol;
    headers.source = source;
    headers.destination = destination;
    headers.source_port = source_port;
    headers.destination_port = destination_port;

    let addresses = halves(source) + halves(destination);
    let ttl = u16::from_be_bytes([TTL, protocol]).to_be();
    let fixed = [0x4500_u16.to_be(), IPV4_BYTES.to_be(), DONT_FRAGMENT.to_be(), ttl];
    let fixed = fixed.iter().fold(0, |sum, word| sum + u64::from(*word));
    headers.header_check = !fold(addresses + fixed);
    let pseudo = u64::from(u16::from(protocol).to_be()) + u64::from(TRANSPORT_BYTES.to_be());
    addresses + pseudo + u64::from(source_port) + u64::from(destination_port)
}

/// Writes the rest of a segment; `ends` is the sum of all that comes before.
#[inline(always)]
pub fn put_segment(
    headers: &mut Headers,
    ends: u64,
    sequence: u32,
    acknowledged: u32,
    flags: u16,
    options: [u8; 8],
) {
    let (sequence, acknowledged) = (sequence.to_be(), acknowledged.to_be());
    let (flags, window) = ((HEADER | flags).to_be(), WINDOW.to_be());
    let words = u64::from_ne_bytes(options);
    let mut sum = ends + halves(sequence) + halves(acknowledged);
    sum +=
        u64::from(flags) + u64::from(window) + halves(words as u32) + halves((words >> 32) as u32);
    let check = !fold(sum);
    headers.transport =
        Transport { tcp: Tcp { sequence, acknowledged, flags, window, check, urgent: 0, options } };
}

/// Turns a segment into its answer's rest, if it has one: SYN and FIN have. `ends` as above.
#[inline(always)]
pub fn answer(headers: &mut Headers) -> bool {
    // SAFETY: any bytes are a segment.
    let segment = unsafe { headers.transport.tcp };
    let flags = u16::from_be(segment.flags);
    let (sequence, flags) = if flags & SYN != 0 {
        (SERVER_SEQUENCE, SYN | ACK)
    } else if flags & FIN != 0 {
        (SERVER_SEQUENCE + 1, FIN | ACK)
    } else {
        return false;
    };
    let acknowledged = u32::from_be(segment.sequence) + 1;
    let pseudo = u64::from(u16::from(frame::TCP).to_be()) + u64::from(TRANSPORT_BYTES.to_be());
    let ends = halves(headers.source) + halves(headers.destination) + pseudo;
    let ends = ends + u64::from(headers.source_port) + u64::from(headers.destination_port);
    put_segment(headers, ends, sequence, acknowledged, flags, [1; 8]);
    true
}
