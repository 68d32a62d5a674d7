//! A gateway without a fault, for tests to spoil.

use ipnet::Ipv4Net;

use super::Finding;
use crate::config::Config;
use crate::host::{LinkState, Route, Snapshot, Sysctls};

pub(super) const TEXT: &str = r#"
[interfaces]
inside = ["lan0"]
outside = ["wan0"]

[[networks]]
name = "internal"
prefixes = ["10.0.0.0/8"]

[[rules]]
name = "internet"
from = ["internal", "local-host"]
to = ["external"]
action = "snat"
source = { addresses = ["203.0.113.7"] }
"#;

pub(super) fn config() -> Config {
    Config::parse(TEXT, "nat.toml").unwrap()
}

/// [`TEXT`] with something replaced.
pub(super) fn config_with(pairs: &[(&str, &str)]) -> Config {
    let text = pairs.iter().fold(TEXT.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old}");
        text.replace(old, new)
    });
    Config::parse(&text, "nat.toml").unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

pub(super) fn link(index: u32, name: &str, addresses: &[&str]) -> LinkState {
    LinkState {
        index,
        name: name.to_owned(),
        kind: None,
        ethernet: true,
        up: true,
        addresses: addresses.iter().copied().map(net).collect(),
        flags: Vec::new(),
        forwarding: Some(true),
        rp_filter: Some(0),
    }
}

pub(super) fn default_route(gateway: &str, interface: u32) -> Route {
    Route {
        destination: net("0.0.0.0/0"),
        gateway: Some(gateway.parse().unwrap()),
        interface,
        metric: 0,
    }
}

pub(super) fn connected(destination: &str, interface: u32) -> Route {
    Route { destination: net(destination), gateway: None, interface, metric: 0 }
}

pub(super) fn host() -> Snapshot {
    let lo = LinkState { ethernet: false, ..link(1, "lo", &["127.0.0.1/8"]) };
    Snapshot {
        links: vec![lo, link(2, "wan0", &["203.0.113.7/24"]), link(3, "lan0", &["10.0.0.1/8"])],
        routes: vec![
            default_route("203.0.113.1", 2),
            connected("203.0.113.0/24", 2),
            connected("10.0.0.0/8", 3),
        ],
        sysctls: Sysctls {
            ip_forward: Some(true),
            rp_filter_all: Some(0),
            local_port_range: Some(32768..=60999),
            reserved_ports: Vec::new(),
        },
        nftables: None,
    }
}

/// The findings must be exactly these, each by a part of its text.
#[track_caller]
pub(super) fn expect(findings: &[Finding], expected: &[&str]) {
    assert_eq!(findings.len(), expected.len(), "{findings:#?}");
    for (finding, expected) in findings.iter().zip(expected) {
        assert!(finding.what.contains(expected), "{expected}\n{findings:#?}");
        assert!(!finding.fix.is_empty(), "{findings:#?}");
    }
}
