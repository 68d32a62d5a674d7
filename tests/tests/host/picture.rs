//! One look: links, addresses and routes, compared with what `ip -j` prints.
use std::collections::BTreeSet;

use nat_ctl::{
    host::Network,
    source::{Flag, Flags},
};
use serde_json::Value;

use crate::machine::Machine;

fn text(value: &Value, key: &str) -> String {
    match &value[key] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `ip` leaves the length of a host route and of the default route out.
fn prefix(dst: &str) -> String {
    match dst {
        "default" => "0.0.0.0/0".to_owned(),
        dst if dst.contains('/') => dst.to_owned(),
        dst => format!("{dst}/32"),
    }
}

#[test]
fn routes_are_those_that_ip_shows() {
    let machine = Machine::new();
    machine.ip("route add default via 192.0.2.254 src 192.0.2.2 metric 9
         route add 198.51.100.0/24 via 10.0.0.9
         route append 198.51.100.0/24 via 10.0.0.8
         route prepend 198.51.100.0/24 via 10.0.0.7
         route add 198.51.100.7 dev lan0 table 1000
         route add 203.0.113.0/24 metric 3 nexthop via 192.0.2.254 nexthop via 10.0.0.9 weight 4
         route add unreachable 100.64.0.0/10 metric 8
         route add blackhole 100.65.0.0/16
         route add prohibit 100.66.0.0/16
         route add throw 100.67.0.0/16
         route add local 100.68.0.0/16 dev lo
         route add 198.51.101.0/24 dev lan0 tos 8");
    let network = machine.run(async || Network::read().await.unwrap());
    let name = |index| {
        let link = network.links.iter().find(|link| link.index == index);
        link.map_or(String::new(), |link| link.name.clone())
    };
    let mut shown = BTreeSet::new();
    for table in ["main", "1000"] {
        for route in machine.show(&["route", "show", "table", table]).as_array().unwrap() {
            let kind = text(route, "type");
            if ["throw", "local"].contains(&kind.as_str()) || !route["tos"].is_null() {
                continue;
            }
            let hops = match route["nexthops"].as_array() {
                Some(hops) => hops.clone(),
                None => vec![route.clone()],
            };
            for hop in hops {
                shown.insert((
                    if table == "main" { 254 } else { 1000 },
                    prefix(&text(route, "dst")),
                    text(&hop, "gateway"),
                    text(&hop, "dev"),
                    text(route, "metric").parse().unwrap_or(0),
                    text(route, "prefsrc"),
                ));
            }
        }
    }
    let all: Vec<_> = network.routes.iter().collect();
    let show = |ip: Option<std::net::Ipv4Addr>| ip.map_or(String::new(), |ip| ip.to_string());
    let seen = all.iter().map(|route| {
        let (via, src) = (show(route.via), show(route.src));
        (route.table, route.dst.to_string(), via, name(route.dev), route.metric, src)
    });
    assert_eq!(seen.collect::<BTreeSet<_>>(), shown);
    assert!(shown.len() > 10, "{shown:?}");

    let beside = all.iter().filter(|route| route.dst.to_string() == "198.51.100.0/24");
    let order: Vec<_> = beside.map(|route| route.via.unwrap().octets()[3]).collect();
    assert_eq!(order, [7, 9, 8], "in the kernel's order");
    let nowhere = all.iter().filter(|route| route.dev == 0).count();
    assert_eq!(nowhere, 3);
}

#[test]
fn links_and_addresses_are_those_that_ip_shows() {
    let machine = Machine::new();
    for link in ["all", "wan0"] {
        machine.namespace().sysctl(&format!("net/ipv6/conf/{link}/disable_ipv6"), "0");
    }
    machine.ip("addr add 192.0.2.128/25 dev wan0
         addr add 192.0.2.130/25 dev wan0 preferred_lft 0
         addr add 10.9.9.1 peer 10.9.9.2/32 dev lan0
         addr add 2001:db8::1/64 dev wan0 nodad
         addr add 2001:db8::2/64 dev wan0 nodad preferred_lft 0
         link set lan0 down");
    let network = machine.run(async || Network::read().await.unwrap());
    let shown = machine.show(&["-d", "address"]);
    for link in shown.as_array().unwrap() {
        let name = text(link, "ifname");
        let seen = network.link(&name).unwrap();
        assert_eq!(u64::from(seen.index), link["ifindex"].as_u64().unwrap());
        assert_eq!(seen.ethernet, link["link_type"] == "ether");
        let flags = link["flags"].as_array().unwrap();
        assert_eq!(seen.up, flags.contains(&"UP".into()), "{name}");
        let mac: Vec<_> = seen.mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(mac.join(":"), text(link, "address"));
        let addresses = link["addr_info"].as_array().unwrap();
        let addresses: Vec<_> =
            addresses.iter().map(|one| (text(one, "local"), one["prefixlen"].as_u64())).collect();
        let seen: Vec<_> = seen
            .addresses
            .iter()
            .map(|one| (one.ip.to_string(), Some(u64::from(one.prefix_len))))
            .collect();
        assert_eq!(seen, addresses, "{name}");
    }
    assert!(!network.link("lan0").unwrap().up);
    let flags = |ip: &str| {
        let mut all = network.links.iter().flat_map(|link| &link.addresses);
        all.find(|one| one.ip.to_string() == ip).unwrap().flags
    };
    let of = |flags: &[Flag]| flags.iter().copied().collect::<Flags>();
    assert_eq!(flags("192.0.2.1"), of(&[]));
    assert_eq!(flags("192.0.2.2"), of(&[Flag::Secondary]));
    assert_eq!(flags("192.0.2.128"), of(&[]));
    assert_eq!(flags("192.0.2.130"), of(&[Flag::Secondary, Flag::Deprecated]));
    assert_eq!(flags("2001:db8::1"), of(&[]));
    assert_eq!(flags("2001:db8::2"), of(&[Flag::Deprecated]));
}
