//! Packets from outside for ports that translation uses, and that belong to nobody.
use std::{
    net::{SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    sync::Arc,
};

use nat_common::{stats::Hook, verdict::Verdict};
use nat_tests::lab::{Lab, topology::EXTERNAL};

use super::{
    bench::{Bench, EXTERNAL2, INTERNET, laboratory},
    frames::{self, ACK, CLIENT, GATEWAY, RST, SERVER, SYN},
    lifetime::life,
};

const PORTS: &str = "ports = \"2000-3000\"\n";

/// With both external addresses, and the laboratory around it.
fn in_a_lab(rules: &str) -> (Bench, Arc<Lab>) {
    let lab = Arc::new(laboratory().external([EXTERNAL2]).build());
    let mut bench = Bench::in_lab(Arc::clone(&lab), 64);
    bench.apply(rules);
    (bench, lab)
}

fn arrives(bench: &Bench, frame: &[u8]) -> Verdict {
    let seen = bench.send(Hook::TcIngress, frame);
    assert_eq!(seen.frame, frame);
    // XDP leaves it to TC, as everything without a session.
    assert_eq!(bench.send(Hook::XdpOutside, frame).verdict, Verdict::LeftUntouched);
    seen.verdict
}

fn tcp(port: u16, flags: u8) -> Vec<u8> {
    frames::tcp((SERVER, 80), (GATEWAY, port), flags, b"")
}

fn udp(port: u16) -> Vec<u8> {
    frames::udp((SERVER, 80), (GATEWAY, port), b"x")
}

#[test]
fn rfc5382_req4a_ports_of_translation_are_silent_and_others_are_the_stacks() {
    let (bench, _) = in_a_lab(&format!("{INTERNET}{PORTS}"));
    for port in [2000, 2500, 3000] {
        for flags in [SYN, ACK, SYN | ACK, RST, 0] {
            assert_eq!(arrives(&bench, &tcp(port, flags)), Verdict::NoMapping);
        }
        assert_eq!(arrives(&bench, &udp(port)), Verdict::NoMapping);
    }
    for port in [1, 22, 1999, 3001, 65535] {
        assert_eq!(arrives(&bench, &tcp(port, SYN)), Verdict::NoSession);
        assert_eq!(arrives(&bench, &udp(port)), Verdict::NoSession);
    }
    // An address of the gateway that no rule uses, and what has no ports.
    let elsewhere = frames::tcp((SERVER, 80), (EXTERNAL2, 2500), SYN, b"");
    assert_eq!(arrives(&bench, &elsewhere), Verdict::NoSession);
    let ping = frames::echo(true, SERVER, GATEWAY, 2500);
    assert_eq!(arrives(&bench, &ping), Verdict::NoSession);
}

#[test]
fn rules_together_decide_which_ports_are_silent() {
    let second = INTERNET.replace("internet", "second").replace("203.0.113.1", "203.0.113.2");
    let third = INTERNET.replace("internet", "third");
    let rules = format!(
        "{INTERNET}protocols = [\"tcp\"]\n{PORTS}{second}ports = \"5000-5001\"\n\
         {third}ports = \"4000-4001\"\n"
    );
    let (mut bench, _) = in_a_lab(&rules);
    assert_eq!(arrives(&bench, &tcp(2500, SYN)), Verdict::NoMapping);
    assert_eq!(arrives(&bench, &udp(2500)), Verdict::NoSession, "no rule for UDP uses it");
    assert_eq!(arrives(&bench, &udp(4001)), Verdict::NoMapping);
    assert_eq!(arrives(&bench, &udp(5001)), Verdict::NoSession, "that is the other address's");
    let other = frames::udp((SERVER, 80), (EXTERNAL2, 5001), b"x");
    assert_eq!(arrives(&bench, &other), Verdict::NoMapping);
    bench.apply("");
    assert_eq!(arrives(&bench, &tcp(2500, SYN)), Verdict::NoSession, "no rule is in force");
}

/// A server that sends on while its session has ended here must not be told so by a RST.
#[test]
fn late_segments_of_an_ended_flow_are_dropped() {
    let mut bench = Bench::new(INTERNET);
    let syn = frames::tcp((CLIENT, 5000), (SERVER, 80), SYN, b"");
    let external = frames::read(&bench.send(Hook::TcEgress, &syn).frame).source.1;
    bench.advance(life(240));
    assert_eq!(arrives(&bench, &tcp(external, SYN | ACK)), Verdict::NoMapping);
    assert_eq!(bench.sweep(), 1);
    assert_eq!(arrives(&bench, &tcp(external, ACK)), Verdict::NoMapping);
}

#[test]
fn the_gateways_own_sockets_get_their_packets() {
    let (bench, lab) = in_a_lab(&format!("{INTERNET}{PORTS}"));
    let any = SocketAddrV4::new([0; 4].into(), 2200);
    let own = SocketAddrV4::new(EXTERNAL, 2201);
    let sockets = lab.gateway.enter(|| {
        let listen = [any, own].map(|address| TcpListener::bind(address).unwrap());
        let datagrams = [any, own].map(|address| UdpSocket::bind(address).unwrap());
        // Both families: what is bound to [::] takes IPv4, too.
        (listen, datagrams, TcpListener::bind("[::]:2202").unwrap())
    });
    for port in [2200, 2201] {
        assert_eq!(arrives(&bench, &tcp(port, SYN)), Verdict::NoSession);
        assert_eq!(arrives(&bench, &udp(port)), Verdict::NoSession);
    }
    assert_eq!(arrives(&bench, &tcp(2202, SYN)), Verdict::NoSession);
    assert_eq!(arrives(&bench, &udp(2202)), Verdict::NoMapping);
    drop(sockets);
    assert_eq!(arrives(&bench, &tcp(2200, SYN)), Verdict::NoMapping);
    assert_eq!(arrives(&bench, &udp(2201)), Verdict::NoMapping);
}

/// A connection of the gateway's own has its port while it lives, toward its server only.
#[test]
fn the_gateways_own_connections_get_their_answers() {
    let (bench, lab) = in_a_lab(&format!("{INTERNET}{PORTS}"));
    lab.gateway.sysctl("net/ipv4/ip_local_port_range", "2000 2999");
    let listener = lab.server.enter(|| TcpListener::bind((SERVER, 80)).unwrap());
    let stream = lab.gateway.enter(|| TcpStream::connect((SERVER, 80)).unwrap());
    let port = stream.local_addr().unwrap().port();
    assert_eq!(arrives(&bench, &tcp(port, ACK)), Verdict::NoSession);
    let from_elsewhere = frames::tcp((SERVER, 81), (GATEWAY, port), ACK, b"");
    assert_eq!(arrives(&bench, &from_elsewhere), Verdict::NoMapping);
    drop((stream, listener));
}
