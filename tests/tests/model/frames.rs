//! Frames byte by byte, with whatever is wrong with them.
use std::net::Ipv4Addr;

use super::common::frames::GATEWAY_MAC;
use nat_tests::model::checksum::{complement, pseudo_header, sum};

/// What goes behind the IPv4 header.
#[derive(Clone, Copy, Debug)]
pub enum Transport {
    Tcp { from: u16, to: u16, flags: u8, place: Place },
    Udp { from: u16, to: u16 },
    Icmp { kind: u8, identifier: u16 },
    Other(u8),
}

/// A segment's place in its connection, and what it says of windows.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub sequence: u32,
    pub acknowledgement: u32,
    pub window: u16,
    /// Bytes of options; padded to whole words.
    pub options: &'static [u8],
}

/// A frame to be made. The defaults are an ordinary one's.
#[derive(Clone, Debug)]
pub struct Plan {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub transport: Transport,
    pub payload: Vec<u8>,
    pub ttl: u8,
    /// Words of options.
    pub options: usize,
    /// Flags and offset.
    pub fragment: u16,
    /// Identification.
    pub id: u16,
    /// Added to the right checksums: of IPv4, and of what is in it.
    pub damage: (u16, u16),
    /// UDP without a checksum.
    pub no_checksum: bool,
    /// Bytes behind the packet.
    pub padding: usize,
    /// How much of the transport header and payload is there at most.
    pub cut: usize,
    /// Whether the frame is for somebody else on the link.
    pub foreign: bool,
}

impl Plan {
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr, transport: Transport) -> Self {
        Self {
            source,
            destination,
            transport,
            payload: Vec::new(),
            ttl: 64,
            options: 0,
            fragment: 0x4000,
            id: 0x1234,
            damage: (0, 0),
            no_checksum: false,
            padding: 0,
            cut: usize::MAX,
            foreign: false,
        }
    }

    /// Makes what is behind the IPv4 header a number of whole eights of bytes.
    pub fn even(&mut self) {
        let (_, segment, _) = self.segment();
        self.payload
            .resize(self.payload.len() + segment.len().next_multiple_of(8) - segment.len(), 0);
    }

    /// IANA number of the transport.
    pub fn protocol(&self) -> u8 {
        self.segment().0
    }

    /// The frame.
    pub fn build(&self) -> Vec<u8> {
        let (protocol, mut segment, check) = self.segment();
        segment.truncate(self.cut);
        if let Some(check) = check.filter(|check| check + 2 <= segment.len()) {
            let pseudo = match self.transport {
                Transport::Icmp { .. } => 0,
                _ => pseudo_header(self.source, self.destination, protocol, segment.len()),
            };
            let mut right = complement(sum(&segment) + pseudo);
            if right == 0 && matches!(self.transport, Transport::Udp { .. }) {
                right = 0xffff;
            }
            let stored = if self.no_checksum { 0 } else { right.wrapping_add(self.damage.1) };
            segment[check..check + 2].copy_from_slice(&stored.to_be_bytes());
        }
        let header = self.header(protocol, segment.len());
        let mut frame = GATEWAY_MAC.to_vec();
        frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 8, 0]);
        if self.foreign {
            frame[5] ^= 1;
        }
        frame.extend_from_slice(&header);
        frame.extend_from_slice(&segment);
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    /// Protocol number, transport header with a checksum of zero and payload, and where the
    /// checksum goes.
    fn segment(&self) -> (u8, Vec<u8>, Option<usize>) {
        let mut bytes = Vec::with_capacity(20 + self.payload.len());
        let (protocol, check) = match self.transport {
            Transport::Tcp { from, to, flags, place } => {
                let words = 5 + place.options.len().div_ceil(4);
                bytes.extend_from_slice(&from.to_be_bytes());
                bytes.extend_from_slice(&to.to_be_bytes());
                bytes.extend_from_slice(&place.sequence.to_be_bytes());
                bytes.extend_from_slice(&place.acknowledgement.to_be_bytes());
                bytes.extend_from_slice(&[(words as u8) << 4, flags]);
                bytes.extend_from_slice(&place.window.to_be_bytes());
                bytes.extend_from_slice(&[0; 4]);
                bytes.extend_from_slice(place.options);
                bytes.resize(4 * words, 0);
                (6, Some(16))
            }
            Transport::Udp { from, to } => {
                bytes.extend_from_slice(&from.to_be_bytes());
                bytes.extend_from_slice(&to.to_be_bytes());
                bytes.extend_from_slice(&(8 + self.payload.len() as u16).to_be_bytes());
                bytes.extend_from_slice(&[0, 0]);
                (17, Some(6))
            }
            Transport::Icmp { kind, identifier } => {
                bytes.extend_from_slice(&[kind, 0, 0, 0]);
                bytes.extend_from_slice(&identifier.to_be_bytes());
                bytes.extend_from_slice(&[0, 1]);
                (1, Some(2))
            }
            Transport::Other(protocol) => (protocol, None),
        };
        bytes.extend_from_slice(&self.payload);
        (protocol, bytes, check)
    }

    fn header(&self, protocol: u8, segment: usize) -> Vec<u8> {
        let bytes = 20 + 4 * self.options;
        let mut header = vec![0x40 | (bytes / 4) as u8, 0];
        header.extend_from_slice(&((bytes + segment) as u16).to_be_bytes());
        header.extend_from_slice(&self.id.to_be_bytes());
        header.extend_from_slice(&self.fragment.to_be_bytes());
        header.extend_from_slice(&[self.ttl, protocol, 0, 0]);
        header.extend_from_slice(&self.source.octets());
        header.extend_from_slice(&self.destination.octets());
        // No-operations.
        header.resize(bytes, 1);
        let check = complement(sum(&header)).wrapping_add(self.damage.0);
        header[10..12].copy_from_slice(&check.to_be_bytes());
        header
    }
}
