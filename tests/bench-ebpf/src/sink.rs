//! Where packets end: looked at, counted, and answered where that is wanted.
use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    helpers::generated::bpf_redirect,
    macros::map,
    maps::{Array, PerCpuArray},
    programs::XdpContext,
};

use crate::{
    frame::{self, IPV4_OFFSET, Packet, TRANSPORT_OFFSET, fold, halves, updated},
    generate,
    layout::{Expectation, FRAME, Outcome, Place, SAMPLE},
};

#[map]
static EXPECTED: Array<Expectation> = Array::with_max_entries(Place::COUNT, 0);

#[map]
static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Place::COUNT * Outcome::COUNT, 0);

#[inline(always)]
pub fn take(ctx: &XdpContext, place: Place) -> u32 {
    let Some(mut packet) = Packet::of(ctx) else { return XDP_PASS };
    if packet.headers().ethertype != frame::IPV4.to_be() {
        // The stack resolves its neighbours by itself.
        return XDP_PASS;
    }
    let Some(expected) = EXPECTED.get(place as u32) else { return XDP_DROP };
    let outcome = judge(&mut packet, expected);
    let seen = count(place, outcome);
    if !matches!(outcome, Outcome::Right) {
        return XDP_DROP;
    }
    if seen.is_multiple_of(SAMPLE) {
        let right = checksums_are_right(&mut packet);
        count(place, if right { Outcome::Sampled } else { Outcome::WrongChecksum });
    }
    if expected.reflects == 0 || !reflected(&mut packet) {
        return XDP_DROP;
    }
    // Not XDP_TX, which veth does not tell its peer's NAPI of unless that peer has a program of XDP
    // (veth_xdp_flush() of drivers/net/veth.c).
    // SAFETY: the helper has no precondition.
    unsafe { bpf_redirect(ctx.ingress_ifindex() as u32, 0) as u32 }
}

#[inline(always)]
fn judge(packet: &mut Packet, expected: &Expectation) -> Outcome {
    let headers = packet.headers();
    if headers.destination_mac != expected.destination_mac
        || headers.source_mac != expected.source_mac
    {
        return Outcome::WrongFrame;
    }
    let (source, destination) = (u32::from_be(headers.source), u32::from_be(headers.destination));
    if source & expected.source_mask != expected.source
        || destination & expected.destination_mask != expected.destination
    {
        return Outcome::WrongAddress;
    }
    if u32::from(headers.ttl) != expected.ttl {
        return Outcome::WrongTtl;
    }
    Outcome::Right
}

/// Returns how many there were before.
#[inline(always)]
fn count(place: Place, outcome: Outcome) -> u64 {
    let index = place as u32 * Outcome::COUNT + outcome as u32;
    let Some(counter) = COUNTS.get_ptr_mut(index) else { return 0 };
    // SAFETY: this CPU's own.
    unsafe {
        let before = *counter;
        *counter = before + 1;
        before
    }
}

#[inline(always)]
fn checksums_are_right(packet: &mut Packet) -> bool {
    let mut header = 0;
    for at in (IPV4_OFFSET..TRANSPORT_OFFSET).step_by(2) {
        header += u64::from(packet.word(at));
    }
    let mut transport = 0;
    for at in (TRANSPORT_OFFSET..FRAME).step_by(2) {
        transport += u64::from(packet.word(at));
    }
    let headers = packet.headers();
    transport += halves(headers.source) + halves(headers.destination);
    transport += u64::from(u16::from(headers.protocol).to_be());
    transport += u64::from(((FRAME - TRANSPORT_OFFSET) as u16).to_be());
    fold(header) == 0xffff && fold(transport) == 0xffff
}

/// Makes a packet its own answer, if it has one. As another host would send it: with a new TTL.
#[inline(always)]
fn reflected(packet: &mut Packet) -> bool {
    let headers = packet.headers();
    if headers.protocol == frame::TCP && !generate::answer(headers) {
        return false;
    }
    // Sums do not change by an exchange.
    (headers.source, headers.destination) = (headers.destination, headers.source);
    let ports = (headers.destination_port, headers.source_port);
    (headers.source_port, headers.destination_port) = ports;
    (headers.source_mac, headers.destination_mac) = (headers.destination_mac, headers.source_mac);
    headers.ttl += 1;
    let gained = u64::from(u16::from_be_bytes([1, 0]).to_be());
    headers.header_check = updated(headers.header_check, gained);
    true
}
