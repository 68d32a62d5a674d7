//! Internet checksums, always of everything (RFC 1071).
use std::net::Ipv4Addr;

/// The one's complement sum of 16-bit words, as a number modulo 65535 in 1..=65535; 0 for nothing
/// but zeros.
#[must_use]
pub fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        [last] => u64::from(last) << 8,
        _ => 0,
    });
    words.sum()
}

/// The checksum of a sum.
#[must_use]
pub fn complement(sum: u64) -> u16 {
    let folded = match sum % 0xffff {
        0 if sum > 0 => 0xffff,
        rest => rest as u16,
    };
    !folded
}

/// The sum of the pseudo-header of TCP and UDP (RFC 9293 section 3.1, RFC 768).
#[must_use]
pub fn pseudo_header(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, length: usize) -> u64 {
    sum(&source.octets()) + sum(&destination.octets()) + u64::from(protocol) + length as u64
}

/// The checksum after a change of what it covers: of a packet that came with the right one, the
/// right one; of one that came with a wrong one, one that is wrong by the same difference, so that
/// the receiver still sees that it was damaged.
#[must_use]
pub fn carried_over(stored: u16, right_before: u16, right_after: u16) -> u16 {
    let difference = u32::from(stored) + 0xffff - u32::from(right_before);
    ((u32::from(right_after) + difference) % 0xffff) as u16
}

#[cfg(test)]
mod tests {
    use etherparse::{IpNumber, Ipv4Header, TcpHeader};

    use super::*;

    #[test]
    fn rfc1071_section_3_example() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(complement(sum(&bytes)), !0xddf2);
    }

    #[test]
    fn equals_etherparse() {
        let (source, destination) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 0, 2, 255));
        for length in 0..70 {
            let payload: Vec<u8> = (0..length).map(|n| (n * 37 + 11) as u8).collect();
            let ip = Ipv4Header::new(
                20 + payload.len() as u16,
                64,
                IpNumber::TCP,
                source.octets(),
                destination.octets(),
            )
            .unwrap();
            let mut tcp = TcpHeader::new(1234, 80, 99, 1024);
            let expected = tcp.calc_checksum_ipv4(&ip, &payload).unwrap();
            tcp.checksum = 0;
            let mut segment = tcp.to_bytes().to_vec();
            segment.extend_from_slice(&payload);
            let sum = sum(&segment) + pseudo_header(source, destination, 6, segment.len());
            assert_eq!(complement(sum), expected, "{length} bytes");
        }
    }

    #[test]
    fn a_right_checksum_stays_right_and_a_wrong_one_wrong() {
        assert_eq!(carried_over(0x1234, 0x1234, 0xabcd), 0xabcd);
        assert_eq!(carried_over(0x1235, 0x1234, 0xabcd), 0xabce);
        assert_eq!(carried_over(0x1233, 0x1234, 0x0000), 0xfffe);
    }
}
