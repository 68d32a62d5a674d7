//! Routes that are kept in the kernel's table.
use nat_ctl::{
    config::StaticRoute,
    host::{
        Network,
        static_routes::{keep, put},
    },
};

use crate::machine::{Live, Machine};

fn route(to: &str, via: Option<&str>, dev: &str, metric: u32) -> StaticRoute {
    let via = via.map(|via| via.parse().unwrap());
    StaticRoute { to: to.parse().unwrap(), via, dev: dev.to_owned(), metric }
}

/// What `ip route` shows of ours.
fn ours(machine: &Machine) -> Vec<String> {
    let shown = machine.show(&["route", "show", "proto", "78"]);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    let line = |route: &serde_json::Value| {
        let [dst, via, dev] = ["dst", "gateway", "dev"].map(|key| text(&route[key]));
        format!("{dst} {via} {dev} {}", route["metric"].as_u64().unwrap_or(0))
    };
    shown.as_array().unwrap().iter().map(line).collect()
}

async fn put_now(wanted: &[StaticRoute], before: &[StaticRoute]) -> Vec<String> {
    put(&Network::read().await.unwrap(), wanted, before).await.unwrap()
}

const NONE: [String; 0] = [];

#[test]
fn the_kernel_has_what_is_wanted_and_nothing_else_of_ours() {
    let machine = Machine::new();
    machine.run(async || {
        let wanted = [
            route("0.0.0.0/0", Some("192.0.2.254"), "wan0", 7),
            route("10.128.0.0/9", Some("10.0.0.9"), "lan0", 0),
            route("198.51.100.0/24", None, "lan0", 0),
        ];
        assert_eq!(put_now(&wanted, &[]).await, NONE);
        let all = [
            "default 192.0.2.254 wan0 7",
            "10.128.0.0/9 10.0.0.9 lan0 0",
            "198.51.100.0/24 - lan0 0",
        ];
        assert_eq!(ours(&machine), all);
        let before = machine.show(&["route"]);
        assert_eq!(put_now(&wanted, &[]).await, NONE);
        assert_eq!(machine.show(&["route"]), before);

        let changed = [route("10.128.0.0/9", Some("192.0.2.253"), "wan0", 0), wanted[2].clone()];
        assert_eq!(put_now(&changed, &wanted).await, NONE);
        assert_eq!(ours(&machine), ["10.128.0.0/9 192.0.2.253 wan0 0", all[2]]);
        machine.ip("route add 203.0.113.0/24 dev lan0 proto static");
        assert_eq!(put_now(&[], &changed).await, NONE);
        assert_eq!(ours(&machine), NONE);
        let left = machine.show(&["route", "show", "203.0.113.0/24"]);
        assert_eq!(left.as_array().unwrap().len(), 1);
    });
}

#[test]
fn a_route_of_somebody_else_stays() {
    let machine = Machine::new();
    machine.run(async || {
        machine.ip("route add 10.128.0.0/9 via 192.0.2.254");
        let before = machine.show(&["route"]);
        let wanted = [route("10.128.0.0/9", Some("10.0.0.9"), "lan0", 0)];
        let warnings = put_now(&wanted, &[]).await;
        assert!(warnings[0].contains("which is not ours"), "{warnings:?}");
        assert_eq!(machine.show(&["route"]), before);
        // Not even when ours has been there first and theirs comes beside it.
        machine.ip("route del 10.128.0.0/9");
        assert_eq!(put_now(&wanted, &[]).await, NONE);
        machine.ip("route prepend 10.128.0.0/9 via 192.0.2.254");
        assert_eq!(put_now(&[], &wanted).await, NONE);
        assert_eq!(machine.show(&["route"]), before);
    });
}

#[test]
fn routes_come_back_with_their_interface_and_after_somebody_removed_them() {
    let machine = Machine::new();
    machine.run(async || {
        let wanted = [route("10.128.0.0/9", Some("10.0.0.9"), "lan0", 0)];
        let there = ["10.128.0.0/9 10.0.0.9 lan0 0"];
        let mut live = Live::new().await;
        assert_eq!(put(&live.network, &wanted, &[]).await.unwrap(), NONE);
        live.catch_up().await;
        machine.ip("route del 10.128.0.0/9");
        live.catch_up().await;
        assert_eq!(keep(&live.network, &wanted).await.unwrap(), NONE);
        assert_eq!(ours(&machine), there);
        live.catch_up().await;

        machine.ip("link set lan0 down");
        live.catch_up().await;
        let warnings = keep(&live.network, &wanted).await.unwrap();
        assert!(warnings[0].contains("`lan0` is not there or down"), "{warnings:?}");
        assert_eq!(ours(&machine), NONE);
        machine.ip("link set lan0 up");
        live.catch_up().await;
        assert_eq!(keep(&live.network, &wanted).await.unwrap(), NONE);
        assert_eq!(ours(&machine), there);
        live.catch_up().await;

        // Deleted and made again, under another number and at first without an address.
        machine.ip("link del lan0\nlink add lan0 type veth peer name lan0p\nlink set lan0 up");
        live.catch_up().await;
        let warnings = keep(&live.network, &wanted).await.unwrap();
        assert!(warnings[0].contains("cannot add the static route 10.128.0.0/9 via 10.0.0.9"));
        machine.ip("addr add 10.0.0.1/24 dev lan0");
        live.catch_up().await;
        assert_eq!(keep(&live.network, &wanted).await.unwrap(), NONE);
        assert_eq!(ours(&machine), there);
    });
}
