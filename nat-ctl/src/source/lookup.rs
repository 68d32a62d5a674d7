//! The route to a destination, and which destinations have none because they are not one host.
use std::{
    cmp::Reverse,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::{IpNet, Ipv4Net};

use super::{Host, Interface, Route};

/// The route that a packet takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found<'h> {
    pub route: &'h Route,
    pub interface: &'h Interface,
    /// The gateway, or the destination itself.
    pub next_hop: IpAddr,
}

/// The route to a destination among those over interfaces that are up and that `usable` takes: of
/// the first table that has any, the one with the longest prefix, then the lowest metric, then the
/// first in the list. None also where that one leads nowhere, because it has no interface.
pub fn lookup(
    host: &Host,
    destination: IpAddr,
    usable: impl Fn(&Interface) -> bool,
) -> Option<Found<'_>> {
    let matching = host.routes.iter().filter(|route| route.dst.contains(&destination));
    let existing = matching.filter_map(|route| {
        if route.dev.is_empty() {
            return Some((route, None));
        }
        let interface = host.interface(&route.dev)?;
        (interface.up && usable(interface)).then_some((route, Some(interface)))
    });
    let (route, interface) = existing
        .min_by_key(|(route, _)| (route.table, Reverse(route.dst.prefix_len()), route.metric))?;
    let next_hop = route.via.unwrap_or(destination);
    interface.map(|interface| Found { route, interface, next_hop })
}

/// Whether a destination is IPv4 multicast or broadcast, also of a connected subnet: none of the
/// models translates those.
pub fn is_not_unicast(host: &Host, destination: IpAddr) -> bool {
    match destination {
        IpAddr::V4(ip) => {
            ip.is_multicast() || ip.is_broadcast() || broadcasts(host).any(|one| one == ip)
        }
        // A multicast destination of IPv6 has a scope, and by that a source.
        IpAddr::V6(_) => false,
    }
}

/// The directed broadcast addresses of the subnets that this host is connected to.
pub fn broadcasts(host: &Host) -> impl Iterator<Item = Ipv4Addr> {
    let up = host.interfaces.iter().filter(|interface| interface.up);
    up.flat_map(|interface| &interface.addresses)
        .filter_map(|address| broadcast(address.ip, address.prefix_len))
}

/// The directed broadcast address of a subnet. One of two addresses or a single one has none (RFC
/// 3021).
pub(super) fn broadcast(ip: IpAddr, prefix_len: u8) -> Option<Ipv4Addr> {
    let IpAddr::V4(ip) = ip else { return None };
    let net = Ipv4Net::new(ip, prefix_len).ok().filter(|net| net.prefix_len() < 31)?;
    Some(net.broadcast())
}

/// Whether an address can belong to a single host at all.
pub(super) fn is_assignable(ip: IpAddr, prefix_len: u8) -> bool {
    let limited = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    let directed = broadcast(ip, prefix_len).is_some_and(|broadcast| IpAddr::V4(broadcast) == ip);
    IpNet::new(ip, prefix_len).is_ok()
        && !(ip.is_unspecified() || ip.is_multicast() || limited || directed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::host;

    fn way(host: &Host, destination: &str) -> Option<String> {
        let found = lookup(host, destination.parse().unwrap(), |_| true)?;
        assert_eq!(found.interface.name, found.route.dev);
        Some(format!("{} dev {}", found.next_hop, found.interface.name))
    }

    #[test]
    fn the_longest_prefix_then_the_lowest_metric_then_the_first() {
        let host = host(
            "a:
             b:
             0.0.0.0/0 via 192.0.2.1 dev a metric 20
             0.0.0.0/0 via 192.0.2.2 dev b metric 10
             0.0.0.0/0 via 192.0.2.3 dev a metric 10
             10.0.0.0/8 via 192.0.2.4 dev a metric 99
             10.1.0.0/16 dev b metric 99",
        );
        assert_eq!(way(&host, "8.8.8.8").unwrap(), "192.0.2.2 dev b");
        assert_eq!(way(&host, "10.0.0.1").unwrap(), "192.0.2.4 dev a");
        assert_eq!(way(&host, "10.1.0.1").unwrap(), "10.1.0.1 dev b");
    }

    #[test]
    fn the_first_table_with_a_route_decides() {
        let host = host(
            "a:
             10.0.0.0/8 via 192.0.2.1 dev a table 1
             10.1.0.0/16 via 192.0.2.2 dev a table 2
             0.0.0.0/0 via 192.0.2.3 dev a table 2",
        );
        assert_eq!(way(&host, "10.1.0.1").unwrap(), "192.0.2.1 dev a");
        assert_eq!(way(&host, "8.8.8.8").unwrap(), "192.0.2.3 dev a");
    }

    #[test]
    fn routes_over_what_is_down_or_not_there_do_not_exist() {
        let host = host(
            "a:
             b down:
             10.0.0.0/8 via 192.0.2.1 dev a
             10.1.0.0/16 via 192.0.2.2 dev b
             10.1.1.0/24 via 192.0.2.3 dev c",
        );
        assert_eq!(way(&host, "10.1.1.1").unwrap(), "192.0.2.1 dev a");
        assert_eq!(way(&host, "8.8.8.8"), None);
        assert_eq!(way(&host, "::1"), None);
    }

    #[test]
    fn a_route_that_leads_nowhere_hides_less_specific_ones() {
        let mut host = host("a:\n0.0.0.0/0 dev a\n10.0.0.0/8 dev nowhere\n10.1.0.0/16 dev a");
        host.routes[1].dev.clear();
        assert_eq!(way(&host, "10.2.0.1"), None);
        assert_eq!(way(&host, "10.1.0.1").unwrap(), "10.1.0.1 dev a");
    }

    #[test]
    fn broadcasts_are_those_of_connected_subnets() {
        let host = host("a: 10.0.0.1/30, 10.0.1.0/31, 10.0.2.1/32, ::1/64\nb down: 10.0.3.1/24");
        let is_not_unicast = |ip: &str| is_not_unicast(&host, ip.parse().unwrap());
        for ip in ["10.0.0.3", "224.0.0.1", "239.255.255.255", "255.255.255.255"] {
            assert!(is_not_unicast(ip), "{ip}");
        }
        for ip in ["10.0.0.2", "10.0.1.1", "10.0.2.1", "10.0.3.255", "240.0.0.1", "ff02::1"] {
            assert!(!is_not_unicast(ip), "{ip}");
        }
    }

    #[test]
    fn not_every_address_can_be_that_of_a_host() {
        let is_assignable = |ip: &str, len| is_assignable(ip.parse().unwrap(), len);
        for (ip, len) in
            [("10.0.1.255", 31), ("10.0.1.255", 32), ("10.0.1.255", 16), ("fe80::1", 64)]
        {
            assert!(is_assignable(ip, len), "{ip}/{len}");
        }
        for (ip, len) in [
            ("10.0.1.255", 24),
            ("10.0.1.1", 33),
            ("0.0.0.0", 0),
            ("224.0.0.1", 32),
            ("255.255.255.255", 32),
            ("::", 128),
            ("ff02::1", 128),
        ] {
            assert!(!is_assignable(ip, len), "{ip}/{len}");
        }
    }
}
