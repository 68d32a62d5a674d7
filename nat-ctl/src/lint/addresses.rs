//! External addresses, and the gateway's own.

use std::net::Ipv4Addr;

use super::{Finding, listed};
use crate::config::{Action, Config, Rule, Selector, Snat, Source};
use crate::host::{LinkState, Snapshot};

/// Rules that translate.
pub(super) fn snat_rules(config: &Config) -> impl Iterator<Item = (&Rule, &Snat)> {
    config.rules.iter().filter_map(|rule| match &rule.action {
        Action::Snat(snat) => Some((rule, snat)),
        _ => None,
    })
}

/// The outside interfaces that are there.
pub(super) fn outside<'h>(config: &Config, host: &'h Snapshot) -> Vec<&'h LinkState> {
    config.interfaces.outside.iter().filter_map(|name| host.link(name)).collect()
}

pub(super) fn has(link: &LinkState, address: Ipv4Addr) -> bool {
    link.addresses.iter().any(|net| net.addr() == address)
}

/// External addresses that no outside interface has: the kernel would not take the replies for its
/// own, nor answer ARP for them.
pub(super) fn not_outside(config: &Config, host: &Snapshot) -> Vec<Finding> {
    let outside = outside(config, host);
    let mut findings = Vec::new();
    for (rule, snat) in snat_rules(config) {
        let usable = |address: &Ipv4Addr| outside.iter().any(|link| has(link, *address));
        let name = listed([&rule.name]);
        let addresses = snat.source.addresses();
        let rest = if addresses.iter().any(usable) {
            "and is not used".to_owned()
        } else {
            format!("; without an address, {name} is out of service and drops what it covers")
        };
        for address in addresses.iter().filter(|address| !usable(address)) {
            let place = match host.owner(*address) {
                Some(link) => {
                    format!("is on {}, not on an outside interface", listed([&link.name]))
                }
                None => "is on no interface of this host".to_owned(),
            };
            let rest = if rest.starts_with(';') { rest.clone() } else { format!(" {rest}") };
            let dev = config.interfaces.outside.first().map_or("NAME", String::as_str);
            findings.push(Finding::warning(
                format!("rule {name}: {address} {place}{rest}"),
                format!("`ip addr add {address}/LENGTH dev {dev}`, or name another address"),
            ));
        }
    }
    findings
}

/// Rules with no address on one of several ways out. It matters most where the default route is.
pub(super) fn not_on_every_egress(config: &Config, host: &Snapshot) -> Vec<Finding> {
    let outside = outside(config, host);
    let mut findings = Vec::new();
    for (rule, snat) in snat_rules(config) {
        let serves = |link: &LinkState| match &snat.source {
            Source::Model(_) => !link.addresses.is_empty(),
            Source::Addresses { addresses, .. } => addresses.iter().any(|one| has(link, *one)),
        };
        let lists_addresses = matches!(snat.source, Source::Addresses { .. });
        // A list that is of no use anywhere has been told of.
        if lists_addresses && !outside.iter().any(|link| serves(link)) {
            continue;
        }
        for link in outside.iter().filter(|link| !serves(link)) {
            let is_default = host.default_routes().any(|route| route.interface == link.index);
            let what = format!(
                "rule {} has no external address on {}{}: what it covers and leaves there is \
                 dropped",
                listed([&rule.name]),
                listed([&link.name]),
                if is_default { ", where the default route leads" } else { "" },
            );
            let fix = if lists_addresses {
                format!("add an address of {} to the rule's `source`", link.name)
            } else {
                format!("`ip addr add ADDRESS/LENGTH dev {}`", link.name)
            };
            findings.push(if is_default {
                Finding::warning(what, fix)
            } else {
                Finding::note(what, fix)
            });
        }
    }
    findings
}

