//! ICMP errors: what they quote, whose session that belongs to, and what changes in them.
//!
//! ```text
//!  IPv4 │ type code check  │ IPv4 header of the        │ 8 bytes or more of what │ extensions
//!       │ – length –       │ packet that went wrong    │ stood behind it         │ (RFC 4884)
//! ```
//! An error travels against the packet that it quotes, so the local endpoint of an inbound error is
//! the quoted source, and that of an outbound error the quoted destination. Translation puts the
//! quoted packet back into the form in which the receiver of the error knows it (RFC 5508 section
//! 4.2, RFC 3022 section 4.3).
use crate::{
    addr::{Ipv4, Port},
    checksum::{self, Delta},
    flow::{Direction, FlowKey, Protocol},
    packet::{ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST},
    rewrite::Fields,
    verdict::Verdict,
};

/// Bytes of an error's own header (RFC 792).
pub const HEADER_BYTES: u16 = 8;
/// Offset of the checksum in it.
pub const CHECK: u16 = 2;
/// Offset of the length of what is quoted, in 32-bit words; 0 without extensions (RFC 4884 section 4).
pub const LENGTH: usize = 5;

/// Bytes of a quoted transport header that every error has (RFC 792), and all that tells flows
/// apart.
pub const TRANSPORT_BYTES: u16 = 8;

/// Bytes of an IPv4 header without options.
const IPV4_BYTES: u16 = 20;

/// What an ICMP message is to a translator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Echo request or reply.
    Query,
    /// Destination unreachable, time exceeded, parameter problem: translated with the session of the
    /// packet that they quote.
    Error,
    /// Source quench (RFC 6633 section 4) and redirect, which would change the sender's behaviour or
    /// routes, and means nothing beyond the link that it was made for (RFC 1812 section 5.2.7.2).
    Refused,
    /// Neither echo nor an error.
    Other,
}

impl Kind {
    /// By the ICMP type.
    #[inline(always)]
    #[must_use]
    pub const fn of(number: u8) -> Self {
        match number {
            ICMP_ECHO_REPLY | ICMP_ECHO_REQUEST => Self::Query,
            3 | 11 | 12 => Self::Error,
            4 | 5 => Self::Refused,
            _ => Self::Other,
        }
    }
}

/// The header of a quoted packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote {
    pub source: Ipv4,
    pub destination: Ipv4,
    /// IANA number.
    pub protocol: u8,
    /// The header's checksum, as it stands in memory.
    pub check: u16,
    /// Its length, options included.
    pub header_bytes: u16,
    /// Bytes of the transport header and payload that are quoted, without padding and extensions; 0
    /// of a fragment that has no transport header.
    pub available: u16,
}

impl Quote {
    /// Reads what an error quotes: the first bytes of its header, the error's own
    /// [length field](LENGTH) and how many bytes stand behind the error's header. Nothing if these
    /// cannot be a quoted packet.
    #[inline(always)]
    #[must_use]
    pub const fn read(header: [u8; 20], length_words: u8, bytes: u16) -> Option<Self> {
        let [first, _, b2, b3, _, _, f6, f7, _, protocol, c10, c11, addresses @ ..] = header;
        let [s0, s1, s2, s3, d0, d1, d2, d3] = addresses;
        let header_bytes = (first & 0x0f) as u16 * 4;
        let total_length = u16::from_be_bytes([b2, b3]);
        let quoted = match length_words as u16 * 4 {
            0 => bytes,
            before_extensions if before_extensions <= bytes => before_extensions,
            _ => return None,
        };
        if first >> 4 != 4 || header_bytes < IPV4_BYTES {
            return None;
        }
        if quoted < header_bytes || total_length < header_bytes {
            return None;
        }
        let end = if quoted < total_length { quoted } else { total_length };
        // The lower 13 bits are the offset (RFC 791).
        let later_fragment = u16::from_be_bytes([f6, f7]) & 0x1fff != 0;
        Some(Self {
            source: Ipv4::new([s0, s1, s2, s3]),
            destination: Ipv4::new([d0, d1, d2, d3]),
            protocol,
            check: u16::from_ne_bytes([c10, c11]),
            header_bytes,
            available: if later_fragment { 0 } else { end - header_bytes },
        })
    }

