//! Attacks on states and tuples, as the literature has them, against the shipped defaults.
use std::{
    net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket},
    sync::Arc,
};

use nat_common::{stats::Hook, verdict::Verdict};
use nat_tests::lab::{topology::EXTERNAL, traffic::internet_checksum};

use super::{
    bench::{BOTH, Bench, EXTERNAL2, Hooks, INTERNET, laboratory},
    frames::{self, ACK, CLIENT, FIN, GATEWAY, Place, RST, SERVER, SYN},
};

/// Somebody beside the client.
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);

/// A segment of a client to the server.
fn segment(from: (Ipv4Addr, u16), flags: u8, sequence: u32, ack: u32) -> Vec<u8> {
    frames::tcp_at(from, (SERVER, 80), flags, Place::at(sequence, ack), b"")
}

/// An established connection of the client's port 5000: its external port.
fn established(bench: &Bench, hooks: Hooks) -> u16 {
    let opened = bench.send(hooks.out, &segment((CLIENT, 5000), SYN, 1000, 0));
    let external = frames::read(&opened.frame).source.1;
    let answer = Place::at(7000, 1001);
    let answer = frames::tcp_at((SERVER, 80), (GATEWAY, external), SYN | ACK, answer, b"");
    assert_eq!(bench.send(hooks.inbound, &answer).verdict, Verdict::TranslatedIn);
    bench.send(hooks.out, &segment((CLIENT, 5000), ACK, 1001, 7001));
    external
}

/// "Exploiting sequence number leakage: TCP hijacking in NAT-enabled Wi-Fi networks" (NDSS 2024): a
/// neighbour who uses the client's port toward the client's server ends the client's session, or gets
/// its tuple, where ports are preserved and anybody's segments count.
#[test]
fn ndss2024_a_neighbour_gets_nothing_of_a_clients_connection() {
    for hooks in BOTH {
        let bench = Bench::new(INTERNET);
        let external = established(&bench, hooks);
        let session = |bench: &Bench| {
            let mut sessions = bench.sessions().into_iter();
            let found = sessions.find(|one| one.inside.addr == CLIENT).unwrap();
            (found.state, found.expires_s, found.outside.port, found.packets.out)
        };
        let before = session(&bench);
        assert_eq!((before.0, before.2), ("established", external));
        for (flags, sequence) in [(RST, 1001), (FIN | ACK, 1001), (ACK, 1001), (SYN, 1), (RST, 2)] {
            let seen = bench.send(hooks.out, &segment((NEIGHBOUR, 5000), flags, sequence, 7001));
            if seen.verdict == Verdict::TranslatedOut {
                assert_ne!(frames::read(&seen.frame).source.1, external, "{flags:#x}");
            }
        }
        for port in 0..200 {
            let seen = bench.send(hooks.out, &segment((NEIGHBOUR, 6000 + port), SYN, 1, 0));
            assert_eq!(seen.verdict, Verdict::TranslatedOut);
            assert_ne!(frames::read(&seen.frame).source.1, external);
        }
        assert_eq!(session(&bench), before);
        let data = Place::at(7001, 1001);
        let data = frames::tcp_at((SERVER, 80), (GATEWAY, external), ACK, data, b"secret");
        let seen = bench.send(hooks.inbound, &data);
        assert_eq!(frames::read(&seen.frame).destination, (CLIENT, 5000));
    }
}

/// "Fragmentation needed" and others by somebody off the path, who knows addresses and ports.
#[test]
fn rfc5927_4_1_guesses_of_a_quoted_segment_are_dropped() {
    let attacker = Ipv4Addr::new(198, 51, 100, 66);
    let bench = Bench::new(INTERNET);
    let external = established(&bench, BOTH[0]);
    // 100 bytes more, which the server has room for and has not acknowledged.
    let data = Place::at(1001, 7001);
    let data = frames::tcp_at((CLIENT, 5000), (SERVER, 80), ACK, data, &[7; 100]);
    assert_eq!(bench.send(Hook::TcEgress, &data).verdict, Verdict::TranslatedOut);
    let before = bench.sessions();
    let error = |sequence: u32| {
        let quoted = Place::at(sequence, 7001);
        let quoted = frames::tcp_at((GATEWAY, external), (SERVER, 80), ACK, quoted, b"");
        let mut message = [&[3, 4, 0, 0, 0, 0, 2, 64], &quoted[14..42]].concat();
        let checksum = internet_checksum(&message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        let error = frames::other(1, attacker, GATEWAY, &message);
        bench.send(Hook::TcIngress, &error).verdict
    };
    for guess in 1..=400_u32 {
        let sequence = 1001_u32.wrapping_add(guess.wrapping_mul(10_737_418));
        assert_eq!(error(sequence), Verdict::IcmpErrorMalformed, "{sequence}");
    }
    // The server's window is 1024 bytes behind its acknowledgement.
    for sequence in [999, 1001 + 1025, 1001_u32.wrapping_sub(70_000)] {
        assert_eq!(error(sequence), Verdict::IcmpErrorMalformed, "{sequence}");
    }
    for sequence in [1000, 1001, 1100, 1101] {
        assert_eq!(error(sequence), Verdict::TranslatedIn, "{sequence}");
    }
    assert_eq!(bench.sessions(), before);
}

/// CVE-2021-3773: an inside host that makes a mapping on the port of a service of the gateway takes the
/// packets of that service's clients. The port is not given out while a socket has it.
#[test]
fn cve_2021_3773_a_port_of_a_service_of_the_gateway_is_not_given_out() {
    let lab = Arc::new(laboratory().external([EXTERNAL2]).build());
    let mut bench = Bench::in_lab(Arc::clone(&lab), 64);
    // Two ports, of which a service has one: chance would not do.
    bench.apply(&format!("{INTERNET}ports = \"8080-8081\"\n"));
    let service = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 8080);
    let sockets = lab
        .gateway
        .enter(|| (TcpListener::bind(service).unwrap(), UdpSocket::bind(service).unwrap()));
    // Each toward another endpoint of an accomplice, who then talks to the service from there.
    let mut given = [0, 0];
    for port in 1000..1016 {
        for (kind, build) in [udp, syn].into_iter().enumerate() {
            let seen = bench.send(Hook::TcEgress, &build((CLIENT, 8080), (SERVER, port)));
            if seen.verdict == Verdict::TranslatedOut {
                assert_eq!(frames::read(&seen.frame).source, (EXTERNAL, 8081), "{port}");
                given[kind] += 1;
            }
            let visit = build((SERVER, port), (EXTERNAL, 8080));
            assert_eq!(bench.send(Hook::TcIngress, &visit).verdict, Verdict::NoSession);
        }
    }
    assert!(given.iter().all(|count| *count > 0), "{given:?}");
    drop(sockets);
}

fn udp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Vec<u8> {
    frames::udp(from, to, b"x")
}

fn syn(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Vec<u8> {
    frames::tcp(from, to, SYN, b"")
}
