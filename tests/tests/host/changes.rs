//! Changes of routes are followed one by one.
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use nat_ctl::host::Network;
use nat_tests::lab::NetNs;

use crate::machine::{Live, Machine};

/// A route is followed without a look at the others, however many there are.
#[test]
fn a_route_is_followed_as_it_is_announced() {
    let machine = Machine::new();
    machine.run(async || {
        let mut live = Live::new().await;
        let wan0 = live.network.link("wan0").unwrap().index;
        machine.ip("route add default via 192.0.2.254 metric 7 src 192.0.2.2");
        let delta = live.follow().await;
        assert!(!delta.links && !delta.tables && delta.routes.removed.is_empty());
        let [added] = delta.routes.added[..] else { panic!("{delta:?}") };
        assert_eq!((added.dst.to_string().as_str(), added.dev), ("0.0.0.0/0", wan0));
        assert_eq!(added.via.unwrap().to_string(), "192.0.2.254");
        assert_eq!((added.src.unwrap().to_string().as_str(), added.metric), ("192.0.2.2", 7));
        assert_eq!(added.table, 254);

        machine.ip("route replace default via 192.0.2.253 metric 7");
        let delta = live.follow().await;
        assert_eq!(delta.routes.removed, [added]);
        let [replaced] = delta.routes.added[..] else { panic!("{delta:?}") };
        machine.ip("route del default metric 7");
        let delta = live.follow().await;
        assert_eq!((delta.routes.removed, delta.routes.added), (vec![replaced], vec![]));
        assert_eq!(live.network, Network::read().await.unwrap());
    });
}

/// One command after the other, of those that `ip route` has; wherever they are refused, nothing
/// changes.
#[test]
fn a_thousand_random_changes_are_followed() {
    let machine = Machine::new();
    machine.run(async || {
        let mut live = Live::new().await;
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut seen = BTreeSet::new();
        for round in 0..60 {
            let batch: Vec<String> = (0..17).map(|_| command(&mut random)).collect();
            force(machine.namespace(), &batch);
            // So that something is different in any case.
            machine.ip(&format!("route add 203.0.113.{round}/32 dev lan0"));
            live.catch_up().await;
            seen.extend(live.routes().iter().map(|route| (route.dev != 0, route.src, route.table)));
        }
        assert!(seen.len() > 6, "routes of few kinds: {seen:?}");
    });
}

fn command(random: &mut Random) -> String {
    let mut pick = |of: &[&'static str]| of[random.below(of.len())];
    let verb = pick(&["add", "replace", "append", "prepend", "del", "del", "change"]);
    let kind = pick(&["", "", "", "", "unreachable", "blackhole", "throw"]);
    let dst = pick(&["198.51.100.0/24", "198.51.0.0/16", "default", "198.51.100.7"]);
    let hop = pick(&[
        "via 192.0.2.254",
        "via 192.0.2.253 dev wan0",
        "dev lan0",
        "via 10.0.0.9 src 10.0.0.1",
        "nexthop via 192.0.2.254 nexthop via 10.0.0.9 weight 3",
        "nexthop via 192.0.2.253 dev wan0 nexthop dev lan0",
        "via inet6 fe80::1 dev wan0",
    ]);
    let hop = if kind.is_empty() { hop } else { "" };
    let protocol = pick(&["", "", "proto static", "proto bgp"]);
    let more = pick(&["", "", "metric 5", "metric 5 table 100", "tos 8", "mtu 1400"]);
    format!("route {verb} {kind} {dst} {hop} {protocol} {more}")
}

/// Runs commands of which many are refused.
fn force(namespace: &NetNs, batch: &[String]) {
    let finished = nat_tests::lab::process::run_with_input(
        namespace.command("ip").args(["-force", "-batch", "-"]),
        &(batch.join("\n") + "\n"),
        Duration::from_secs(20),
    );
    assert!(!finished.stderr.contains("Command line is not complete"), "{finished}");
}

/// xorshift64
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % end
    }
}

#[test]
fn rules_change_the_order_of_tables() {
    let machine = Machine::new();
    machine.run(async || {
        let mut live = Live::new().await;
        let places =
            |live: &Live| [254, 253, 100].map(|table| live.network.tables.position(table, 0));
        assert_eq!(places(&live), [Some(0), Some(1), None]);
        machine.ip("rule add from 10.0.0.0/24 lookup 100");
        assert!(live.follow().await.tables);
        assert_eq!(places(&live), [Some(0), Some(1), Some(2)]);
        machine.ip("rule add lookup 100");
        assert!(live.follow().await.tables);
        assert_eq!(places(&live), [Some(1), Some(2), Some(0)]);
        machine.ip("rule del lookup 100\nrule del from 10.0.0.0/24 lookup 100");
        assert!(live.follow().await.tables);
        assert_eq!(places(&live), [Some(0), Some(1), None]);
        machine.ip("rule add not fwmark 7 lookup 100");
        live.follow().await;
        assert_eq!(places(&live), [Some(1), Some(2), Some(0)]);
        machine.ip("rule add lookup main suppress_prefixlength 0 pref 5");
        live.follow().await;
        assert_eq!(places(&live), [Some(2), Some(3), Some(1)]);
        assert_eq!(live.network.tables.position(254, 1), Some(0));
    });
}

/// A link, an address: the links are different, and so are the routes that come with them.
#[test]
fn links_and_addresses_are_followed() {
    let machine = Machine::new();
    machine.run(async || {
        let mut live = Live::new().await;
        machine.ip("link add dmz0 type veth peer name dmz0p\nlink set dmz0 up\nlink set dmz0p up");
        machine.ip("addr add 172.16.0.1/24 dev dmz0");
        live.catch_up().await;
        let dmz0 = live.network.link("dmz0").unwrap();
        assert!(dmz0.up && dmz0.ethernet);
        assert_eq!(dmz0.ipv4().map(|ip| ip.to_string()).collect::<Vec<_>>(), ["172.16.0.1"]);
        let routed: Vec<_> = live.network.routed_to(dmz0.index).collect();
        assert_eq!(routed, ["172.16.0.0/24".parse().unwrap()]);
        machine.ip("link set dmz0 down\nlink set dmz0 name other\nlink del other");
        live.catch_up().await;
        assert!(live.network.link("dmz0").is_none());
    });
}

/// Maps are to follow within 100 ms, so this may take a part of that only.
#[test]
fn a_change_is_known_soon() {
    let machine = Machine::new();
    machine.run(async || {
        let mut live = Live::new().await;
        let mut best = Duration::MAX;
        for round in 0..5 {
            machine.ip(&format!("route add 203.0.113.{round}/32 dev lan0"));
            let start = Instant::now();
            live.follow().await;
            best = best.min(start.elapsed());
        }
        assert!(best < Duration::from_millis(40), "{best:?}");
    });
}
