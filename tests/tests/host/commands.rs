//! `nat-ctl host snapshot` and `nat-ctl probe`, as a user runs them.
use std::{
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use nat_ctl::{
    host::Network,
    source::{Flag, Host},
};
use nat_tests::lab::{
    nat_ctl::find_binary,
    process::{Finished, run},
};
use serde_json::{Value, json};

use crate::machine::Machine;

fn nat_ctl(machine: &Machine, arguments: &[&str]) -> Finished {
    let mut command = Command::new(find_binary().unwrap());
    command.arg("--netns").arg(machine.namespace().path()).args(arguments);
    run(&mut command, Duration::from_secs(20))
}

#[test]
fn a_snapshot_is_what_source_selection_reads() {
    let machine = Machine::new();
    machine.namespace().sysctl("net/ipv6/conf/wan0/disable_ipv6", "0");
    machine.ip("addr add 2001:db8::1/64 dev wan0 nodad
         route add default via 192.0.2.254 metric 5
         route add default via 10.0.0.9 table 100
         route add unreachable 198.51.100.0/24
         rule add iif lan0 lookup 100
         route add ::/0 nexthop via 2001:db8::a nexthop via 2001:db8::b
         route add unreachable 2001:db8:1::/48");
    let text = nat_ctl(&machine, &["host", "snapshot"]).ok();
    let host: Host = serde_json::from_str(&text).unwrap();
    let expected = machine.run(async || Network::read().await.unwrap().to_host(&[]));
    assert_eq!(host.interfaces, expected.interfaces);
    let (ipv4, ipv6): (Vec<_>, Vec<_>) =
        host.routes.into_iter().partition(|route| route.dst.addr().is_ipv4());
    assert_eq!(ipv4, expected.routes);

    let wan0 = host.interfaces.iter().find(|one| one.name == "wan0").unwrap();
    assert!(wan0.addresses[1].flags.contains(Flag::Secondary));
    let by = |host: &[nat_ctl::source::Route], dst: &str| {
        let routes = host.iter().filter(|route| route.dst.to_string() == dst);
        routes
            .map(|route| {
                let via = route.via.map_or("-".to_owned(), |via| via.to_string());
                format!("{via} {} {} {}", route.dev, route.metric, route.table)
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(by(&ipv4, "0.0.0.0/0"), ["10.0.0.9 lan0 0 2", "192.0.2.254 wan0 5 0"]);
    assert_eq!(by(&ipv4, "198.51.100.0/24"), ["-  0 0"]);
    assert_eq!(by(&ipv6, "::/0"), ["2001:db8::a wan0 1024 0", "2001:db8::b wan0 1024 0"]);
    assert_eq!(by(&ipv6, "2001:db8::/64"), ["- wan0 256 0"]);
    assert_eq!(by(&ipv6, "2001:db8:1::/48"), ["-  1024 0"]);

    let line = nat_ctl(&machine, &["-j", "host", "snapshot"]).ok();
    assert_eq!(line.trim_end().lines().count(), 1);
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
    assert_eq!(value["schema"], "nat-ctl/host/1");
}

fn probe(machine: &Machine, code: i32, arguments: &[&str]) -> Value {
    let finished = nat_ctl(machine, &[&["-j", "probe"], arguments].concat());
    assert_eq!(finished.status.code(), Some(code), "{finished}");
    let mut answer: Value = serde_json::from_str(&finished.stdout).unwrap();
    // Any port will do.
    let local = answer["local"].as_object_mut();
    assert!(local.is_none_or(|local| local.remove("port").unwrap().as_u64().unwrap() > 0));
    answer
}

#[test]
fn a_probe_tells_how_far_a_connection_got_and_by_which_way() {
    let machine = Machine::new();
    machine.ip("route add default via 192.0.2.254
         route add 198.51.100.0/24 via 10.0.0.9
         route add 198.51.101.0/24 dev lan0
         route add unreachable 198.51.102.0/24
         neigh add 192.0.2.254 lladdr 02:00:00:00:00:01 dev wan0 nud permanent
         neigh add 10.0.0.9 lladdr 02:00:00:00:00:02 dev lan0 nud permanent
         neigh add 198.51.101.1 lladdr 02:00:00:00:00:03 dev lan0 nud permanent");
    let way = |answer: &Value| {
        json!([answer["state"], answer["local"]["addr"], answer["interface"], answer["gateway"]])
    };
    let brief = ["--timeout", "0.2"];
    let asked = |code, arguments: &[&str]| {
        way(&probe(&machine, code, &[arguments, brief.as_slice()].concat()))
    };
    let start = Instant::now();
    assert_eq!(
        asked(1, &["203.0.113.9:443"]),
        json!(["syn-sent", "192.0.2.1", "wan0", "192.0.2.254"])
    );
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(
        asked(1, &["203.0.113.9:443", "--bind", "192.0.2.2"]),
        json!(["syn-sent", "192.0.2.2", "wan0", "192.0.2.254"])
    );
    assert_eq!(
        asked(1, &["198.51.100.9:443"]),
        json!(["syn-sent", "10.0.0.1", "lan0", "10.0.0.9"])
    );
    assert_eq!(asked(1, &["198.51.101.1:443"]), json!(["syn-sent", "10.0.0.1", "lan0", null]));
    assert_eq!(asked(1, &["198.51.102.1:443"]), json!(["unreachable", null, null, null]));

    let listener = machine.namespace().enter(|| TcpListener::bind("192.0.2.1:0")).unwrap();
    let here = listener.local_addr().unwrap().to_string();
    assert_eq!(asked(0, &[&here]), json!(["established", "192.0.2.1", "lo", null]));
    drop(listener);
    assert_eq!(asked(1, &[&here]), json!(["refused", "192.0.2.1", "lo", null]));

    // A rule for the source decides, not the destination alone.
    machine.ip("rule add from 192.0.2.2 lookup 100\nroute add default via 10.0.0.9 table 100");
    assert_eq!(
        asked(1, &["203.0.113.9:443", "--bind", "192.0.2.2"]),
        json!(["syn-sent", "192.0.2.2", "lan0", "10.0.0.9"])
    );
    let finished = nat_ctl(&machine, &["probe", "203.0.113.9:443", "--timeout", "0.1"]);
    assert!(finished.stdout.contains("left by wan0 via 192.0.2.254"), "{finished}");
    let finished = nat_ctl(&machine, &["probe", "203.0.113.9:443", "--bind", "192.0.2.9"]);
    assert_eq!(finished.status.code(), Some(1));
    assert!(finished.stderr.contains("cannot connect from 192.0.2.9"), "{finished}");
    assert_eq!(nat_ctl(&machine, &["probe", "203.0.113.9"]).status.code(), Some(2));
}