/// The gateway's own addresses are in `local-host` and nowhere else: a rule for the network or
/// prefix around one does not translate what the gateway itself sends from it. Outside addresses
/// need no translation.
pub(super) fn own_packets(config: &Config, host: &Snapshot) -> Vec<Finding> {
    if config.rules.iter().any(|rule| rule.from.contains(&Selector::LocalHost)) {
        return Vec::new();
    }
    let around = |address: Ipv4Addr| {
        let mut from =
            snat_rules(config).flat_map(|(rule, _)| rule.from.iter().map(move |s| (rule, s)));
        from.find_map(|(rule, selector)| {
            let covers = match selector {
                Selector::Prefix(prefix) => prefix.prefix_len() < 32 && prefix.contains(&address),
                Selector::Network(index) => {
                    let network = config.networks.get(*index);
                    network.is_some_and(|n| n.prefixes.iter().any(|one| one.contains(&address)))
                }
                Selector::External | Selector::LocalHost => false,
            };
            covers.then_some(rule)
        })
    };
    let inside = config.interfaces.inside.iter().filter_map(|name| host.link(name));
    let addresses = inside.flat_map(|link| &link.addresses).map(|net| net.addr());
    let found = addresses.filter_map(|address| Some((address, around(address)?)));
    let finding = |(address, rule): (Ipv4Addr, &Rule)| {
        Finding::note(
            format!(
                "no rule translates what this machine itself sends from {address}: it is in \
                 `local-host`, which `from` of rule {} does not name",
                listed([&rule.name])
            ),
            "add \"local-host\", if such packets leave outside",
        )
    };
    found.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::sample::{config, config_with, default_route, expect, host, link, net};
    use super::*;

    #[test]
    fn addresses_that_are_elsewhere() {
        let mut host = host();
        expect(&not_outside(&config(), &host), &[]);
        let two = config_with(&[("\"203.0.113.7\"", "\"203.0.113.7\", \"203.0.113.8\"")]);
        expect(
            &not_outside(&two, &host),
            &["rule `internet`: 203.0.113.8 is on no interface of this host and is not used"],
        );
        host.links[2].addresses.push(net("203.0.113.8/32"));
        expect(
            &not_outside(&two, &host),
            &["203.0.113.8 is on `lan0`, not on an outside interface"],
        );
        host.links[1].addresses.clear();
        expect(&not_outside(&config(), &host), &["`internet` is out of service"]);
    }

    #[test]
    fn ways_out_without_an_address() {
        let mut host = host();
        host.links.push(link(4, "wan1", &["198.51.100.7/24"]));
        let two = config_with(&[("\"wan0\"", "\"wan0\", \"wan1\"")]);
        let findings = not_on_every_egress(&two, &host);
        expect(&findings, &["no external address on `wan1`: what"]);
        assert_eq!(findings[0].severity, Severity::Note);
        host.routes.push(default_route("198.51.100.1", 4));
        let findings = not_on_every_egress(&two, &host);
        expect(&findings, &["`wan1`, where the default route leads"]);
        assert_eq!(findings[0].severity, Severity::Warning);
        host.links[1].addresses.clear();
        expect(&not_on_every_egress(&two, &host), &[]);
        // A model takes whatever address there is.
        let model = config_with(&[("{ addresses = [\"203.0.113.7\"] }", "\"strong-host\"")]);
        let findings = not_on_every_egress(&model, &host);
        expect(&findings, &["no external address on `wan0`, where the default route leads"]);
        assert!(findings[0].fix.starts_with("`ip addr add"), "{findings:#?}");
        host.links[1].addresses.push(net("203.0.113.8/24"));
        expect(&not_on_every_egress(&model, &host), &[]);
    }

    #[test]
    fn the_gateways_own_packets() {
        let clients = config_with(&[("\"internal\", \"local-host\"", "\"internal\"")]);
        expect(&own_packets(&config(), &host()), &[]);
        expect(&own_packets(&clients, &host()), &["itself sends from 10.0.0.1"]);
        let prefix = config_with(&[("\"internal\", \"local-host\"", "\"0.0.0.0/0\"")]);
        expect(&own_packets(&prefix, &host()), &["itself sends from 10.0.0.1"]);
        let others = config_with(&[("\"internal\", \"local-host\"", "\"10.1.0.0/16\"")]);
        expect(&own_packets(&others, &host()), &[]);
    }
}
