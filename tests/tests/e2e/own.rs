//! Services and connections of the gateway itself, on the addresses that clients hide behind.
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpListener,
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
        let told = closed.refused(at(EXTERNAL, 99), LIMIT);
        assert_eq!(told, Some(ErrorKind::ConnectionRefused), "{hook}");
        assert!(gateway.sessions().is_empty(), "{hook}: {:?}", gateway.sessions());
        // A UDP answer from within the ports makes a session, which keeps the port.
        let service = UdpEcho::start(&lab.gateway, at(EXTERNAL, 5353));
        let client = UdpClient::bind(&lab.server, at(SERVER, 0));
        for _ in 0..2 {
            assert!(client.ask(service.address(), b"question", 3, LIMIT), "{hook}");
        }
        assert_eq!(gateway.sessions().len(), 1, "{hook}");

        let listener = lab.server.enter(|| TcpListener::bind((SERVER, 81)).unwrap());
        let mut own = tcp_connect(&lab.gateway, None, at(SERVER, 81), LIMIT).unwrap();
        let (mut peer, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), EXTERNAL);
        own.write_all(b"question").unwrap();
        peer.read_exact(&mut [0; 8]).unwrap();
        peer.write_all(b"answer").unwrap();
        own.read_exact(&mut [0; 6]).unwrap();
        assert_eq!(gateway.sessions().len(), 2, "{hook}: translated, as the rule says");
        assert_eq!(from.port(), own.local_addr().unwrap().port(), "{hook}: nobody has its port");
    }
}

/// Without a rule for the gateway: where a client has the endpoint of one of its connections, the
/// connection gets another one, and both work.
#[test]
fn own_connections_claim_their_endpoints_and_give_way_to_clients() {
    for (hook, offloads) in VARIANTS {
        let gateway = Gateway::new(offloads);
        let lab = &gateway.lab;
        let rule = format!("{INTERNET}ports = \"2000-2001\"\nprotocols = [\"tcp\"]\n");
        let _controller = gateway.start(hook, rule);
        let listener = lab.server.enter(|| TcpListener::bind((SERVER, 81)).unwrap());
        let mut client = tcp_connect(&lab.client, None, at(SERVER, 81), LIMIT).unwrap();
        let (mut accepted, taken) = listener.accept().unwrap();
        let taken = taken.port();
        let mut own =
            tcp_connect(&lab.gateway, Some(at(EXTERNAL, taken)), at(SERVER, 81), LIMIT).unwrap();
        let (mut peer, from) = listener.accept().unwrap();
        assert_eq!(from, at(EXTERNAL, taken ^ 1).into(), "{hook}");
        for (one, other) in [(&mut client, &mut accepted), (&mut own, &mut peer)] {
            one.write_all(b"question").unwrap();
            other.read_exact(&mut [0; 8]).unwrap();
            other.write_all(b"answer").unwrap();
            one.read_exact(&mut [0; 6]).unwrap();
        }
        let refused = tcp_connect(&lab.client, None, at(SERVER, 81), LIMIT);
        assert!(refused.is_err(), "{hook}: the gateway has the last port");
    }
}
