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
