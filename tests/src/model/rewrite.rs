//! The frame that leaves.
use super::{
    checksum::{carried_over, complement, pseudo_header, sum},
    flow::{Endpoint, Protocol},
    host::Hop,
    packet::{IPV4, Packet, address_at, u16_at},
};

/// The frame with another source. A hop, if the frame is forwarded here and now.
pub(super) fn source(frame: &[u8], packet: &Packet, to: Endpoint, hop: Option<Hop>) -> Vec<u8> {
    translated(frame, packet, (IPV4 + 12, 0), to, hop)
}

/// The frame with another destination.
pub(super) fn destination(
    frame: &[u8],
    packet: &Packet,
    to: Endpoint,
    hop: Option<Hop>,
) -> Vec<u8> {
    translated(frame, packet, (IPV4 + 16, 2), to, hop)
}

/// `at` says where the address stands in the frame, and the port in the transport header.
fn translated(
    frame: &[u8],
    packet: &Packet,
    at: (usize, usize),
    to: Endpoint,
    hop: Option<Hop>,
) -> Vec<u8> {
    let mut new = frame.to_vec();
    put(&mut new, at.0, &to.0.octets());
    let protocol = Protocol::from_number(packet.protocol);
    let port = if protocol == Some(Protocol::Icmp) { 4 } else { at.1 };
    put(&mut new, packet.transport + port, &to.1.to_be_bytes());
    if let Some(hop) = hop {
        put(&mut new, 0, &hop.destination);
        put(&mut new, 6, &hop.source);
        put(&mut new, IPV4 + 8, &[packet.ttl - 1]);
    }

    let check = |frame: &[u8]| right_ipv4(frame, packet);
    mend(frame, &mut new, IPV4 + 10, check);
    let field = packet.transport
        + match protocol {
            Some(Protocol::Tcp) => 16,
            Some(Protocol::Udp) => 6,
            _ => 2,
        };
    // UDP: zero says that the sender computed no checksum, so a computed zero is sent as 0xffff,
    // the same number (RFC 768).
    let udp = protocol == Some(Protocol::Udp);
    if !(udp && u16_at(frame, field) == Some(0)) {
        mend(frame, &mut new, field, |frame| right_transport(frame, packet, field));
        if udp && u16_at(&new, field) == Some(0) {
            put(&mut new, field, &[0xff, 0xff]);
        }
    }
    new
}

/// Brings the checksum at `field` in line with the changed frame.
pub(super) fn mend(old: &[u8], new: &mut [u8], field: usize, right: impl Fn(&[u8]) -> u16) {
    let stored = u16_at(old, field).unwrap_or(0);
    let check = carried_over(stored, right(old), right(new));
    put(new, field, &check.to_be_bytes());
}

pub(super) fn right_ipv4(frame: &[u8], packet: &Packet) -> u16 {
    let header = frame.get(IPV4..packet.transport).unwrap_or_default();
    let stored = u16_at(header, 10).unwrap_or(0);
    complement(sum(header) - u64::from(stored))
}

fn right_transport(frame: &[u8], packet: &Packet, field: usize) -> u16 {
    let segment = frame.get(packet.transport..packet.end).unwrap_or_default();
    let mut total = sum(segment);
    // The field counts as zero. It stands at an even offset of the segment.
    total -= u64::from(u16_at(frame, field).unwrap_or(0));
    if packet.protocol != Protocol::Icmp.number() {
        let (source, destination) = (address_at(frame, IPV4 + 12), address_at(frame, IPV4 + 16));
        total += pseudo_header(source, destination, packet.protocol, segment.len());
    }
    complement(total)
}

pub(super) fn put(frame: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(field) = frame.get_mut(offset..offset + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}
