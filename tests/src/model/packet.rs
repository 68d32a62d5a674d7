//! What a frame says.
use std::net::Ipv4Addr;

use nat_common::verdict::Verdict;

use super::flow::{Flow, Protocol};

/// Where IPv4 starts: behind an Ethernet header.
pub const IPV4: usize = 14;

/// TCP flags (RFC 9293 section 3.1).
pub mod tcp_flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
}

/// An IPv4 packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    /// IANA number.
    pub protocol: u8,
    pub ttl: u8,
    pub has_options: bool,
    /// As the header says.
    pub total_length: u16,
    /// Where the transport header starts in the frame.
    pub transport: usize,
    /// Where the packet ends in the frame.
    pub end: usize,
    pub part: Part,
    pub content: Content,
}

/// Which part of a packet it is.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub id: u16,
    /// Whether more of the packet comes behind it.
    pub more: bool,
    /// Eights of bytes before it.
    pub offset: usize,
}

impl Part {
    #[must_use]
    pub fn is_fragment(self) -> bool {
        self.more || self.offset != 0
    }

    /// Whether it would be written over the flags of a TCP header.
    #[must_use]
    pub fn in_tcp_header(self, packet: &Packet) -> bool {
        self.offset == 1 && packet.protocol == Protocol::Tcp.number()
    }
}

/// What a TCP header says beside the ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    pub flags: u8,
    pub sequence: u32,
    pub acknowledgement: u32,
    /// As sent.
    pub window: u16,
    /// Bytes behind the header.
    pub payload: u32,
    /// The window scale that a SYN offers.
    pub scale: Option<u8>,
}

impl Segment {
    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The sequence number after everything that takes one.
    #[must_use]
    pub fn end(&self) -> u32 {
        let signs = u32::from(self.has(tcp_flags::SYN)) + u32::from(self.has(tcp_flags::FIN));
        self.sequence.wrapping_add(self.payload).wrapping_add(signs)
    }
}

/// What an IPv4 packet carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    Tcp {
        source: u16,
        destination: u16,
        segment: Segment,
    },
    Udp {
        source: u16,
        destination: u16,
    },
    EchoRequest {
        identifier: u16,
    },
    EchoReply {
        identifier: u16,
    },
    /// An ICMP error, translated by what it quotes.
    Error,
    /// Nothing that can be translated.
    Other(Verdict),
}

/// Reads a frame; an error is the verdict of a frame that is no readable IPv4 packet.
pub fn read(frame: &[u8]) -> Result<Packet, Verdict> {
    match u16_at(frame, 12) {
        Some(0x0800) => {}
        Some(0x8100 | 0x88a8) => return Err(Verdict::VlanTagged),
        _ => return Err(Verdict::NotIpv4),
    }
    let header: [u8; 20] = bytes_at(frame, IPV4).ok_or(Verdict::Malformed)?;
    let [version_and_length, _, a, b, i, j, c, d, ttl, protocol, ..] = header;
    let header_bytes = usize::from(version_and_length & 15) * 4;
    let total_length = u16::from_be_bytes([a, b]);
    // A super-frame longer than the field can say has 0 there.
    let end = match total_length {
        0 => frame.len(),
        length => IPV4 + usize::from(length),
    };
    let too_short = total_length != 0 && usize::from(total_length) < header_bytes;
    if version_and_length >> 4 != 4 || header_bytes < 20 || too_short || end > frame.len() {
        return Err(Verdict::Malformed);
    }
    let transport = IPV4 + header_bytes;
    let place = u16::from_be_bytes([c, d]);
    let (id, more, offset) =
        (u16::from_be_bytes([i, j]), place & 0x2000 != 0, usize::from(place & 0x1fff));
    let content = if offset != 0 {
        Content::Other(Verdict::Fragment)
    } else {
        content(frame.get(transport..end).unwrap_or_default(), protocol)
    };
    Ok(Packet {
        source: address_at(frame, IPV4 + 12),
        destination: address_at(frame, IPV4 + 16),
        protocol,
        ttl,
        has_options: header_bytes > 20,
        total_length,
        transport,
        end,
        part: Part { id, more, offset },
        content,
    })
}