    /// Protocol and key of the session to which the quoted packet belongs, in the map of the
    /// error's own direction; or the verdict of an error that belongs to none.
    #[inline(always)]
    pub const fn flow(
        &self,
        direction: Direction,
        transport: [u8; TRANSPORT_BYTES as usize],
    ) -> Result<(Protocol, FlowKey), Verdict> {
        let [p0, p1, p2, p3, i0, i1, _, _] = transport;
        let Some(protocol) = Protocol::from_number(self.protocol) else {
            return Err(Verdict::IcmpErrorNoSession);
        };
        if self.available < TRANSPORT_BYTES {
            return Err(Verdict::IcmpErrorNoSession);
        }
        let (local, remote, query) = match direction {
            Direction::Inbound => (self.source, self.destination, ICMP_ECHO_REQUEST),
            Direction::Outbound => (self.destination, self.source, ICMP_ECHO_REPLY),
        };
        if matches!(protocol, Protocol::Icmp) {
            return match Kind::of(p0) {
                Kind::Query if p0 == query => {
                    let identifier = Port::from_bytes([i0, i1]);
                    let key = FlowKey::new(protocol, (local, identifier), (remote, Port::NONE));
                    Ok((protocol, key))
                }
                // No error is sent about an error (RFC 1122 section 3.2.2).
                Kind::Error | Kind::Refused => Err(Verdict::IcmpErrorMalformed),
                Kind::Query | Kind::Other => Err(Verdict::IcmpErrorNoSession),
            };
        }
        let (source, destination) = (Port::from_bytes([p0, p1]), Port::from_bytes([p2, p3]));
        let (local_port, remote_port) = match direction {
            Direction::Inbound => (source, destination),
            Direction::Outbound => (destination, source),
        };
        Ok((protocol, FlowKey::new(protocol, (local, local_port), (remote, remote_port))))
    }

    /// Where the quoted packet changes in an error of a direction.
    #[inline(always)]
    #[must_use]
    pub const fn fields(direction: Direction, protocol: Protocol) -> Fields {
        Fields::of(direction.reverse(), protocol)
    }

    /// Whether the quoted transport header reaches as far as its checksum.
    #[inline(always)]
    #[must_use]
    pub const fn has_transport_check(&self, fields: &Fields) -> bool {
        self.available >= fields.check + size_of::<u16>() as u16
    }
}

/// The sequence number of a quoted TCP header, from its first bytes.
#[inline(always)]
#[must_use]
pub const fn tcp_sequence(transport: [u8; TRANSPORT_BYTES as usize]) -> u32 {
    let [_, _, _, _, sequence @ ..] = transport;
    u32::from_be_bytes(sequence)
}

/// The checksums of an error, as they stand in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checks {
    /// Of the error's message.
    pub message: u16,
    /// Of the quoted IPv4 header.
    pub header: u16,
    /// Of the quoted transport header, where it is quoted.
    pub transport: Option<u16>,
}

impl Checks {
    /// What becomes of these checksums with a session's differences, and with `ports`, the quoted
    /// local port or identifier before and after. `optional` as in [`Fields::check_optional`].
    ///
    /// The quoted transport checksum is not believed: right or wrong, it becomes what its sender
    /// wrote (RFC 5508 REQ-3).
    #[inline(always)]
    #[must_use]
    pub const fn translated(
        self,
        header_delta: Delta,
        transport_delta: Delta,
        ports: (Port, Port),
        optional: bool,
    ) -> Self {
        let header = checksum::update(self.header, header_delta);
        let gained = checksum::combine(header_delta, checksum::word_delta(self.header, header));
        let gained = checksum::combine(gained, checksum::port_delta(ports.0, ports.1));
        let (transport, gained) = match self.transport {
            Some(old) => {
                let new = if optional {
                    checksum::update_udp(old, transport_delta)
                } else {
                    checksum::update(old, transport_delta)
                };
                (Some(new), checksum::combine(gained, checksum::word_delta(old, new)))
            }
            None => (None, gained),
        };
        Self { message: checksum::update(self.message, gained), header, transport }
    }
}

/// Whether a sum over everything that a checksum covers, the checksum included, says that it is
/// right.
#[inline(always)]
#[must_use]
pub const fn right(sum: u16) -> bool {
    sum == 0xffff
}

#[cfg(test)]
mod tests;
