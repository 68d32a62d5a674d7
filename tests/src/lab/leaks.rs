//! Private addresses where they must never be: on the outside wire.

use std::{fmt, net::Ipv4Addr};

use super::sniffer::{Direction, Frame};

const ETHERTYPE_IPV4: u16 = 0x0800;
/// 802.1Q, 802.1ad and the older number for stacked tags.
const ETHERTYPES_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const ETHERTYPE_PPPOE_SESSION: u16 = 0x8864;
const PPP_IPV4: u16 = 0x0021;

/// A frame that tells somebody outside an inside address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Its place among the frames that were looked at.
    pub index: usize,
    pub direction: Direction,
    pub source: Ipv4Addr,
    /// `None` if the packet ends before it.
    pub destination: Option<Ipv4Addr>,
    pub protocol: u8,
    /// The beginning of the frame, to recognise it.
    pub head: Vec<u8>,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, direction, source, protocol, .. } = self;
        let destination = self.destination.map_or_else(|| "?".to_owned(), |it| it.to_string());
        write!(f, "frame {index} ({direction:?}): {source} > {destination}, protocol {protocol}:")?;
        self.head.iter().try_for_each(|byte| write!(f, " {byte:02x}"))
    }
}

/// The IPv4 packets whose source lies in 10.0.0.0/8, the laboratory's inside.
///
/// Every packet with enough bytes for a source counts, whatever its version and length fields, its
/// protocol or its checksum say: a malformed packet that leaves is a leak as well. Fragments have an
/// address of their own each; VLAN tags and PPPoE are looked through. Direction does not matter
/// here: nothing on the outside link has such a source.
pub fn private_sources<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> Vec<Leak> {
    let leak = |(index, frame): (usize, &Frame)| {
        let packet = ipv4_packet(&frame.bytes)?;
        let source = address(packet, 12)?;
        (source.octets()[0] == 10).then(|| Leak {
            index,
            direction: frame.direction,
            source,
            destination: address(packet, 16),
            protocol: packet[9],
            head: frame.bytes.iter().copied().take(64).collect(),
        })
    };
    frames.into_iter().enumerate().filter_map(leak).collect()
}

/// The IPv4 packet in a frame, behind whatever tags there are.
#[must_use]
pub fn ipv4_packet(frame: &[u8]) -> Option<&[u8]> {
    let mut rest = frame.get(12..)?;
    loop {
        let ethertype = u16::from_be_bytes(*rest.first_chunk()?);
        rest = &rest[2..];
        if ethertype == ETHERTYPE_IPV4 {
            return Some(rest);
        } else if ETHERTYPES_VLAN.contains(&ethertype) {
            rest = rest.get(2..)?;
        } else if ethertype == ETHERTYPE_PPPOE_SESSION {
            let inner = u16::from_be_bytes(*rest.get(6..)?.first_chunk()?);
            return if inner == PPP_IPV4 { rest.get(8..) } else { None };
        } else {
            return None;
        }
    }
}

fn address(packet: &[u8], offset: usize) -> Option<Ipv4Addr> {
    packet.get(offset..)?.first_chunk().map(|bytes: &[u8; 4]| Ipv4Addr::from(*bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PRIVATE: [u8; 4] = [10, 77, 0, 2];
    const PUBLIC: [u8; 4] = [203, 0, 113, 1];

    fn frame(tags: &[u8], packet: &[u8]) -> Frame {
        let mut bytes = vec![2; 12];
        bytes.extend_from_slice(tags);
        bytes.extend_from_slice(packet);
        Frame {
            time: Duration::ZERO,
            direction: Direction::Outgoing,
            bytes,
            checksum_pending: false,
        }
    }

    fn packet(source: [u8; 4], fragment: u16) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 24, 0, 1, 0, 0, 64, 17, 0, 0];
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet.extend_from_slice(&source);
        packet.extend_from_slice(&[203, 0, 113, 10, 1, 2, 3, 4]);
        packet
    }

    fn is_leak(tags: &[u8], packet: &[u8]) -> bool {
        !private_sources(&[frame(tags, packet)]).is_empty()
    }

    #[test]
    fn a_translated_packet_is_none() {
        assert!(!is_leak(&[8, 0], &packet(PUBLIC, 0)));
    }

    #[test]
    fn a_private_source_is_found_with_its_place_and_addresses() {
        let frames = [frame(&[8, 0], &packet(PUBLIC, 0)), frame(&[8, 0], &packet(PRIVATE, 0))];
        let leaks = private_sources(&frames);
        assert_eq!(leaks.len(), 1);
        assert_eq!(leaks[0].index, 1);
        assert_eq!(leaks[0].source, Ipv4Addr::from(PRIVATE));
        assert_eq!(leaks[0].destination, Some(Ipv4Addr::new(203, 0, 113, 10)));
        assert_eq!(leaks[0].protocol, 17);
        assert!(leaks[0].to_string().contains("10.77.0.2 > 203.0.113.10, protocol 17"));
    }

    #[test]
    fn fragments_count_one_by_one() {
        for fragment in [0x2000, 0x2001, 0x00b9] {
            assert!(is_leak(&[8, 0], &packet(PRIVATE, fragment)), "{fragment:#x}");
        }
    }

    #[test]
    fn tags_are_looked_through() {
        for tags in [
            &[0x81, 0, 0, 5, 8, 0][..],
            &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0],
            &[0x91, 0, 0, 5, 8, 0],
            &[0x88, 0x64, 0x11, 0, 0, 1, 0, 26, 0, 0x21],
        ] {
            assert!(is_leak(tags, &packet(PRIVATE, 0)), "{tags:02x?}");
            assert!(!is_leak(tags, &packet(PUBLIC, 0)), "{tags:02x?}");
        }
    }

    #[test]
    fn malformed_packets_count_too() {
        let mut wrong_version = packet(PRIVATE, 0);
        wrong_version[0] = 0xf0;
        assert!(is_leak(&[8, 0], &wrong_version));
        assert!(is_leak(&[8, 0], &packet(PRIVATE, 0)[..16]));
    }

    #[test]
    fn what_is_too_short_or_not_ipv4_is_none() {
        assert!(!is_leak(&[8, 0], &packet(PRIVATE, 0)[..15]));
        assert!(!is_leak(&[8, 6], &packet(PRIVATE, 0)));
        assert!(!is_leak(&[], &[]));
        assert!(!is_leak(&[0x81, 0, 0], &[]));
        assert!(!is_leak(&[0x88, 0x64, 0x11], &[]));
    }
}
