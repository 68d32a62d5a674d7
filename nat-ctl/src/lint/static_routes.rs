//! `[[static_routes]]` that the kernel would refuse, or that lead nowhere.

use std::net::Ipv4Addr;

use super::{Finding, listed};
use crate::config::{Config, StaticRoute};
use crate::host::{LinkState, Snapshot};

/// Static routes that do not work as this host is.
pub(super) fn useless(config: &Config, host: &Snapshot) -> Vec<Finding> {
    let problem = |route: &StaticRoute| {
        let (why, fix) = why_not(config, host, route)?;
        Some(Finding::warning(format!("the static route {route} {why}"), fix))
    };
    config.static_routes.iter().filter_map(problem).collect()
}

fn why_not(config: &Config, host: &Snapshot, route: &StaticRoute) -> Option<(String, String)> {
    let dev = &route.dev;
    let Some(link) = host.link(dev) else {
        let there = listed(host.links.iter().map(|link| &link.name));
        return Some((
            format!("cannot be added: there is no interface {}", listed([dev])),
            format!("this network namespace has {there}"),
        ));
    };
    if !link.up {
        return Some((
            format!("cannot be added: {} is down", listed([dev])),
            format!("`ip link set {dev} up`"),
        ));
    }
    let via = route.via?;
    if let Some(owner) = host.owner(via) {
        return Some((
            format!(
                "leads to this machine itself: {via} is an address of {}",
                listed([&owner.name])
            ),
            "name the next router, or leave `via` out if the destinations are neighbours"
                .to_owned(),
        ));
    }
    if is_neighbour(config, host, link, via) {
        return None;
    }
    let subnets: Vec<String> =
        link.addresses.iter().map(|net| net.trunc()).map(|net| net.to_string()).collect();
    let subnets = if subnets.is_empty() { "none".to_owned() } else { subnets.join(", ") };
    Some((
        format!(
            "cannot be added: its gateway {via} is in no subnet of {} ({subnets})",
            listed([dev])
        ),
        format!(
            "name a router that is a neighbour there, another `dev`, or give {} an address of the \
             gateway's subnet",
            listed([dev])
        ),
    ))
}

/// Whether an address can be reached by an interface without a router: a route without a gateway
/// leads to it (`fib_check_nh` of the kernel). A subnet of the interface counts too, since its route
/// may be in a table that the snapshot does not have.
fn is_neighbour(config: &Config, host: &Snapshot, link: &LinkState, address: Ipv4Addr) -> bool {
    let in_subnet = link.addresses.iter().any(|net| net.contains(&address));
    let routed = host.routes.iter().any(|route| {
        let here = route.gateway.is_none() && route.interface == link.index;
        here && route.destination.contains(&address)
    });
    let routed_then = config
        .static_routes
        .iter()
        .any(|route| route.via.is_none() && route.dev == link.name && route.to.contains(&address));
    in_subnet || routed || routed_then
}

#[cfg(test)]
mod tests {
    use super::super::sample::{config_with, connected, expect, host};
    use super::*;

    fn found(routes: &str, host: &Snapshot) -> Vec<Finding> {
        let pair = ("[[networks]]", format!("{routes}\n[[networks]]"));
        useless(&config_with(&[(pair.0, &pair.1)]), host)
    }

    fn route(to: &str, via: &str, dev: &str) -> String {
        let via = if via.is_empty() { String::new() } else { format!("via = \"{via}\"\n") };
        format!("[[static_routes]]\nto = \"{to}\"\n{via}dev = \"{dev}\"\n")
    }

    #[test]
    fn a_gateway_must_be_a_neighbour() {
        let mut host = host();
        expect(&found(&route("10.128.0.0/9", "10.0.0.2", "lan0"), &host), &[]);
        expect(&found(&route("192.0.2.0/24", "", "lan0"), &host), &[]);
        let elsewhere = route("192.0.2.0/24", "198.51.100.1", "lan0");
        expect(
            &found(&elsewhere, &host),
            &["static route 192.0.2.0/24 via 198.51.100.1 dev lan0 cannot be added: its gateway \
               198.51.100.1 is in no subnet of `lan0` (10.0.0.0/8)"],
        );
        // Of another interface it is no neighbour here.
        expect(
            &found(&route("192.0.2.0/24", "203.0.113.9", "lan0"), &host),
            &["203.0.113.9 is in no subnet of `lan0`"],
        );
        expect(
            &found(&route("192.0.2.0/24", "203.0.113.7", "wan0"), &host),
            &["leads to this machine itself: 203.0.113.7 is an address of `wan0`"],
        );
        // The default route leads there, but by a gateway.
        expect(
            &found(&route("192.0.2.0/24", "198.51.100.1", "wan0"), &host),
            &["198.51.100.1 is in no subnet of `wan0`"],
        );
        // Routes without a gateway make neighbours: of the host, or of the file.
        let both = format!("{elsewhere}{}", route("198.51.100.1", "", "lan0"));
        expect(&found(&both, &host), &[]);
        let wrong_dev = format!("{elsewhere}{}", route("198.51.100.1", "", "wan0"));
        expect(&found(&wrong_dev, &host), &["no subnet of `lan0`"]);
        host.routes.push(connected("198.51.100.1/32", 3));
        expect(&found(&elsewhere, &host), &[]);
        host.links[2].addresses.clear();
        expect(&found(&route("192.0.2.0/24", "10.9.9.9", "lan0"), &host), &[]);
        host.routes.clear();
        expect(&found(&route("192.0.2.0/24", "10.9.9.9", "lan0"), &host), &["`lan0` (none)"]);
    }

    #[test]
    fn an_interface_must_be_there() {
        let mut host = host();
        let findings = found(&route("192.0.2.0/24", "10.0.0.2", "lan9"), &host);
        expect(&findings, &["there is no interface `lan9`"]);
        assert!(findings[0].fix.contains("`lo`, `wan0` and `lan0`"), "{findings:#?}");
        host.links[2].up = false;
        expect(&found(&route("192.0.2.0/24", "10.0.0.2", "lan0"), &host), &["`lan0` is down"]);
    }
}
