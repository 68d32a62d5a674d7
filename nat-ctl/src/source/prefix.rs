//! How many leading bits addresses share.
use std::net::IpAddr;

/// Equal leading bits, 0 to 32 or 128 (RFC 3484 section 2.2); none between families.
pub fn common_prefix(a: IpAddr, b: IpAddr) -> u8 {
    // At most 32 or 128, which fits.
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() as u8,
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() as u8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_over_octets_and_to_the_end() {
        for (a, b, bits) in [
            ("192.168.1.14", "192.168.1.127", 25),
            ("192.168.1.68", "192.168.1.127", 26),
            ("10.0.0.250", "10.0.1.1", 23),
            ("0.0.0.0", "128.0.0.0", 0),
            ("10.0.0.1", "10.0.0.1", 32),
            ("fe80::1", "fe80::2", 126),
            ("::1", "::1", 128),
            ("10.0.0.1", "::ffff:10.0.0.1", 0),
        ] {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(common_prefix(a, b), bits, "{a} {b}");
            assert_eq!(common_prefix(b, a), bits, "{b} {a}");
        }
    }
}
