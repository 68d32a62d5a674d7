//! Where a translation writes, by direction and protocol.
use crate::{
    addr::{Ipv4, Port},
    checksum::{self, Delta},
    flow::{Direction, Protocol},
};

/// Offset of the identification in the IPv4 header, bytes.
pub const IPV4_ID: u16 = 4;
/// Offset of the flags and the fragment offset in the IPv4 header, bytes.
pub const IPV4_PART: u16 = 6;
/// Offset of the checksum in the IPv4 header, bytes.
pub const IPV4_CHECK: u16 = 10;
/// Offset of the time to live in the IPv4 header, bytes.
pub const IPV4_TTL: u16 = 8;

/// The header fields that change. Offsets are bytes from the start of the header named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fields {
    /// In the IPv4 header.
    pub address: u16,
    /// In the transport header: the port, or the identifier of an ICMP query.
    pub port: u16,
    /// In the transport header.
    pub check: u16,
    /// Whether the transport checksum covers the addresses, by a pseudo-header.
    pub pseudo_header: bool,
    /// Whether a checksum of zero says that there is none (UDP).
    pub check_optional: bool,
}

impl Fields {
    /// What changes in a packet of this direction and protocol.
    #[inline(always)]
    #[must_use]
    pub const fn of(direction: Direction, protocol: Protocol) -> Self {
        let (address, port) = match direction {
            Direction::Outbound => (12, 0),
            Direction::Inbound => (16, 2),
        };
        let (port, check) = match protocol {
            Protocol::Tcp => (port, 16),
            Protocol::Udp => (port, 6),
            Protocol::Icmp => (4, 2),
        };
        let icmp = matches!(protocol, Protocol::Icmp);
        let check_optional = matches!(protocol, Protocol::Udp);
        Self { address, port, check, pseudo_header: !icmp, check_optional }
    }
}

/// What the IPv4 and the transport checksum of every packet of a flow gain when its local endpoint
/// is replaced.
#[inline(always)]
#[must_use]
pub const fn deltas(
    protocol: Protocol,
    (old, old_port): (Ipv4, Port),
    (new, new_port): (Ipv4, Port),
) -> (Delta, Delta) {
    let address = checksum::address_delta(old, new);
    let port = checksum::port_delta(old_port, new_port);
    match protocol {
        Protocol::Tcp | Protocol::Udp => (address, checksum::combine(address, port)),
        Protocol::Icmp => (address, port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_rfcs_draw_them() {
        // RFC 791 section 3.1, RFC 9293 section 3.1, RFC 768, RFC 792 (echo).
        let of = |direction, protocol| {
            let fields = Fields::of(direction, protocol);
            (fields.address, fields.port, fields.check)
        };
        assert_eq!(of(Direction::Outbound, Protocol::Tcp), (12, 0, 16));
        assert_eq!(of(Direction::Inbound, Protocol::Tcp), (16, 2, 16));
        assert_eq!(of(Direction::Outbound, Protocol::Udp), (12, 0, 6));
        assert_eq!(of(Direction::Inbound, Protocol::Udp), (16, 2, 6));
        assert_eq!(of(Direction::Outbound, Protocol::Icmp), (12, 4, 2));
        assert_eq!(of(Direction::Inbound, Protocol::Icmp), (16, 4, 2));
    }
}