fn content(payload: &[u8], protocol: u8) -> Content {
    let truncated = Content::Other(Verdict::Truncated);
    let at = |offset| u16_at(payload, offset).unwrap_or(0);
    let byte = |offset| payload.get(offset).copied().unwrap_or(0);
    match Protocol::from_number(protocol) {
        None => Content::Other(Verdict::ProtocolNotCovered),
        Some(Protocol::Tcp) => match segment(payload) {
            Some(segment) => Content::Tcp { source: at(0), destination: at(2), segment },
            None => truncated,
        },
        Some(_) if payload.len() < 8 => truncated,
        Some(Protocol::Udp) => Content::Udp { source: at(0), destination: at(2) },
        Some(Protocol::Icmp) => match byte(0) {
            8 => Content::EchoRequest { identifier: at(4) },
            0 => Content::EchoReply { identifier: at(4) },
            3 | 11 | 12 => Content::Error,
            4 | 5 => Content::Other(Verdict::IcmpRefused),
            _ => Content::Other(Verdict::IcmpUnsupported),
        },
    }
}

/// A TCP header and what is behind it, or nothing if the header is not there in full.
fn segment(bytes: &[u8]) -> Option<Segment> {
    // The data offset counts words; a header has five at least.
    let offset = usize::from(bytes.get(12)? >> 4) * 4;
    let options = bytes.get(20..offset)?;
    let number = |at| bytes_at(bytes, at).map(u32::from_be_bytes);
    let flags = *bytes.get(13)?;
    Some(Segment {
        flags,
        sequence: number(4)?,
        acknowledgement: number(8)?,
        window: u16_at(bytes, 14)?,
        payload: (bytes.len() - offset) as u32,
        scale: if flags & tcp_flags::SYN != 0 { scale(options) } else { None },
    })
}

/// The first window scale option (RFC 7323); nothing behind a damaged option is one.
fn scale(mut options: &[u8]) -> Option<u8> {
    loop {
        options = match options {
            [1, rest @ ..] => rest,
            [3, 3, shift, ..] => return Some(14.min(*shift)),
            [0, ..] | [] => return None,
            [_, length, ..] if *length >= 2 => options.get(usize::from(*length)..)?,
            _ => return None,
        };
    }
}

impl Packet {
    /// Its flow if it is on its way out, seen from inside; or why it can have none.
    pub fn outbound_flow(&self) -> Result<Flow, Verdict> {
        let (protocol, local, remote) = match self.content {
            Content::Tcp { source, destination, .. } => (Protocol::Tcp, source, destination),
            Content::Udp { source, destination } => (Protocol::Udp, source, destination),
            Content::EchoRequest { identifier } => (Protocol::Icmp, identifier, 0),
            Content::EchoReply { .. } => return Err(Verdict::IcmpUnsupported),
            Content::Error => return Err(Verdict::IcmpErrorNoSession),
            Content::Other(verdict) => return Err(verdict),
        };
        let (local, remote) = ((self.source, local), (self.destination, remote));
        Ok(Flow { protocol, local, remote })
    }

    /// Its flow if it is on its way in, seen from outside.
    #[must_use]
    pub fn inbound_flow(&self) -> Option<Flow> {
        let (protocol, local, remote) = match self.content {
            Content::Tcp { source, destination, .. } => (Protocol::Tcp, destination, source),
            Content::Udp { source, destination } => (Protocol::Udp, destination, source),
            Content::EchoReply { identifier } => (Protocol::Icmp, identifier, 0),
            Content::EchoRequest { .. } | Content::Error | Content::Other(_) => return None,
        };
        let (local, remote) = ((self.destination, local), (self.source, remote));
        Some(Flow { protocol, local, remote })
    }

    /// What it says as a TCP segment.
    #[must_use]
    pub fn segment(&self) -> Option<Segment> {
        match self.content {
            Content::Tcp { segment, .. } => Some(segment),
            _ => None,
        }
    }
}

/// Two bytes in network order.
#[must_use]
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes_at(bytes, offset).map(u16::from_be_bytes)
}

/// The address at an offset that is known to be there.
#[must_use]
pub fn address_at(bytes: &[u8], offset: usize) -> Ipv4Addr {
    Ipv4Addr::from(bytes_at::<4>(bytes, offset).unwrap_or_default())
}

fn bytes_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}
