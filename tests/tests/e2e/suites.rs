//! What the suites of other NATs test end to end and no other file here has: how a pool is shared
//! out, what the log says.
use std::{collections::BTreeMap, net::Ipv4Addr};

use nat_tests::lab::{
    Lab, Offloads,
    process::ip,
    topology::{CLIENT, EXTERNAL, SERVER, SERVER2},
    traffic::{Ping, UdpClient, UdpEcho, tcp_connect},
};

use crate::gateway::{Gateway, INTERNET, LIMIT, WITHOUT_OFFLOADS, at};

/// Addresses that are neither neighbours nor in order.
const POOL: [Ipv4Addr; 3] =
    [EXTERNAL, Ipv4Addr::new(203, 0, 113, 200), Ipv4Addr::new(203, 0, 113, 77)];

/// Clients, by the last byte of their address.
const CLIENTS: std::ops::Range<u8> = 100..190;

/// A gateway with the pool, and as many clients in one namespace.
fn with_a_pool(hook: &str) -> (Gateway, nat_tests::lab::Controller) {
    let lab = Lab::builder(Offloads::Off).external([POOL[1], POOL[2]]).build();
    let clients: String = CLIENTS.map(|n| format!("addr add 10.77.0.{n}/24 dev c0\n")).collect();
    ip(&lab.client, &clients);
    let gateway = Gateway::in_lab(lab, "\"lan0\"");
    let addresses = POOL.map(|address| format!("\"{address}\"")).join(", ");
    let rule = INTERNET.replace("\"203.0.113.1\"", &addresses);
    let controller = gateway.start(hook, rule);
    (gateway, controller)
}

/// 90 clients on 3 addresses: 30 each, 4.5 the standard deviation.
#[test]
fn rfc6888_req3_a_pool_of_scattered_addresses_is_shared_out_evenly() {
    for hook in WITHOUT_OFFLOADS {
        let (gateway, _controller) = with_a_pool(hook);
        let lab = &gateway.lab;
        let echoes = [SERVER, SERVER2].map(|server| UdpEcho::start(&lab.server, at(server, 7)));
        for n in CLIENTS {
            let client = UdpClient::bind(&lab.client, at(Ipv4Addr::new(10, 77, 0, n), 5000));
            for echo in &echoes {
                assert!(client.ask(echo.address(), b"hello", 3, LIMIT), "{hook}");
            }
        }
        let mut of_client = BTreeMap::new();
        for session in gateway.sessions() {
            let [inside, outside] =
                ["inside", "outside"].map(|end| session[end]["addr"].as_str().unwrap().to_owned());
            let first = of_client.entry(inside).or_insert_with(|| outside.clone());
            assert_eq!(*first, outside, "{hook}: a client keeps its address");
        }
        let mut clients_of = BTreeMap::new();
        for address in of_client.into_values() {
            *clients_of.entry(address).or_insert(0) += 1;
        }
        assert_eq!(clients_of.len(), POOL.len(), "{hook}: {clients_of:?}");
        assert!(clients_of.values().all(|count| (12..=48).contains(count)), "{clients_of:?}");
    }
}

/// By default nothing is written about sessions, least of all where clients go.
#[test]
fn rfc6888_req12_the_log_names_no_destination() {
    let gateway = Gateway::new(Offloads::On);
    let lab = &gateway.lab;
    let controller = gateway.start("tc", INTERNET);
    let echo = UdpEcho::start(&lab.server, at(SERVER2, 7));
    assert!(UdpClient::bind(&lab.client, at(CLIENT, 5000)).ask(echo.address(), b"x", 3, LIMIT));
    assert_eq!(Ping::new(&lab.client, SERVER2, 7).run(1, LIMIT).received, 1);
    tcp_connect(&lab.client, None, at(SERVER2, 81), LIMIT).unwrap_err();
    assert_eq!(gateway.sessions().len(), 3);
    assert_eq!(gateway.nat.json(&["sessions", "flush", "--all", "--yes"])["flushed"], 3);
    let log = controller.log();
    assert!(log.contains("ready"), "{log}");
    for address in [SERVER2, CLIENT] {
        assert!(!log.contains(&address.to_string()), "{address} in:\n{log}");
    }
}
