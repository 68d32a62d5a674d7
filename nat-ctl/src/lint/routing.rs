//! Forwarding and routes.

use std::collections::BTreeSet;

use super::{Finding, configured, listed};
use crate::config::Config;
use crate::host::{LinkState, Route, Snapshot};

/// rp_filter: the source must be routed back by the same interface.
const STRICT: u8 = 1;

/// Forwarding that is switched off, as a whole or for an interface.
pub(super) fn forwarding(config: &Config, host: &Snapshot) -> Vec<Finding> {
    let fix = "`sysctl -w net.ipv4.ip_forward=1`, and put it into /etc/sysctl.d for the next start";
    if host.sysctls.ip_forward == Some(false) {
        return vec![Finding::warning("this host does not forward IPv4", fix)];
    }
    let off = configured(config)
        .filter_map(|name| host.link(name))
        .filter(|link| link.forwarding == Some(false));
    off.map(|link| {
        Finding::warning(
            format!("{} does not forward IPv4", listed([&link.name])),
            format!("`sysctl -w net/ipv4/conf/{}/forwarding=1`", link.name),
        )
    })
    .collect()
}

/// Routes to everywhere, those of the file included, the lowest metric first.
pub(super) fn default_routes(config: &Config, host: &Snapshot) -> Vec<Route> {
    let configured = config.static_routes.iter().filter(|route| route.to.prefix_len() == 0);
    let configured = configured.filter_map(|route| {
        let (destination, gateway, metric) = (route.to, route.via, route.metric);
        Some(Route { destination, gateway, interface: host.link(&route.dev)?.index, metric })
    });
    let mut routes: Vec<Route> = host.default_routes().cloned().chain(configured).collect();
    routes.sort_by_key(|route| route.metric);
    routes
}

/// Several ways to everywhere: which one a packet takes, and so which external address fits, is
/// decided by metrics and by what is up. Those of the file are there while the controller runs.
pub(super) fn default_gateways(config: &Config, host: &Snapshot) -> Vec<Finding> {
    let mut routes = default_routes(config, host);
    let mut known = BTreeSet::new();
    // The same one with another metric is not another one.
    routes.retain(|route| known.insert((route.interface, route.gateway)));
    if routes.len() < 2 {
        return Vec::new();
    }
    let shown = routes.iter().map(|route| {
        let (dev, metric) = (host.name(route.interface), route.metric);
        match route.gateway {
            Some(gateway) => format!("{gateway} dev {dev} metric {metric}"),
            None => format!("dev {dev} metric {metric}"),
        }
    });
    vec![Finding::warning(
        format!("there are {} default gateways: {}", routes.len(), listed(shown)),
        "keep one default route, and give the other networks routes of their own; with one for \
         standby, see that the rules have an address on both ways out",
    )]
}

/// Interfaces with addresses of one subnet: each answers ARP for the other, and the kernel sends
/// everything by one of them.
pub(super) fn shared_subnets(_: &Config, host: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, one) in host.links.iter().enumerate() {
        for other in host.links.iter().skip(index + 1) {
            let shared = one.addresses.iter().find_map(|net| {
                let overlaps = |other: &&ipnet::Ipv4Net| {
                    // A single address is in everybody's subnet, and nobody's.
                    other.prefix_len() < 32
                        && net.prefix_len() < 32
                        && (net.contains(&other.network()) || other.contains(&net.network()))
                };
                other.addresses.iter().find(overlaps).map(|other| {
                    if net.prefix_len() > other.prefix_len() { net.trunc() } else { other.trunc() }
                })
            });
            if let Some(subnet) = shared {
                findings.push(Finding::warning(
                    format!("{} are both in {subnet}", listed([&one.name, &other.name])),
                    "give each interface a subnet of its own, or put the addresses on one interface",
                ));
            }
        }
    }
    findings
}

