//! What a parsed packet says, and how it reads as a flow.
use crate::{
    addr::{Ipv4, Port},
    flow::{Direction, FlowKey, Protocol},
    tcp,
    verdict::Verdict,
};

/// ICMP types (RFC 792).
pub const ICMP_ECHO_REPLY: u8 = 0;
/// ICMP types (RFC 792).
pub const ICMP_ECHO_REQUEST: u8 = 8;

/// An IPv4 packet as far as translation needs it.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub source: Ipv4,
    pub destination: Ipv4,
    /// IANA number from the IPv4 header, translated or not.
    pub protocol: u8,
    pub tos: u8,
    pub ttl: u8,
    /// The IPv4 header's total length in host order; 0 in a frame too large for the field.
    pub total_length: u16,
    /// Bytes from the start of the frame to the transport header.
    pub transport_offset: u16,
    /// Whether the IPv4 header carries options.
    pub options: bool,
    pub transport: Transport,
}

/// The transport header, or why it cannot be translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp {
        source: Port,
        destination: Port,
        flags: tcp::Flags,
    },
    Udp {
        source: Port,
        destination: Port,
    },
    IcmpQuery {
        kind: u8,
        identifier: Port,
    },
    /// An ICMP error that can be translated: see [`crate::icmp`].
    IcmpError,
    /// The verdict this packet gets if a `snat` rule covers it.
    Untranslatable(Verdict),
}

impl Packet {
    /// The key of this packet's session in the map of its direction, or the verdict for a packet
    /// that can have none.
    ///
    /// An ICMP query may only start inside, so outbound it is a request and inbound a reply: the
    /// other way round it belongs to nobody's session, whatever its identifier.
    #[inline(always)]
    pub fn flow(&self, direction: Direction) -> Result<FlowKey, Verdict> {
        let (local, remote, query) = match direction {
            Direction::Outbound => (self.source, self.destination, ICMP_ECHO_REQUEST),
            Direction::Inbound => (self.destination, self.source, ICMP_ECHO_REPLY),
        };
        let (protocol, source, destination) = match self.transport {
            Transport::Tcp { source, destination, .. } => (Protocol::Tcp, source, destination),
            Transport::Udp { source, destination } => (Protocol::Udp, source, destination),
            Transport::IcmpQuery { kind, identifier } if kind == query => {
                let key = FlowKey::new(Protocol::Icmp, (local, identifier), (remote, Port::NONE));
                return Ok(key);
            }
            Transport::IcmpQuery { .. } => return Err(Verdict::IcmpUnsupported),
            // It has no flow of its own; that of what it quotes is not looked at here.
            Transport::IcmpError => return Err(Verdict::IcmpErrorNoSession),
            Transport::Untranslatable(verdict) => return Err(verdict),
        };
        let (local_port, remote_port) = match direction {
            Direction::Outbound => (source, destination),
            Direction::Inbound => (destination, source),
        };
        Ok(FlowKey::new(protocol, (local, local_port), (remote, remote_port)))
    }

    /// Whether this is an ICMP error that can be translated.
    #[inline(always)]
    #[must_use]
    pub const fn is_icmp_error(&self) -> bool {
        matches!(self.transport, Transport::IcmpError)
    }

    /// The TCP flags; none set for other protocols.
    #[inline(always)]
    #[must_use]
    pub const fn tcp_flags(&self) -> tcp::Flags {
        match self.transport {
            Transport::Tcp { flags, .. } => flags,
            _ => tcp::Flags::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(transport: Transport) -> Packet {
        Packet {
            source: Ipv4::new([10, 0, 0, 5]),
            destination: Ipv4::new([198, 51, 100, 9]),
            protocol: 0,
            tos: 0,
            ttl: 64,
            total_length: 40,
            transport_offset: 34,
            options: false,
            transport,
        }
    }

    #[test]
    fn a_reply_read_inbound_has_the_key_of_the_request_read_outbound() {
        let (a, b) = (Port::new(5000), Port::new(53));
        let request = packet(Transport::Udp { source: a, destination: b });
        let mut reply = packet(Transport::Udp { source: b, destination: a });
        (reply.source, reply.destination) = (request.destination, request.source);
        assert_eq!(request.flow(Direction::Outbound), reply.flow(Direction::Inbound));
    }

    #[test]
    fn only_requests_leave_and_only_replies_return() {
        let query = |kind| packet(Transport::IcmpQuery { kind, identifier: Port::new(7) });
        assert!(query(ICMP_ECHO_REQUEST).flow(Direction::Outbound).is_ok());
        assert!(query(ICMP_ECHO_REPLY).flow(Direction::Inbound).is_ok());
        for (kind, direction) in
            [(ICMP_ECHO_REPLY, Direction::Outbound), (ICMP_ECHO_REQUEST, Direction::Inbound)]
        {
            assert_eq!(query(kind).flow(direction), Err(Verdict::IcmpUnsupported));
        }
    }

    #[test]
    fn what_cannot_be_translated_says_why() {
        let gre = packet(Transport::Untranslatable(Verdict::ProtocolNotCovered));
        assert_eq!(gre.flow(Direction::Outbound), Err(Verdict::ProtocolNotCovered));
    }
}
