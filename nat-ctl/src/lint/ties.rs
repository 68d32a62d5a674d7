//! Addresses among which `strong-host` finds no difference: then their order decides.

use std::net::{IpAddr, Ipv4Addr};

use super::routing::default_routes;
use crate::config::Config;
use crate::desired::order;
use crate::host::{Address, Link, LinkState, Network, Route, Snapshot, routes};
use crate::source::{self, Eliminated, Flags, Model, Query, Rule, options, select};

/// An address that wins by the tie-break.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tie {
    pub source: Ipv4Addr,
    /// How many are equally good, itself included.
    pub count: usize,
}

/// Destinations behind any gateway, one in each half of the address space. Where rule 8a leaves
/// several addresses, each with k bits in common with the gateway, rule 8 tells them apart only for
/// destinations with exactly k bits in common with it. One of these has none and the other has
/// some: so at least one of them shows every tie.
const FAR: [Ipv4Addr; 2] = [Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::new(198, 51, 100, 1)];

/// What the tie-break decides for packets that take a default route over an interface.
pub(super) fn tie(config: &Config, host: &Snapshot, link: &LinkState) -> Option<Tie> {
    let routes = default_routes(config, host).into_iter();
    let mut ways = routes.filter(|route| route.interface == link.index).flat_map(|route| {
        let view = view(config, host, &route);
        FAR.map(|destination| (view.clone(), destination))
    });
    ways.find_map(|(view, destination)| tie_to(config, &view, destination))
}

fn tie_to(config: &Config, view: &source::Host, destination: Ipv4Addr) -> Option<Tie> {
    let query =
        Query { options: options(config.source), ..Query::new(destination.into(), Model::Strong) };
    let told = select(view, &query);
    let (IpAddr::V4(source), Rule::Tie) = told.outcome.ok()? else { return None };
    let beaten = Some(Eliminated::Rule(Rule::Tie));
    let equals = told.candidates.iter().filter(|one| one.eliminated_by == beaten);
    Some(Tie { source, count: equals.count() + 1 })
}

/// This host with no route but one.
fn view(config: &Config, host: &Snapshot, route: &Route) -> source::Host {
    let link = |link: &LinkState| Link {
        index: link.index,
        name: link.name.clone(),
        up: link.up,
        addresses: addresses(link).collect(),
        ..Link::default()
    };
    let route = routes::Route {
        dst: route.destination,
        via: route.gateway,
        dev: route.interface,
        metric: route.metric,
        src: None,
        table: libc::RT_TABLE_MAIN.into(),
    };
    let network = Network {
        links: host.links.iter().map(link).collect(),
        routes: std::iter::once(route).collect(),
        ..Network::default()
    };
    network.to_host(&order(config))
}

fn addresses(link: &LinkState) -> impl Iterator<Item = Address> {
    let flags = |ip: Ipv4Addr| {
        let known = link.flags.iter().find(|(address, _)| *address == ip);
        known.map_or(Flags::default(), |(_, flags)| *flags)
    };
    link.addresses.iter().map(move |net| Address {
        ip: net.addr().into(),
        prefix_len: net.prefix_len(),
        flags: flags(net.addr()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{config_with, connected, default_route, host, net};
    use super::*;
    use crate::source::Flag;

    /// A host with these addresses on `wan0`, all in one /24, and a router there.
    fn with(router: &str, addresses: &[&str]) -> Snapshot {
        let mut host = host();
        host.routes[0] = default_route(router, 2);
        host.links[1].addresses = addresses.iter().copied().map(net).collect();
        host
    }

    fn found(host: &Snapshot, more: &str) -> Option<(String, usize)> {
        let config = config_with(&[("[interfaces]", &format!("{more}\n[interfaces]"))]);
        let link = host.link("wan0").unwrap();
        tie(&config, host, link).map(|tie| (tie.source.to_string(), tie.count))
    }

    fn is(source: &str, count: usize) -> Option<(String, usize)> {
        Some((source.to_owned(), count))
    }

    #[test]
    fn a_difference_in_bits_is_none() {
        // The article's example: 25 and 26 bits.
        let mut host = with("192.168.1.127", &["192.168.1.14/24", "192.168.1.68/24"]);
        assert_eq!(found(&host, ""), None);
        host.routes[0] = default_route("192.168.1.254", 2);
        assert_eq!(found(&host, ""), is("192.168.1.14", 2));
        host.links[1].addresses.push(net("192.168.1.70/24"));
        host.links[1].addresses.push(net("192.168.1.200/24"));
        assert_eq!(found(&host, ""), None);
        host.routes[0] = default_route("192.168.1.126", 2);
        assert_eq!(found(&host, ""), is("192.168.1.68", 2));
    }

    /// Where the addresses share no bit with the gateway, or one, rule 8 decides for half or a
    /// quarter of all destinations, but not for the others.
    #[test]
    fn a_tie_for_many_destinations_is_one() {
        for router in ["100.64.0.1", "192.0.2.1", "10.0.0.1", "223.255.255.1", "1.0.0.1"] {
            for (one, other) in [
                ("203.0.113.7/32", "150.0.0.1/32"),
                ("9.9.9.9/32", "100.1.1.1/32"),
                ("64.0.0.1/32", "96.0.0.1/32"),
            ] {
                let host = with(router, &[one, other]);
                let bits = |net: &str| {
                    let ip = self::net(net).addr();
                    source::common_prefix(ip.into(), router.parse().unwrap())
                };
                let tied = bits(one) == bits(other);
                assert_eq!(found(&host, "").is_some(), tied, "{router} {one} {other}");
            }
        }
    }

    #[test]
    fn order_and_flags_count() {
        let mut host = with("192.168.1.254", &["192.168.1.14/24", "192.168.1.68/24"]);
        assert_eq!(found(&host, "addresses.wan0 = [\"192.168.1.68\"]"), is("192.168.1.68", 2));
        let flag = "{ address = \"192.168.1.68\", skip_as_source = true }";
        assert_eq!(found(&host, &format!("addresses.wan0 = [{flag}]")), None);
        let lowest = "addresses.wan0 = [\"192.168.1.68\"]\nsource.tie_break = \"lowest\"";
        assert_eq!(found(&host, lowest), is("192.168.1.14", 2));
        let deprecated = Flags::default().with(Flag::Deprecated);
        host.links[1].flags.push(("192.168.1.14".parse().unwrap(), deprecated));
        assert_eq!(found(&host, ""), None);
    }

    #[test]
    fn only_default_routes_over_the_interface_count() {
        let mut host = with("192.168.1.254", &["192.168.1.14/24", "192.168.1.68/24"]);
        host.routes[0] = default_route("10.0.0.254", 3);
        assert_eq!(found(&host, ""), None);
        let route =
            "[[static_routes]]\nto = \"0.0.0.0/0\"\nvia = \"192.168.1.254\"\ndev = \"wan0\"";
        assert_eq!(found(&host, route), is("192.168.1.14", 2));
        // Without a router the destination is the next hop.
        host.routes[0] = connected("0.0.0.0/0", 2);
        assert_eq!(found(&host, ""), is("192.168.1.14", 2));
        host.links[1].up = false;
        assert_eq!(found(&host, ""), None);
    }
}
