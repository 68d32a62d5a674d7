//! Addresses and routes that change under running sessions.
use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use crate::{
    gateway::{ANY, LIMIT, WITHOUT_OFFLOADS, at},
    uplink::{FAR, Uplink, rule},
};
use nat_tests::lab::{
    Offloads,
    process::ip,
    traffic::{UdpClient, UdpEcho},
    wait,
};

const STRONG: &str = "\"strong-host\"";

fn host(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

/// .14 and .68 behind .127, and .1 as another way out.
fn uplink() -> Uplink {
    let addresses = ["192.168.1.14/24", "192.168.1.68/24"];
    Uplink::new(Offloads::Off, &addresses, host(127), &[host(1)])
}

/// Sockets × servers that have each been answered once.
struct Flows {
    sockets: Vec<UdpClient>,
    servers: Vec<UdpEcho>,
}

const SOCKETS: usize = 100;
const SERVERS: u16 = 10;

impl Flows {
    fn open(uplink: &Uplink) -> Self {
        let lab = &uplink.gateway.lab;
        let servers = (0..SERVERS).map(|n| UdpEcho::start(&lab.server, at(FAR, 7000 + n)));
        let sockets = (0..SOCKETS).map(|_| UdpClient::bind(&lab.client, ANY));
        let flows = Self { sockets: sockets.collect(), servers: servers.collect() };
        assert_eq!(flows.answered(), flows.count());
        flows
    }

    fn count(&self) -> usize {
        self.sockets.len() * self.servers.len()
    }

    /// How many of them are answered now.
    fn answered(&self) -> usize {
        let ask = |socket: &UdpClient| {
            let servers = self.servers.iter();
            servers.filter(|server| socket.ask(server.address(), b"x", 1, LIMIT)).count()
        };
        self.sockets.iter().map(ask).sum()
    }

    /// Whether the servers have seen each of them under one address and port.
    fn unmoved(&self) -> bool {
        self.servers.iter().all(|server| {
            let mut seen = server.peers();
            seen.sort_unstable();
            seen.dedup();
            seen.len() == self.sockets.len()
        })
    }
}

#[test]
fn new_flows_follow_the_host_and_none_of_a_thousand_breaks() {
    for hook in WITHOUT_OFFLOADS {
        let uplink = uplink();
        let controller = uplink.start(hook, STRONG);
        let flows = Flows::open(&uplink);
        assert_eq!(flows.count(), 1000);
        let steps = [
            ("addr add 192.168.1.126/24 dev wan0", 126),
            ("route replace default via 192.168.1.1", 14),
            ("addr add 192.168.1.2/24 dev wan0", 2),
            ("addr del 192.168.1.2/24 dev wan0", 14),
            ("route replace default via 192.168.1.127", 126),
            ("addr del 192.168.1.126/24 dev wan0", 68),
        ];
        for (change, source) in steps {
            uplink.ip(&format!("{change}\n"));
            let took = uplink.follows(FAR, host(source));
            println!("{hook}: `{change}`: new flows leave from .{source} after {took:?}");
            assert_eq!(flows.answered(), flows.count(), "{hook}: `{change}`");
        }
        assert!(flows.unmoved(), "{hook}: a session has changed its external endpoint");
        let moved = |line: &str| line.contains("192.168.1.68") && line.contains("192.168.1.126");
        let warned = controller.wait_line(LIMIT, |line| line.contains("WARN") && moved(line));
        assert!(warned.is_some_and(|line| line.contains("8a")), "{}", controller.log());
    }
}

#[test]
fn a_sticky_rule_keeps_its_address_also_across_a_restart() {
    let uplink = uplink();
    let controller = uplink.start_with("tc", STRONG, "sticky = true");
    assert_eq!(uplink.seen(FAR), Some(host(68)));
    uplink.ip("addr add 192.168.1.126/24 dev wan0\n");
    // The rule table follows the new address: by then the choice has been made.
    let knows = || uplink.gateway.nat.json(&["address", "list"]).to_string().contains(".126");
    assert!(wait::until(LIMIT, || knows().then_some(())).is_some());
    assert_eq!(uplink.seen(FAR), Some(host(68)));
    drop(controller);
    let _controller = uplink.start_with("tc", STRONG, "sticky = true");
    assert_eq!(uplink.seen(FAR), Some(host(68)));
    uplink.ip("addr del 192.168.1.68/24 dev wan0\n");
    uplink.follows(FAR, host(126));
}

#[test]
fn sessions_of_an_address_that_is_gone_drain_or_end_as_configured() {
    for (configured, left) in [("drain", 1), ("end", 0)] {
        let uplink = uplink();
        let more = format!("on_address_removed = \"{configured}\"");
        let _controller = uplink.start_with("tc", STRONG, more);
        assert_eq!(uplink.seen(FAR), Some(host(68)));
        uplink.ip("addr del 192.168.1.68/24 dev wan0\n");
        uplink.follows(FAR, host(14));
        let old = || {
            let filter = ["sessions", "count", "--outside", "192.168.1.68"];
            uplink.gateway.nat.json(&filter)["count"].clone()
        };
        // Until the change was followed, more of them may have been opened.
        let done = wait::until(LIMIT, || {
            let old = old().as_u64().unwrap();
            (if left == 0 { old == 0 } else { old >= left }).then_some(())
        });
        assert!(done.is_some(), "{configured}: {}", old());
    }
}

#[test]
fn without_a_source_a_rule_drops_says_so_and_comes_back() {
    for hook in WITHOUT_OFFLOADS {
        let uplink = uplink();
        let skip = "[addresses]\nwan0 = [{ address = \"192.168.1.14\", skip_as_source = true }]";
        let _controller = uplink.start_with(hook, STRONG, skip);
        assert_eq!(uplink.seen(FAR), Some(host(68)));
        uplink.ip("addr del 192.168.1.68/24 dev wan0\n");
        let nat = &uplink.gateway.nat;
        let says = || {
            let status = nat.json(&["status"]);
            let warnings = status["warnings"].to_string();
            (warnings.contains("out of service") && warnings.contains("no-source")).then_some(())
        };
        assert!(wait::until(LIMIT, says).is_some(), "{hook}: {}", nat.json(&["status"]));
        assert!(uplink.silent(FAR), "{hook}");
        let explained = nat.run(&["-j", "explain", &FAR.to_string(), "--from", "10.77.0.2"]);
        assert_eq!(explained.status.code(), Some(3), "{hook}: {explained}");
        assert!(explained.stdout.contains("\"no-source\""), "{hook}: {explained}");

        uplink.ip("addr add 192.168.1.90/24 dev wan0\n");
        uplink.follows(FAR, host(90));
        uplink.ip("route del default\n");
        let explained = || nat.run(&["-j", "explain", &FAR.to_string(), "--from", "10.77.0.2"]);
        let no_route = || explained().stdout.contains("\"no-route\"").then_some(());
        assert!(wait::until(LIMIT, no_route).is_some(), "{hook}: {}", explained());
    }
}

/// An address that is not on the way out puts one rule out of service and no other.
#[test]
fn a_rule_out_of_service_leaves_the_others_alone() {
    let uplink = uplink();
    let near = Ipv4Addr::new(192, 168, 1, 127);
    let rules = "[[rules]]\nname = \"wrong\"\nfrom = [\"10.77.0.0/24\"]\nto = [\"192.168.1.127\"]\n\
                 action = \"snat\"\nsource = { addresses = [\"10.77.0.1\"] }\n"
        .to_owned() + &rule(STRONG, "");
    let _controller = uplink.gateway.start("tc", rules);
    assert!(uplink.silent(near));
    assert_eq!(uplink.seen(FAR), Some(host(68)));
    assert_eq!(uplink.gateway.verdicts().get("address_not_on_egress"), Some(&1));
}

/// Many changes in a short time: the kernel's announcements overrun whoever reads them late.
#[test]
fn the_choice_is_right_after_a_storm_of_changes() {
    let uplink = uplink();
    let _controller = uplink.start("tc", STRONG);
    let storm: String = (0..4000)
        .map(|n: u32| format!("route add 198.18.{}.{}/32 via 192.168.1.1\n", n / 250, n % 250))
        .collect();
    let calm: String = storm.replace("route add", "route del");
    let started = Instant::now();
    uplink.ip(&storm);
    uplink.ip(&calm);
    ip(&uplink.gateway.lab.server, "addr add 198.18.3.7/32 dev lo\n");
    uplink.ip("route add 198.18.0.0/16 via 192.168.1.1\n");
    println!("8000 route changes took {:?}", started.elapsed());
    let took = uplink.follows(Ipv4Addr::new(198, 18, 3, 7), host(14));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(uplink.seen(FAR), Some(host(68)));
}
