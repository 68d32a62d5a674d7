//! Ports that the gateway's own sockets use too.

use std::ops::RangeInclusive;

use super::addresses::snat_rules;
use super::{Finding, listed};
use crate::config::{Config, Source};
use crate::host::Snapshot;

/// Rules whose ports the kernel also gives to sockets of the gateway, on the same address. One
/// note for all, since with the defaults it is every rule.
pub(super) fn ephemeral_overlap(config: &Config, host: &Snapshot) -> Vec<Finding> {
    let Some(local) = &host.sysctls.local_port_range else { return Vec::new() };
    let overlapping = snat_rules(config).filter(|(_, snat)| {
        let on_this_host = match &snat.source {
            // A model takes one of the host's own.
            Source::Model(_) => true,
            Source::Addresses { addresses, .. } => {
                addresses.iter().any(|address| host.owner(*address).is_some())
            }
        };
        let mut shared =
            (*snat.ports.start()).max(*local.start())..=*snat.ports.end().min(local.end());
        let apart = [&snat.exclude_ports, &host.sysctls.reserved_ports];
        on_this_host && shared.any(|port| !apart.iter().any(|ranges| holds(ranges, port)))
    });
    let names: Vec<&str> = overlapping.map(|(rule, _)| rule.name.as_str()).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let (first, last) = (local.start(), local.end());
    vec![Finding::note(
        format!(
            "{} {} may use ports that this machine's own sockets are given ({first}-{last}): a \
             connection of its own may meet a translated one",
            if names.len() == 1 { "rule" } else { "rules" },
            listed(names)
        ),
        format!(
            "leave them apart with `ports = \"1024-{}\"`, or give the sockets another range: \
             `sysctl -w net.ipv4.ip_local_port_range=\"FIRST LAST\"`",
            first.saturating_sub(1).max(1024)
        ),
    )]
}

fn holds(ranges: &[RangeInclusive<u16>], port: u16) -> bool {
    ranges.iter().any(|range| range.contains(&port))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{config, config_with, expect, host};
    use super::*;

    #[test]
    fn ranges_that_meet() {
        let ports =
            |ports: &str| config_with(&[("source =", &format!("ports = \"{ports}\"\nsource ="))]);
        let mut host = host();
        expect(&ephemeral_overlap(&config(), &host), &["rule `internet` may use ports"]);
        expect(&ephemeral_overlap(&ports("1024-32767"), &host), &[]);
        expect(&ephemeral_overlap(&ports("61000-65535"), &host), &[]);
        expect(&ephemeral_overlap(&ports("60999-65535"), &host), &["(32768-60999)"]);
        host.sysctls.reserved_ports = vec![32768..=40000, 40001..=60999];
        expect(&ephemeral_overlap(&config(), &host), &[]);
        host.sysctls.reserved_ports.pop();
        expect(&ephemeral_overlap(&config(), &host), &["may use ports"]);
        expect(&ephemeral_overlap(&ports("32768-40000"), &host), &[]);
        let but = |ports: &str| {
            config_with(&[("source =", &format!("exclude_ports = [\"{ports}\"]\nsource ="))])
        };
        expect(&ephemeral_overlap(&but("40001-60999"), &host), &[]);
        expect(&ephemeral_overlap(&but("40002-60999"), &host), &["may use ports"]);
    }

    #[test]
    fn addresses_of_others_do_not_meet() {
        let config = config_with(&[("203.0.113.7", "203.0.113.99")]);
        expect(&ephemeral_overlap(&config, &host()), &[]);
        let model = config_with(&[("{ addresses = [\"203.0.113.7\"] }", "\"lowest\"")]);
        expect(&ephemeral_overlap(&model, &host()), &["rule `internet` may use ports"]);
    }
}
