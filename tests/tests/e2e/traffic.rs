//! TCP, UDP and ping through the gateway, on every hook.
use std::net::SocketAddr;

use nat_tests::lab::{
    Offloads, Sniffer,
    topology::{CLIENT, CLIENT2, EXTERNAL, SERVER, SERVER2},
    traffic::{HttpServer, Ping, UdpClient, UdpEcho, download},
};
use serde_json::{Value, json};

use crate::gateway::{ANY, Gateway, INTERNET, LIMIT, VARIANTS, at};

/// The documented fields of a session (design of `sessions list -j`), of the types documented.
fn assert_documented(session: &Value) {
    let fields: Vec<_> = session.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "proto",
        "state",
        "inside",
        "outside",
        "remote",
        "rule",
        "age_s",
        "expires_s",
        "packets",
        "bytes",
        "mapping",
        "filtering",
    ];
    expected.sort_unstable();
    let mut sorted = fields;
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(session["filtering"], "address-and-port-dependent");
    for endpoint in ["inside", "outside", "remote"] {
        assert!(session[endpoint]["addr"].is_string() && session[endpoint]["port"].is_u64());
    }
    for counter in ["packets", "bytes"] {
        assert!(session[counter]["out"].is_u64() && session[counter]["in"].is_u64());
    }
    assert!(session["age_s"].is_u64() && session["expires_s"].is_u64());
}

#[test]
fn tcp_udp_and_ping_pass_and_the_server_sees_the_external_address() {
    for (hook, offloads) in VARIANTS.into_iter().chain([("tc", Offloads::Verified)]) {
        let gateway = Gateway::new(offloads);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, INTERNET);
        let sniffer = Sniffer::start(&lab.server, "s0");
        let inside = Sniffer::start(&lab.client, "c0");

        let http = HttpServer::start(&lab.server, at(SERVER, 80), 3_000_000);
        let file = download(&lab.client, None, http.address(), LIMIT).unwrap();
        assert_eq!(file.sha256, http.sha256(), "{hook}");

        let echo = UdpEcho::start(&lab.server, at(SERVER2, 7));
        let client = UdpClient::bind(&lab.client, ANY);
        assert!(client.ask(echo.address(), b"hello", 3, LIMIT), "{hook}");
        assert!(client.ask(echo.address(), &[7; 1400], 3, LIMIT), "{hook}");

        let mut ping = Ping::new(&lab.client, SERVER, 4711);
        let report = ping.run(3, LIMIT);
        assert_eq!((report.sent, report.received), (3, 3), "{hook}");

        let peers = http.peers().into_iter().chain(echo.peers());
        assert!(peers.map(|peer| peer.ip()).all(|address| address == EXTERNAL), "{hook}");

        let sessions = gateway.sessions();
        sessions.iter().for_each(assert_documented);
        let find = |proto: &str| {
            let mut found = sessions.iter().filter(|session| session["proto"] == proto);
            let session = found.next().unwrap_or_else(|| panic!("{hook}: no {proto} session"));
            assert!(found.next().is_none(), "{hook}: {sessions:#?}");
            session
        };
        let tcp = find("tcp");
        assert_eq!(tcp["state"], "closing", "{hook}: both sides have closed");
        assert_eq!(tcp["inside"]["addr"], CLIENT.to_string());
        assert_eq!(tcp["inside"]["port"], file.local.port());
        let SocketAddr::V4(peer) = http.peers()[0] else { panic!("IPv4 only") };
        assert_eq!(tcp["outside"], json!({"addr": EXTERNAL, "port": peer.port()}));
        assert_eq!(tcp["remote"], json!({"addr": SERVER, "port": 80}));
        assert!(tcp["bytes"]["in"].as_u64().unwrap() > 3_000_000);
        let udp = find("udp");
        assert_eq!((&udp["state"], &udp["rule"]), (&json!("established"), &json!("internet")));
        assert_eq!(udp["packets"], json!({"out": 2, "in": 2}));
        let icmp = find("icmp");
        assert_eq!(icmp["inside"]["port"], 4711);
        assert_eq!(icmp["packets"], json!({"out": 3, "in": 3}));
        assert_eq!(gateway.nat.json(&["sessions", "count"])["count"], 3);
        assert_eq!(gateway.nat.json(&["sessions", "count", "--proto", "udp"])["count"], 1);

        let (outside, inside) = (sniffer.stop(), inside.stop());
        assert_eq!(outside.private_sources(), [], "{hook}");
        if offloads != Offloads::On {
            // 3 MB are over 2000 full packets; those of the gateway come in here.
            assert!(outside.checksums().assert_correct() > 2000, "{hook}");
            assert!(inside.checksums().assert_correct() > 2000, "{hook}");
        } else {
            // Otherwise this is not the case that it claims to be.
            assert!(outside.frames.iter().any(|frame| frame.bytes.len() > 1514), "{hook}");
        }
        let verdicts = gateway.verdicts();
        let final_names = ["translated_out", "translated_in", "not_ipv4"];
        for name in verdicts.keys().filter(|name| !name.starts_with("left_")) {
            assert!(final_names.contains(&name.as_str()), "{hook}: {verdicts:?}");
        }
        if hook == "xdp" {
            assert!(!xdp_left_alone(&gateway), "{hook}: {verdicts:?}");
        }
        gateway.nat.detach();
    }
}

/// Whether XDP passed on what it should have translated: neighbours were known.
fn xdp_left_alone(gateway: &Gateway) -> bool {
    let stats = gateway.nat.json(&["stats"]);
    let by_tc = |count: &&Value| {
        let hook = count["hook"].as_str().unwrap();
        hook.starts_with("tc_") && count["fate"] == "translated"
    };
    let verdicts = stats["verdicts"].as_array().unwrap();
    let packets: u64 =
        verdicts.iter().filter(by_tc).map(|count| count["packets"].as_u64().unwrap()).sum();
    // The first packets may have to wait for ARP.
    packets > 10
}

/// Two clients that use the same port toward the same server get different external ports, and
/// each gets its own answers.
#[test]
fn clients_with_the_same_port_are_kept_apart() {
    for (hook, offloads) in VARIANTS {
        let gateway = Gateway::with_two_clients(offloads);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, INTERNET);
        let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
        let one = UdpClient::bind(&lab.client, at(CLIENT, 5000));
        let two = UdpClient::bind(lab.client2(), at(CLIENT2, 5000));
        for (client, text) in [(&one, b"one"), (&two, b"two"), (&one, b"ONE")] {
            assert!(client.ask(echo.address(), text, 3, LIMIT), "{hook}");
        }
        let mut ports: Vec<_> = echo.peers().iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 2, "{hook}");

        let mut pings = [Ping::new(&lab.client, SERVER, 99), Ping::new(lab.client2(), SERVER, 99)];
        assert!(pings.iter_mut().all(|ping| ping.run(2, LIMIT).received == 2), "{hook}");
    }
}

#[test]
fn the_quick_form_needs_no_file() {
    let gateway = Gateway::new(Offloads::On);
    let lab = &gateway.lab;
    let _controller =
        gateway.nat.start_with(&["run", "--inside", "lan0", "--outside", "wan0", "--hook", "tc"]);
    let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
    let client = UdpClient::bind(&lab.client, ANY);
    assert!(client.ask(echo.address(), b"hello", 3, LIMIT));
    assert_eq!(echo.peers()[0].ip(), EXTERNAL);
    assert_eq!(gateway.sessions()[0]["rule"], "default");
}
