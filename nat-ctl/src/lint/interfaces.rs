//! The interfaces themselves.

use super::{Finding, configured, listed};
use crate::config::{Config, Hook};
use crate::host::{LinkState, Snapshot};

/// Interfaces that are not there.
pub(super) fn missing(config: &Config, host: &Snapshot) -> Vec<Finding> {
    let missing = configured(config).filter(|name| host.link(name).is_none());
    let there = listed(host.links.iter().map(|link| &link.name));
    let finding = |name| {
        Finding::warning(
            format!("there is no interface {}: nothing is translated there", listed([name])),
            format!("this network namespace has {there}; --netns names another one"),
        )
    };
    missing.map(finding).collect()
}

/// Interfaces whose packets have no Ethernet header.
pub(super) fn not_ethernet(config: &Config, host: &Snapshot) -> Vec<Finding> {
    let finding = |link: &LinkState| {
        Finding::warning(
            format!("{} is not an Ethernet interface and cannot be used", listed([&link.name])),
            "this version translates on Ethernet interfaces only: not lo, tun or ppp",
        )
    };
    there(config, host).filter(|link| !link.ethernet).map(finding).collect()
}

/// Interfaces that are switched off.
pub(super) fn down(config: &Config, host: &Snapshot) -> Vec<Finding> {
    let finding = |link: &LinkState| {
        Finding::warning(
            format!("{} is down", listed([&link.name])),
            format!("`ip link set {} up`", link.name),
        )
    };
    there(config, host).filter(|link| !link.up).map(finding).collect()
}

/// XDP on interfaces whose packets carry partial checksums and are longer than any frame, neither
/// of which XDP can see.
pub(super) fn xdp_on_software(config: &Config, host: &Snapshot) -> Vec<Finding> {
    if config.interfaces.hook != Hook::Xdp {
        return Vec::new();
    }
    let software = |link: &&LinkState| {
        matches!(link.kind.as_deref(), Some("veth" | "tun" | "tap")) && link.ethernet
    };
    let finding = |link: &LinkState| {
        Finding::warning(
            format!(
                "`hook = \"xdp\"` on {}, which hands over packets without checksums",
                listed([&link.name])
            ),
            "write `hook = \"tc\"`, or switch off the offloads of the hosts behind it (`ethtool -K \
             NAME tx off tso off gso off`)",
        )
    };
    there(config, host).filter(software).map(finding).collect()
}

fn there<'h>(config: &Config, host: &'h Snapshot) -> impl Iterator<Item = &'h LinkState> {
    let links: Vec<_> = configured(config).filter_map(|name| host.link(name)).collect();
    links.into_iter()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{config, config_with, expect, host};
    use super::*;

    #[test]
    fn what_is_not_there() {
        expect(&missing(&config(), &host()), &[]);
        let config = config_with(&[("\"wan0\"", "\"wan0\", \"wan1\""), ("lan0", "lan1")]);
        expect(&missing(&config, &host()), &["no interface `wan1`", "no interface `lan1`"]);
    }

    #[test]
    fn what_cannot_be_used_as_it_is() {
        let mut host = host();
        expect(&not_ethernet(&config(), &host), &[]);
        expect(&down(&config(), &host), &[]);
        host.links[1].ethernet = false;
        host.links[2].up = false;
        expect(&not_ethernet(&config(), &host), &["`wan0` is not an Ethernet"]);
        expect(&down(&config(), &host), &["`lan0` is down"]);
    }

    #[test]
    fn xdp_wants_hardware() {
        let mut host = host();
        let xdp = config_with(&[("outside =", "hook = \"xdp\"\noutside =")]);
        expect(&xdp_on_software(&xdp, &host), &[]);
        host.links[2].kind = Some("veth".to_owned());
        expect(&xdp_on_software(&xdp, &host), &["on `lan0`"]);
        expect(&xdp_on_software(&config(), &host), &[]);
    }
}