/// A strict reverse path filter drops what arrives by another interface than its source is routed
/// to. With one way out and connected clients it does no harm, and is not mentioned.
pub(super) fn reverse_path_filter(config: &Config, host: &Snapshot) -> Vec<Finding> {
    let all = host.sysctls.rp_filter_all.unwrap_or(0);
    // The kernel takes the larger one of both settings.
    let strict = |link: &&LinkState| link.rp_filter.unwrap_or(0).max(all) == STRICT;
    let fix = |link: &LinkState| {
        let name = &link.name;
        let both = if all == STRICT { " net/ipv4/conf/all/rp_filter=0" } else { "" };
        format!("filter loosely: `sysctl -w net/ipv4/conf/{name}/rp_filter=2{both}`")
    };
    let links = |names: &[String]| -> Vec<&LinkState> {
        names.iter().filter_map(|name| host.link(name)).filter(strict).collect()
    };
    let mut findings = Vec::new();

    let ways: BTreeSet<u32> = host.default_routes().map(|route| route.interface).collect();
    let outside = links(&config.interfaces.outside);
    if config.interfaces.outside.len() > 1 || ways.len() > 1 {
        // The one with the best default route sees every source routed back by itself.
        let best = host.default_routes().min_by_key(|route| route.metric);
        let best = best.map(|route| route.interface);
        for link in outside.into_iter().filter(|link| Some(link.index) != best) {
            findings.push(Finding::warning(
                format!(
                    "{} has a strict reverse path filter, and the default route leads elsewhere: \
                     replies that arrive there are dropped",
                    listed([&link.name])
                ),
                fix(link),
            ));
        }
    }

    for link in links(&config.interfaces.inside) {
        for network in &config.networks {
            let prefixes = network.prefixes.iter();
            let Some(elsewhere) = prefixes.copied().find(|prefix| {
                let route = best_route(host, prefix);
                // Behind another inside interface is where it should be.
                route.is_some_and(|route| {
                    let name = host.name(route.interface);
                    !config.interfaces.inside.iter().any(|inside| inside == name)
                })
            }) else {
                continue;
            };
            findings.push(Finding::warning(
                format!(
                    "{} has a strict reverse path filter, and {elsewhere} of network {} is not \
                     routed to an inside interface: its packets are dropped",
                    listed([&link.name]),
                    listed([&network.name])
                ),
                format!("add the route: `ip route add {elsewhere} via ROUTER dev {}`", link.name),
            ));
        }
    }
    findings
}

/// The route for the whole of a prefix. Of equal ones the kernel takes the smallest metric.
fn best_route<'h>(host: &'h Snapshot, prefix: &ipnet::Ipv4Net) -> Option<&'h Route> {
    let routes = host.routes.iter().filter(|route| {
        // A route within the prefix speaks for it: networks are often larger than their subnets.
        route.destination.contains(prefix) || prefix.contains(&route.destination)
    });
    routes.min_by_key(|route| (u8::MAX - route.destination.prefix_len(), route.metric))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{config, config_with, connected, default_route, expect, host, link};
    use super::*;

    #[test]
    fn forwarding_can_be_off_in_two_ways() {
        let mut host = host();
        expect(&forwarding(&config(), &host), &[]);
        host.links[2].forwarding = Some(false);
        expect(&forwarding(&config(), &host), &["`lan0` does not forward"]);
        host.sysctls.ip_forward = Some(false);
        expect(&forwarding(&config(), &host), &["this host does not forward"]);
    }

    #[test]
    fn gateways() {
        let mut host = host();
        expect(&default_gateways(&config(), &host), &[]);
        host.routes.push(Route { metric: 20, ..default_route("203.0.113.1", 2) });
        expect(&default_gateways(&config(), &host), &[]);
        host.routes.push(Route { metric: 100, ..default_route("203.0.113.2", 2) });
        expect(
            &default_gateways(&config(), &host),
            &[
                "2 default gateways: `203.0.113.1 dev wan0 metric 0` and `203.0.113.2 dev wan0 metric 100`",
            ],
        );
    }

    #[test]
    fn gateways_of_the_file() {
        let with = |via: &str| {
            let route = format!(
                "[[static_routes]]\nto = \"0.0.0.0/0\"\nvia = \"{via}\"\ndev = \"wan0\"\n[[networks]]"
            );
            default_gateways(&config_with(&[("[[networks]]", &route)]), &host())
        };
        expect(&with("203.0.113.1"), &[]);
        expect(&with("203.0.113.2"), &["and `203.0.113.2 dev wan0 metric 0`"]);
    }

    #[test]
    fn subnets() {
        let mut host = host();
        host.links.push(link(4, "lan1", &["10.1.0.1/16"]));
        host.links.push(link(5, "vpn0", &["203.0.113.9/32"]));
        expect(&shared_subnets(&config(), &host), &["`lan0` and `lan1` are both in 10.1.0.0/16"]);
    }

    #[test]
    fn a_strict_filter_matters_with_two_ways_out() {
        let mut host = host();
        host.sysctls.rp_filter_all = Some(1);
        expect(&reverse_path_filter(&config(), &host), &[]);
        host.links.push(link(4, "wan1", &["198.51.100.7/24"]));
        host.routes.push(Route { metric: 100, ..default_route("198.51.100.1", 4) });
        let two = config_with(&[("\"wan0\"", "\"wan0\", \"wan1\"")]);
        expect(&reverse_path_filter(&two, &host), &["`wan1` has a strict reverse path filter"]);
        // The larger number counts: 2 is loose.
        host.links[3].rp_filter = Some(2);
        expect(&reverse_path_filter(&two, &host), &[]);
    }

    #[test]
    fn a_strict_filter_matters_for_networks_without_a_route() {
        let mut host = host();
        host.links[2].rp_filter = Some(1);
        expect(&reverse_path_filter(&config(), &host), &[]);
        let two = config_with(&[("\"10.0.0.0/8\"]", "\"10.0.0.0/8\", \"172.16.0.0/12\"]")]);
        expect(&reverse_path_filter(&two, &host), &["172.16.0.0/12 of network `internal`"]);
        host.routes.push(connected("172.16.5.0/24", 3));
        expect(&reverse_path_filter(&two, &host), &[]);
    }
}
