//! Two clients on two CPUs open flows to one server through one address and too few ports for
//! comfort.
use std::{collections::HashMap, net::Ipv4Addr};

use super::{
    bench::{BOTH, Hooks},
    cpus,
    frames::{self, GATEWAY, SERVER},
    gateway::{CLIENTS, Gateway},
    lifetime::{LATE, life},
    runs,
};

/// Each client's.
const FLOWS: u16 = 10_000;
/// 25,000 of them: four in five will be taken.
const PORTS: &str = "10000-34999";
const SERVER_PORT: u16 = 3478;

#[test]
fn no_tuple_is_shared_and_every_reply_returns_to_its_owner() {
    for run in 0..runs() {
        for hooks in BOTH {
            let rule = format!("ports = \"{PORTS}\"\nmapping = \"address-and-port-dependent\"\n");
            let mut gateway = Gateway::with_rule(&rule, 65_536);
            let first = round(&gateway, hooks, 1);
            assert_eq!(gateway.check_pairs(), 2 * usize::from(FLOWS));

            // All those sessions end, nobody sweeps, and other flows want their ports.
            gateway.bench.advance(life(300) + LATE);
            let second = round(&gateway, hooks, 1 + FLOWS);
            gateway.check_pairs();
            let reused = second.keys().filter(|port| first.contains_key(port)).count();
            let ended = gateway.bench.sweep();
            assert_eq!(gateway.check_pairs(), 2 * usize::from(FLOWS), "only the second round");
            println!("{run} {hooks:?}: {reused} ports taken over, {ended} sessions swept");
            assert!(reused > 0, "the second round met nothing of the first");
        }
    }
}

/// Opens both clients' flows from these ports on, at once, then has each CPU answer the flows that
/// the other one has opened. Returns the owners of the external ports.
fn round(gateway: &Gateway, hooks: Hooks, first: u16) -> HashMap<u16, (Ipv4Addr, u16)> {
    let opened = cpus::both(gateway.namespaces(), |which| {
        let client = CLIENTS[which];
        let flow = |port| frames::udp((client, port), (SERVER, SERVER_PORT), b"question");
        let frames: Vec<_> = (first..first + FLOWS).map(|port| (port, flow(port))).collect();
        let external = |frame: &Vec<u8>| gateway.open(hooks.out, frame).source.1;
        frames.iter().map(|(port, frame)| (external(frame), (client, *port))).collect::<Vec<_>>()
    });
    let mut owners = HashMap::new();
    for (external, owner) in opened.iter().flatten() {
        let other = owners.insert(*external, *owner);
        assert_eq!(other, None, "port {external} was given to {owner:?} as well");
    }
    cpus::both(gateway.namespaces(), |which| {
        for &(external, owner) in &opened[1 - which] {
            let answer = frames::udp((SERVER, SERVER_PORT), (GATEWAY, external), b"answer");
            let arrived = gateway.send_in(hooks.inbound, &answer);
            let to = arrived.map(|view| view.destination);
            assert_eq!(to, Some(owner), "an answer to port {external}");
        }
    });
    owners
}
