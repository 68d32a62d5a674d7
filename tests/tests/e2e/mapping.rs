//! Mappings beyond a controller's life, and beyond the data path's.
use std::{net::SocketAddr, time::Duration};

use nat_tests::lab::{
    Offloads,
    topology::{CLIENT, EXTERNAL, SERVER},
    traffic::{UdpClient, UdpEcho},
};

use crate::gateway::{Gateway, INTERNET, LIMIT, at};

/// Too short for an answer that does not come.
const AT_ONCE: Duration = Duration::from_millis(300);

/// A gateway with a single external port, and three servers behind it.
struct World {
    gateway: Gateway,
    servers: [UdpEcho; 3],
}

impl World {
    fn new() -> Self {
        let gateway = Gateway::new(Offloads::On);
        let servers = [7, 8, 9].map(|port| UdpEcho::start(&gateway.lab.server, at(SERVER, port)));
        Self { gateway, servers }
    }

    /// What a UDP port rests.
    fn rules(udp_ms: u32) -> String {
        format!("[cooldown]\nudp_ms = {udp_ms}\n{INTERNET}ports = \"4000-4000\"\n")
    }

    /// A client's socket.
    fn client(&self, port: u16) -> UdpClient {
        UdpClient::bind(&self.gateway.lab.client, at(CLIENT, port))
    }

    fn reaches(&self, client: &UdpClient, server: usize) -> bool {
        let server = &self.servers[server];
        let answered = client.ask(server.address(), b"hello", 3, LIMIT);
        let external = SocketAddr::from(at(EXTERNAL, 4000));
        assert!(server.peers().iter().all(|peer| *peer == external), "{:?}", server.peers());
        answered
    }

    /// Whether there is no port for a flow.
    fn refuses(&self, client: &UdpClient, server: usize) -> bool {
        let refusals = || self.gateway.verdicts().get("no_port").copied().unwrap_or_default();
        let before = refusals();
        let answered = client.ask(self.servers[server].address(), b"hello", 1, AT_ONCE);
        !answered && refusals() > before
    }
}

#[test]
fn rfc4787_req11_a_mapping_goes_on_through_a_crash_of_the_controller_and_a_reload() {
    let world = World::new();
    let controller = world.gateway.start("tc", World::rules(0));
    let (owner, other) = (world.client(5000), world.client(5001));
    assert!(world.reaches(&owner, 0));
    assert!(world.refuses(&other, 1), "the port is the owner's, whomever it talks to");
    controller.kill();
    assert!(world.reaches(&owner, 1) && world.refuses(&other, 2), "without a controller");
    let controller = world.gateway.start("tc", World::rules(0));
    assert!(world.reaches(&owner, 2) && world.refuses(&other, 2), "with another one");
    let file = world.gateway.config("tc", World::rules(1));
    let report = world.gateway.nat.json(&["apply", file.to_str().unwrap()]);
    assert_ne!(report["changes"], serde_json::json!([]));
    assert!(world.reaches(&owner, 0) && world.refuses(&other, 0), "reloaded");
    drop(controller);
}

/// Whoever ends the sessions ends the mapping: it has no users any more.
#[test]
fn a_flush_gives_a_mappings_port_to_whoever_comes_next() {
    for with_controller in [true, false] {
        let world = World::new();
        let controller = world.gateway.start("tc", World::rules(0));
        let (owner, other) = (world.client(5000), world.client(5001));
        assert!(world.reaches(&owner, 0) && world.reaches(&owner, 1));
        if !with_controller {
            assert!(controller.stop().success());
        }
        let flush = |remote| {
            let arguments = ["sessions", "flush", "--remote", remote, "--yes"];
            let _ = world.gateway.nat.text(&arguments);
        };
        flush(":7");
        assert!(world.refuses(&other, 0), "it has a session left");
        assert!(world.reaches(&owner, 1));
        flush(":8");
        assert!(world.reaches(&other, 0));
        assert!(world.refuses(&owner, 2));
    }
}

/// RFC 6888 REQ-8: whoever still sends to the port must not reach another client.
#[test]
fn rfc6888_req8_a_mappings_port_is_its_owners_alone_after_detach_and_attach() {
    let world = World::new();
    let controller = world.gateway.start("tc", World::rules(240_000));
    let (owner, other) = (world.client(5000), world.client(5001));
    assert!(world.reaches(&owner, 0));
    assert!(controller.stop().success());
    world.gateway.nat.detach();
    let controller = world.gateway.start("tc", World::rules(240_000));
    assert!(world.refuses(&other, 0) && world.refuses(&other, 1));
    assert!(world.refuses(&owner, 0), "its tuple rests for itself, too");
    assert!(world.reaches(&owner, 1));
    assert!(world.refuses(&other, 2));
    // What rests is passed on, and what lives joins it.
    assert!(controller.stop().success());
    world.gateway.nat.detach();
    let _controller = world.gateway.start("tc", World::rules(240_000));
    assert!(world.refuses(&other, 2));
    assert!(world.refuses(&owner, 0) && world.refuses(&owner, 1));
    assert!(world.reaches(&owner, 2));
}
