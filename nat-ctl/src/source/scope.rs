//! How far an address reaches.
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::PrivateScope;

/// A scope by its number in IPv6 multicast addresses (RFC 4291 section 2.7); the greater, the
/// wider.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Scope(u8);

impl Scope {
    pub const LINK_LOCAL: Self = Self(2);
    pub const SITE_LOCAL: Self = Self(5);
    pub const GLOBAL: Self = Self(14);

    /// RFC 6724 sections 3.1 and 3.2.
    pub fn of(ip: IpAddr, private: PrivateScope) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::of_v4(ip, private),
            IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
                Some(mapped) => Self::of_v4(mapped, private),
                None => Self::of_v6(ip),
            },
        }
    }

    fn of_v4(ip: Ipv4Addr, private: PrivateScope) -> Self {
        if ip.is_link_local() || ip.is_loopback() {
            Self::LINK_LOCAL
        } else if private == PrivateScope::SiteLocal && ip.is_private() {
            Self::SITE_LOCAL
        } else {
            Self::GLOBAL
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        if ip.is_multicast() {
            Self(ip.octets()[1] & 0xf)
        } else if ip.is_unicast_link_local() || ip.is_loopback() {
            Self::LINK_LOCAL
        } else if ip.segments()[0] & 0xffc0 == 0xfec0 {
            Self::SITE_LOCAL
        } else {
            Self::GLOBAL
        }
    }

    /// The number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("interface-local"),
            2 => f.write_str("link-local"),
            4 => f.write_str("admin-local"),
            5 => f.write_str("site-local"),
            8 => f.write_str("organisation-local"),
            14 => f.write_str("global"),
            number => write!(f, "scope {number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        for (ip, literal, modern) in [
            ("8.8.8.8", 14, 14),
            ("10.1.2.3", 5, 14),
            ("172.16.0.1", 5, 14),
            ("172.32.0.1", 14, 14),
            ("192.168.255.1", 5, 14),
            ("100.64.0.1", 14, 14),
            ("169.254.3.4", 2, 2),
            ("127.0.0.1", 2, 2),
            ("2001:db8::1", 14, 14),
            ("fd00::1", 14, 14),
            ("fe80::1", 2, 2),
            ("febf::1", 2, 2),
            ("fec0::1", 5, 5),
            ("::1", 2, 2),
            ("ff02::1", 2, 2),
            ("ff35::1", 5, 5),
            ("ff1e::1", 14, 14),
            ("::ffff:10.0.0.1", 5, 14),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!(Scope::of(ip, PrivateScope::SiteLocal).number(), literal, "{ip}");
            assert_eq!(Scope::of(ip, PrivateScope::Global).number(), modern, "{ip}");
        }
    }
}
