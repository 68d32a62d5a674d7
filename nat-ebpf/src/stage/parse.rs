//! Frame → [`Packet`].
use core::{ffi::c_void, hint::black_box, ptr};

use aya_ebpf::{helpers::generated::bpf_loop, macros::map, maps::PerCpuArray};
use nat_common::{
    addr::{Ipv4, Port},
    flow::Protocol,
    fragment::Part,
    icmp::Kind,
    packet::{Packet, Transport},
    tcp::{
        self,
        options::{self, NO_SCALE, OPTIONS_BYTES, option},
    },
    verdict::Verdict,
};
use network_types::{
    eth::{EthHdr, EtherType},
    ip::Ipv4Hdr,
    tcp::TcpHdr,
    udp::UdpHdr,
};

use crate::packet::Frame;

/// Bytes of an Ethernet header.
pub const ETHERNET_BYTES: usize = EthHdr::LEN;
/// Where the IPv4 header starts.
pub const IPV4_OFFSET: usize = ETHERNET_BYTES;

/// Where the destination stands in an IPv4 header (RFC 791).
pub const IPV4_DESTINATION: usize = 16;

/// Bytes of an ICMP query's header (RFC 792).
const ICMP_BYTES: usize = 8;
/// Where the flags stand in a TCP header (RFC 9293 section 3.1).
const TCP_FLAGS: usize = 13;
/// Bytes that options are read in: a header's length counts them.
const WORD: usize = size_of::<u32>();

/// Reads the headers of an IPv4 packet. What cannot be translated is still a packet: whether that
/// matters is for the rules to say.
#[inline(always)]
pub fn ipv4<F: Frame>(frame: &F) -> Result<Packet, Verdict> {
    if frame.tagged() {
        return Err(Verdict::VlanTagged);
    }
    let eth: EthHdr = frame.load(0).ok_or(Verdict::NotIpv4)?;
    match eth.ether_type() {
        Ok(EtherType::Ipv4) => {}
        // The stack would take off a tag beneath that of a priority without asking again.
        Ok(EtherType::Ieee8021q | EtherType::Ieee8021ad) if frame.prioritised() => {
            return Err(Verdict::Malformed);
        }
        Ok(EtherType::Ieee8021q | EtherType::Ieee8021ad) => return Err(Verdict::VlanTagged),
        _ => return Err(Verdict::NotIpv4),
    }
    let ip: Ipv4Hdr = frame.load(IPV4_OFFSET).ok_or_else(|| frame.cut())?;
    let header_bytes = usize::from(ip.vihl & 0x0f) * 4;
    let total_length = ip.tot_len();
    let too_long = IPV4_OFFSET + usize::from(total_length) > frame.length();
    if ip.vihl >> 4 != 4 || header_bytes < Ipv4Hdr::LEN || too_long {
        return Err(Verdict::Malformed);
    }
    // A super-frame longer than the field can say has 0 there (BIG TCP).
    let payload_bytes = match total_length {
        0 => frame.length().saturating_sub(IPV4_OFFSET + header_bytes),
        length if usize::from(length) < header_bytes => return Err(Verdict::Malformed),
        length => usize::from(length) - header_bytes,
    };
    let transport_offset = IPV4_OFFSET + header_bytes;
    let transport = if Part::of(ip.frags).is_later() {
        Transport::Untranslatable(Verdict::Fragment)
    } else {
        transport(frame, ip.proto, transport_offset, payload_bytes)
    };
    Ok(Packet {
        source: Ipv4::new(ip.src_addr),
        destination: Ipv4::new(ip.dst_addr),
        protocol: ip.proto,
        tos: ip.tos,
        ttl: ip.ttl,
        total_length,
        transport_offset: transport_offset as u16,
        options: header_bytes != Ipv4Hdr::LEN,
        transport,
    })
}

/// Reads the transport header at `offset`; the packet says that `available` bytes are there.
#[inline(always)]
fn transport<F: Frame>(frame: &F, protocol: u8, offset: usize, available: usize) -> Transport {
    let Some(protocol) = Protocol::from_number(protocol) else {
        return Transport::Untranslatable(Verdict::ProtocolNotCovered);
    };
    let header_bytes = match protocol {
        Protocol::Tcp => TcpHdr::LEN,
        Protocol::Udp => UdpHdr::LEN,
        Protocol::Icmp => ICMP_BYTES,
    };
    if available < header_bytes {
        return Transport::Untranslatable(Verdict::Truncated);
    }
    let read = match protocol {
        Protocol::Tcp => tcp(frame, offset, available),
        Protocol::Udp => udp(frame, offset),
        Protocol::Icmp => icmp(frame, offset),
    };
    read.unwrap_or(Transport::Untranslatable(Verdict::Truncated))
}

