//! Services and connections of the gateway itself, on the addresses that clients hide behind.
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use nat_tests::lab::{
    topology::{EXTERNAL, SERVER},
    traffic::{Ping, UdpClient, UdpEcho, tcp_connect},
};

use crate::gateway::{Gateway, INTERNET, LIMIT, VARIANTS, at};

/// The usual rule, and one that covers all that the gateway itself sends.
fn rules() -> String {
    let own = INTERNET.replace("internet", "own").replace("10.77.0.0/24", "local-host");
    format!("{INTERNET}{own}")
}

/// As an outside host finds it: the answers come from where the questions went.
#[test]
fn ps1_services_of_the_gateway_answer_under_rules_for_local_host() {
    for (hook, offloads) in VARIANTS {
        let gateway = Gateway::new(offloads);
        let lab = &gateway.lab;
        lab.gateway.sysctl("net/ipv4/icmp_ratelimit", "0");
        let _controller = gateway.start(hook, rules());
        // Within the ports of translation, and below them.
        for port in [8080, 80] {
            let service = lab.gateway.enter(|| TcpListener::bind((EXTERNAL, port)).unwrap());
            let mut client = tcp_connect(&lab.server, None, at(EXTERNAL, port), LIMIT).unwrap();
            let (mut accepted, _) = service.accept().unwrap();
            client.write_all(b"question").unwrap();
            accepted.read_exact(&mut [0; 8]).unwrap();
            accepted.write_all(b"answer").unwrap();
            client.read_exact(&mut [0; 6]).unwrap();
        }
        let dns = UdpEcho::start(&lab.gateway, at(EXTERNAL, 53));
        let client = UdpClient::bind(&lab.server, at(SERVER, 0));
        assert!(client.ask(dns.address(), b"question", 3, LIMIT), "{hook}");
        assert!(Ping::new(&lab.server, EXTERNAL, 7).once(56, LIMIT), "{hook}");
        let refused = tcp_connect(&lab.server, None, at(EXTERNAL, 99), LIMIT).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{hook}");
        let closed = UdpClient::bind(&lab.server, at(SERVER, 0));
        closed.socket().connect(at(EXTERNAL, 99)).unwrap();
        closed.socket().send(b"anybody?").unwrap();
        let start = Instant::now();
        let error = loop {
            match closed.socket().recv(&mut [0; 64]) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => break error,
                _ => assert!(start.elapsed() < LIMIT, "{hook}: no ICMP error"),
            }
            thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{hook}");
        assert!(gateway.sessions().is_empty(), "{hook}: {:?}", gateway.sessions());

        let listener = lab.server.enter(|| TcpListener::bind((SERVER, 81)).unwrap());
        let mut own = tcp_connect(&lab.gateway, None, at(SERVER, 81), LIMIT).unwrap();
        let (mut peer, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), EXTERNAL);
        own.write_all(b"question").unwrap();
        peer.read_exact(&mut [0; 8]).unwrap();
        peer.write_all(b"answer").unwrap();
        own.read_exact(&mut [0; 6]).unwrap();
        assert_eq!(gateway.sessions().len(), 1, "{hook}: translated, as the rule says");
    }
}
