//! The first packet of all, when nobody's link-layer address is known.
use std::time::Duration;

use nat_tests::lab::{
    Offloads, Sniffer,
    process::ip,
    topology::{CLIENT, EXTERNAL, SERVER},
    traffic::{Ping, UdpClient, UdpEcho},
};

use crate::gateway::{ANY, Gateway, INTERNET, LIMIT, WITHOUT_OFFLOADS, at};

/// XDP leaves such packets to the stack, which resolves the address and sends them through TC:
/// translated once, by whichever hook.
#[test]
fn unresolved_neighbours_cost_no_packet_and_no_leak() {
    for hook in WITHOUT_OFFLOADS {
        let gateway = Gateway::new(Offloads::Off);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, INTERNET);
        let sniffer = Sniffer::start(&lab.server, "s0");
        let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
        for round in 0..3 {
            lab.flush_neighbours();
            let client = UdpClient::bind(&lab.client, ANY);
            assert!(client.ask(echo.address(), b"first", 1, LIMIT), "{hook}, round {round}");
            assert_eq!(Ping::new(&lab.client, SERVER, 0).run(2, LIMIT).received, 2);
        }
        assert!(echo.peers().iter().all(|peer| peer.ip() == EXTERNAL), "{hook}");
        assert_eq!(sniffer.stop().private_sources(), [], "{hook}");
        let verdicts = gateway.verdicts();
        let lost = |name: &str| verdicts.get(name).copied().unwrap_or(0);
        assert_eq!(lost("contended") + lost("rewrite_failed"), 0, "{hook}: {verdicts:?}");
    }
}

/// The kernel does not know that XDP sends to a neighbour, and would not look whether it is still there.
#[test]
fn a_host_that_comes_back_without_a_word_is_found() {
    const NEW: &str = "02:99:00:00:00:08";
    let gateway = Gateway::new(Offloads::Off);
    let lab = &gateway.lab;
    for (setting, value) in [("delay_first_probe_time", "1"), ("retrans_time_ms", "100")] {
        lab.gateway.sysctl(&format!("net/ipv4/neigh/wan0/{setting}"), value);
    }
    let _controller = gateway.start("xdp", INTERNET);
    let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
    let client = UdpClient::bind(&lab.client, ANY);
    for payload in [b"first", b"again"] {
        assert!(client.ask(echo.address(), payload, 3, LIMIT));
    }
    ip(&lab.server, &format!("link set s0 address {NEW}\n"));
    // Whose last answer was too long ago: the kernel asks it when it next sends to it itself.
    ip(&lab.gateway, &format!("neigh change {SERVER} dev wan0 nud stale\n"));
    assert!(client.ask(echo.address(), b"found", 300, Duration::from_millis(100)));
    assert_eq!(gateway.sessions().len(), 1, "all by one session");
}

/// XDP keeps the ways of sessions: the controller hears that one is another now, long before XDP would ask
/// again by itself.
#[test]
fn a_host_with_another_hardware_address_is_found_at_once() {
    const NEW: &str = "02:99:00:00:00:07";
    for hook in WITHOUT_OFFLOADS {
        let gateway = Gateway::new(Offloads::Off);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, INTERNET);
        let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
        let client = UdpClient::bind(&lab.client, ANY);
        for payload in [b"first", b"again"] {
            assert!(client.ask(echo.address(), payload, 3, LIMIT), "{hook}");
        }
        for (host, device, address, link) in
            [(&lab.server, "s0", SERVER, "wan0"), (&lab.client, "c0", CLIENT, "lan0")]
        {
            ip(host, &format!("link set {device} address {NEW}\n"));
            let learnt = format!("neigh replace {address} dev {link} lladdr {NEW} nud permanent\n");
            ip(&lab.gateway, &learnt);
            let second = (20, Duration::from_millis(50));
            let found = client.ask(echo.address(), device.as_bytes(), second.0, second.1);
            assert!(found, "{hook}: {device}");
        }
        assert_eq!(gateway.sessions().len(), 1, "{hook}: all by one session");
    }
}