#[inline(always)]
fn tcp<F: Frame>(frame: &F, offset: usize, available: usize) -> Option<Transport> {
    let header: TcpHdr = frame.load(offset)?;
    let flags = tcp::Flags(frame.load(offset + TCP_FLAGS)?);
    let header_bytes = usize::from(header.doff()) * WORD;
    if header_bytes < TcpHdr::LEN || header_bytes > available {
        return None;
    }
    if let Some(segment) = segment() {
        segment.sequence = u32::from_be_bytes(header.seq);
        segment.acknowledgement = u32::from_be_bytes(header.ack_seq);
        segment.payload = (available - header_bytes) as u32;
        segment.window = u16::from_be_bytes(header.window);
        segment.flags = flags;
        segment.scale = NO_SCALE;
    }
    if flags.has(tcp::Flags::SYN) {
        window_scale(frame, offset + TcpHdr::LEN, (header_bytes - TcpHdr::LEN) / WORD);
    }
    let (source, destination) = (Port::from_bytes(header.source), Port::from_bytes(header.dest));
    Some(Transport::Tcp { source, destination, flags })
}

/// What the packet that was read last says as a TCP segment, if it is one.
#[map]
static SEGMENT: PerCpuArray<tcp::Segment> = PerCpuArray::with_max_entries(1, 0);

/// What this CPU's packet says as a TCP segment, if it is one. In a map, because few packets need
/// more of it than their session's entry, and it would not fit on the stack of all.
#[inline(always)]
pub fn segment() -> Option<&'static mut tcp::Segment> {
    // SAFETY: as for `scan`.
    SEGMENT.get_ptr_mut(0).map(|segment| unsafe { &mut *segment })
}

/// The options of a SYN while they are read, and what has been found.
struct Scan {
    bytes: [u8; OPTIONS_BYTES],
    length: u32,
    at: u32,
    scale: u8,
}

#[map]
static SCAN: PerCpuArray<Scan> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
fn scan() -> Option<&'static mut Scan> {
    // SAFETY: this CPU's own copy; the programs of a CPU do not interrupt each other, and no two
    // references are in use at once.
    SCAN.get_ptr_mut(0).map(|scan| unsafe { &mut *scan })
}

/// Looks for the window scale among `words` words of options at `offset`: [`tcp::Segment::scale`].
///
/// Not inlined, and the answer left in a map, because the verifier would walk what comes after it
/// once for each number of words.
#[inline(never)]
fn window_scale<F: Frame>(frame: &F, offset: usize, words: usize) {
    read_options(frame, offset, words);
    if let (Some(scan), Some(segment)) = (scan(), segment()) {
        segment.scale = scan.scale;
    }
}

#[inline(always)]
fn read_options<F: Frame>(frame: &F, offset: usize, words: usize) {
    let Some(all) = scan() else {
        return;
    };
    all.scale = NO_SCALE;
    all.at = 0;
    all.length = (words * WORD) as u32;
    for (word, bytes) in all.bytes.chunks_exact_mut(WORD).enumerate() {
        // `black_box` keeps the loop's bound a constant, for older verifiers.
        if black_box(word) >= words {
            break;
        }
        match frame.load::<[u8; WORD]>(offset + word * WORD) {
            Some(read) => bytes.copy_from_slice(&read),
            None => return,
        }
    }
    let body = next_option as unsafe extern "C" fn(u32, *mut c_void) -> i64;
    // A loop of the kernel's, because the verifier follows a loop of ours once for every turn.
    // SAFETY: the callback has the signature that the helper expects and takes no context.
    unsafe { bpf_loop(OPTIONS_BYTES as u32, body as *mut c_void, ptr::null_mut(), 0) };
}

/// # Safety
///
/// To be called by `bpf_loop` only.
unsafe extern "C" fn next_option(_turn: u32, _context: *mut c_void) -> i64 {
    const AGAIN: i64 = 0;
    const ENOUGH: i64 = 1;
    let Some(scan) = scan() else {
        return ENOUGH;
    };
    match option(&scan.bytes, scan.at, scan.length) {
        options::Option::Next(at) => {
            scan.at = at;
            AGAIN
        }
        options::Option::Scale(scale) => {
            scan.scale = scale;
            ENOUGH
        }
        options::Option::End => ENOUGH,
    }
}

#[inline(always)]
fn udp<F: Frame>(frame: &F, offset: usize) -> Option<Transport> {
    let header: UdpHdr = frame.load(offset)?;
    Some(Transport::Udp {
        source: Port::from_bytes(header.src),
        destination: Port::from_bytes(header.dst),
    })
}

#[inline(always)]
fn icmp<F: Frame>(frame: &F, offset: usize) -> Option<Transport> {
    let [kind, _, _, _, high, low, _, _]: [u8; ICMP_BYTES] = frame.load(offset)?;
    Some(match Kind::of(kind) {
        Kind::Query => Transport::IcmpQuery { kind, identifier: Port::from_bytes([high, low]) },
        Kind::Error => Transport::IcmpError,
        Kind::Refused => Transport::Untranslatable(Verdict::IcmpRefused),
        Kind::Other => Transport::Untranslatable(Verdict::IcmpUnsupported),
    })
}
