//! What the controller does about tuples that rest: settings that change while they do.
use std::{
    net::SocketAddrV4,
    thread::sleep,
    time::{Duration, Instant},
};

use nat_tests::lab::{
    Offloads,
    topology::SERVER,
    traffic::{HttpServer, tcp_connect},
};
use nix::sys::signal::Signal;

use crate::gateway::{Gateway, INTERNET, LIMIT, at};

/// Too short for a second SYN: the first one is refused or not.
const AT_ONCE: Duration = Duration::from_millis(500);

/// A gateway with a single external port, and servers to reach by it.
struct World {
    gateway: Gateway,
    _servers: Vec<HttpServer>,
}

impl World {
    fn new() -> Self {
        let gateway = Gateway::new(Offloads::On);
        let start = |port| HttpServer::start(&gateway.lab.server, at(SERVER, port), 1);
        let servers = [80, 81, 82].map(start).into();
        Self { gateway, _servers: servers }
    }

    fn rules(cooldown: &str) -> String {
        format!("[cooldown]\n{cooldown}\n{INTERNET}ports = \"4000-4000\"\n")
    }

    fn apply(&self, cooldown: &str) {
        let file = self.gateway.config("tc", Self::rules(cooldown));
        let report = self.gateway.nat.json(&["apply", file.to_str().unwrap()]);
        assert_ne!(report["changes"], serde_json::json!([]), "{cooldown}");
    }

    fn connects(&self, port: u16) -> bool {
        tcp_connect(&self.gateway.lab.client, None, server(port), LIMIT).is_ok()
    }

    /// Whether there is no port for a connection.
    fn refuses(&self, port: u16) -> bool {
        let refusals = || self.gateway.verdicts().get("no_port").copied().unwrap_or_default();
        let before = refusals();
        let connection = tcp_connect(&self.gateway.lab.client, None, server(port), AT_ONCE);
        connection.is_err() && refusals() > before
    }

    /// Has a connection, and ends its session at once: its tuple rests from here on.
    fn use_up(&self, port: u16) -> Instant {
        let connection = tcp_connect(&self.gateway.lab.client, None, server(port), LIMIT);
        let connection = connection.unwrap();
        let before = Instant::now();
        let _ = self.gateway.nat.text(&["sessions", "flush", "--all", "--yes"]);
        drop(connection);
        before
    }
}

fn server(port: u16) -> SocketAddrV4 {
    at(SERVER, port)
}

#[test]
fn rfc6888_req8_new_times_hold_for_what_rests_already() {
    let world = World::new();
    let _controller = world.gateway.start("tc", World::rules("time_ms = 240000"));
    world.use_up(80);
    assert!(world.refuses(80), "240 s");
    world.apply("time_ms = 1");
    assert!(world.connects(80), "240 s → 1 ms: free at once");

    // Toward another server: the port is in use toward the first one.
    world.apply("time_ms = 10000");
    let ended = world.use_up(81);
    world.apply("time_ms = 60000");
    assert!(ended.elapsed() < Duration::from_secs(10), "too slow a machine for this test");
    // Past the old time and the sweep after it.
    sleep(Duration::from_millis(12_500).saturating_sub(ended.elapsed()));
    assert!(world.refuses(81), "10 s → 60 s");
    world.apply("time_ms = 11000");
    assert!(world.connects(81), "and back to 11 s, which have passed");
}

#[test]
fn a_cooldown_that_is_switched_off_and_on_again_goes_on() {
    let world = World::new();
    let controller = world.gateway.start("tc", World::rules("time_ms = 240000"));
    world.use_up(80);
    world.apply("enabled = false");
    // Two sweeps.
    sleep(Duration::from_millis(4500));
    world.apply("enabled = true");
    assert!(world.refuses(80), "nobody has used it meanwhile");
    // The same by the signal.
    world.gateway.config("tc", World::rules("enabled = false"));
    controller.signal(Signal::SIGHUP);
    let line = "applied the configuration (SIGHUP)";
    assert!(controller.wait_line(LIMIT, |text| text.contains(line)).is_some());
    assert!(world.connects(80));
}

/// Without a controller, too.
#[test]
fn ports_that_are_to_rest_toward_everybody_do_so_although_they_ended_before() {
    for with_controller in [true, false] {
        let world = World::new();
        let controller = world.gateway.start("tc", World::rules("scope = \"destination\""));
        if !with_controller {
            assert!(controller.stop().success());
        }
        world.use_up(80);
        assert!(world.refuses(80));
        // Another destination may have the port.
        world.use_up(81);
        world.apply("scope = \"port\"");
        assert!(world.refuses(82), "with a controller: {with_controller}");
        world.apply("scope = \"destination\"");
        assert!(world.connects(82), "with a controller: {with_controller}");
        assert!(world.refuses(80), "with a controller: {with_controller}");
        assert!(world.refuses(81), "with a controller: {with_controller}");
    }
}

#[test]
fn the_room_for_what_rests_stays_as_it_is() {
    let world = World::new();
    let _controller = world.gateway.start("tc", World::rules("max_cooling = 1000"));
    let file = world.gateway.config("tc", World::rules("max_cooling = 2000\ntime_ms = 1"));
    let refused = world.gateway.nat.run(&["apply", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        refused.stderr.contains("not possible while the data path is in place"),
        "{}",
        refused.stderr
    );
    world.use_up(80);
    assert!(world.refuses(80), "nothing of it is in force");
}
