//! Labels of address prefixes: rule 6 prefers a source of the destination's label. The policy
//! tables also have precedences, which order destinations and are no concern of sources.
use std::net::{IpAddr, Ipv6Addr};

use super::super::prefix::common_prefix;

/// Prefixes and their labels; the longest that matches counts.
pub type Table = [(Ipv6Addr, u8, u8)];

/// RFC 6724 section 2.1.
pub const RFC6724: [(Ipv6Addr, u8, u8); 9] = [
    (Ipv6Addr::LOCALHOST, 128, 0),
    (Ipv6Addr::UNSPECIFIED, 0, 1),
    (prefix(0, 0, 0xffff), 96, 4),
    (prefix(0x2002, 0, 0), 16, 2),
    (prefix(0x2001, 0, 0), 32, 5),
    (prefix(0xfc00, 0, 0), 7, 13),
    (Ipv6Addr::UNSPECIFIED, 96, 3),
    (prefix(0xfec0, 0, 0), 10, 11),
    (prefix(0x3ffe, 0, 0), 16, 12),
];

/// Linux's `ip addrlabel`: ip6addrlbl_init_table in net/ipv6/addrlabel.c.
pub const LINUX: [(Ipv6Addr, u8, u8); 10] = [
    (Ipv6Addr::LOCALHOST, 128, 0),
    (Ipv6Addr::UNSPECIFIED, 0, 1),
    (prefix(0x2002, 0, 0), 16, 2),
    (Ipv6Addr::UNSPECIFIED, 96, 3),
    (prefix(0, 0, 0xffff), 96, 4),
    (prefix(0xfc00, 0, 0), 7, 5),
    (prefix(0x2001, 0, 0), 32, 6),
    (prefix(0x2001, 0x10, 0), 28, 7),
    (prefix(0xfec0, 0, 0), 10, 11),
    (prefix(0x3ffe, 0, 0), 16, 12),
];

/// An address by its first two groups and the sixth.
const fn prefix(first: u16, second: u16, sixth: u16) -> Ipv6Addr {
    Ipv6Addr::new(first, second, 0, 0, 0, sixth, 0, 0)
}

/// The label of an address; IPv4 counts as ::ffff:0:0/96.
pub fn label(table: &Table, ip: IpAddr) -> u8 {
    let ip = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let matching =
        table.iter().filter(|(net, len, _)| common_prefix(ip.into(), (*net).into()) >= *len);
    // The default prefix matches everything.
    matching.max_by_key(|(_, len, _)| *len).map_or(1, |(_, _, label)| *label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_counts() {
        for (ip, rfc, linux) in [
            ("::1", 0, 0),
            ("::2", 3, 3),
            ("2001:db8::1", 1, 1),
            ("2001::1", 5, 6),
            ("2001:1f::1", 1, 7),
            ("2001:20::1", 1, 1),
            ("2002:c633:6401::1", 2, 2),
            ("fd00::1", 13, 5),
            ("fec0::1", 11, 11),
            ("3ffe::1", 12, 12),
            ("fe80::1", 1, 1),
            ("::ffff:192.0.2.1", 4, 4),
            ("192.0.2.1", 4, 4),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!((label(&RFC6724, ip), label(&LINUX, ip)), (rfc, linux), "{ip}");
        }
    }
}
