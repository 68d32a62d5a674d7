//! Real hosts that reach each other behind the gateway's external addresses.
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    thread,
    time::Duration,
};

use nat_tests::lab::{
    Lab, NetNs, Sniffer,
    process::ip,
    topology::{CLIENT, CLIENT2, EXTERNAL},
    traffic::{UdpClient, tcp_connect},
};

use crate::gateway::{Gateway, LIMIT, VARIANTS, at};

const EXTERNAL2: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// Another host behind the first client's interface.
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 4);

/// Each of the two has an external endpoint that the other can know.
fn rules(other: Ipv4Addr) -> String {
    let rule = |name: &str, from: Ipv4Addr, external: Ipv4Addr, port: u16| {
        format!(
            "[[rules]]\nname = \"{name}\"\nfrom = [\"{from}\"]\nto = [\"external\"]\n\
             action = \"snat\"\nsource = {{ addresses = [\"{external}\"] }}\n\
             ports = \"{port}-{port}\"\n"
        )
    };
    rule("a", CLIENT, EXTERNAL, 4000) + &rule("b", other, EXTERNAL2, 5000)
}

/// Both clients behind one interface, and behind two; with every hook.
fn each(test: impl Fn(&Gateway, &NetNs, Ipv4Addr, &str)) {
    for (hook, offloads) in VARIANTS {
        for two in [true, false] {
            let gateway = Gateway::with_two_clients(offloads);
            let lab: &Lab = &gateway.lab;
            ip(&lab.gateway, &format!("addr add {EXTERNAL2}/24 dev wan0\n"));
            ip(&lab.client, &format!("addr add {NEIGHBOUR}/24 dev c0\n"));
            let (other, address) =
                if two { (lab.client2(), CLIENT2) } else { (&lab.client, NEIGHBOUR) };
            let _controller = gateway.start(hook, rules(address));
            test(&gateway, other, address, &format!("{hook} {offloads:?}, two interfaces: {two}"));
        }
    }
}

const A_OUTSIDE: SocketAddrV4 = SocketAddrV4::new(EXTERNAL, 4000);
const B_OUTSIDE: SocketAddrV4 = SocketAddrV4::new(EXTERNAL2, 5000);

#[test]
fn rfc4787_req9_two_clients_exchange_datagrams_and_see_external_sources() {
    each(|gateway, other, address, what| {
        let a = UdpClient::bind(&gateway.lab.client, at(CLIENT, 1111));
        let b = UdpClient::bind(other, at(address, 2222));
        let wan = Sniffer::start(&gateway.lab.server, "s0");
        a.send(B_OUTSIDE, b"nobody yet").unwrap();
        assert_eq!(b.receive(Duration::from_millis(100)), None, "{what}");
        let large = [7; 1400];
        for _ in 0..3 {
            b.send(A_OUTSIDE, &large).unwrap();
            assert_eq!(a.receive(LIMIT), Some((large.to_vec(), B_OUTSIDE.into())), "{what}");
            a.send(B_OUTSIDE, b"to b").unwrap();
            assert_eq!(b.receive(LIMIT), Some((b"to b".to_vec(), A_OUTSIDE.into())), "{what}");
        }
        let ours = |frame: &nat_tests::lab::Frame| frame.bytes.get(12..14) == Some(&[8, 0]);
        assert_eq!(wan.stop().frames.iter().filter(|one| ours(one)).count(), 0, "{what}");
    });
}

/// The other one's port is closed.
#[test]
fn rfc5508_req7_a_closed_port_behind_the_gateway_is_refused_at_once() {
    each(|gateway, other, address, what| {
        other.sysctl("net/ipv4/icmp_ratelimit", "0");
        let a = UdpClient::bind(&gateway.lab.client, at(CLIENT, 1111));
        let b = UdpClient::bind(other, at(address, 2222));
        a.send(B_OUTSIDE, b"nobody yet").unwrap();
        b.send(A_OUTSIDE, b"hello").unwrap();
        assert!(a.receive(LIMIT).is_some(), "{what}");
        drop(b);
        assert_eq!(a.refused(B_OUTSIDE, LIMIT), Some(ErrorKind::ConnectionRefused), "{what}");
    });
}

/// Both connect at the same time, as peers do that have been told of each other.
#[test]
fn rfc5382_req8_two_clients_open_a_connection_and_see_external_sources() {
    each(|gateway, other, address, what| {
        let (mut a, mut b) = thread::scope(|scope| {
            let connect = |host, from: Ipv4Addr, port, to| {
                move || -> TcpStream {
                    tcp_connect(host, Some(at(from, port)), to, Duration::from_secs(10)).unwrap()
                }
            };
            let a = scope.spawn(connect(&gateway.lab.client, CLIENT, 1111, B_OUTSIDE));
            let b = scope.spawn(connect(other, address, 2222, A_OUTSIDE));
            (a.join().unwrap(), b.join().unwrap())
        });
        assert_eq!(a.peer_addr().unwrap(), B_OUTSIDE.into(), "{what}");
        assert_eq!(b.peer_addr().unwrap(), A_OUTSIDE.into(), "{what}");
        // Several segments' worth, as super-frames where the offloads are on.
        let bytes: Vec<u8> = (0..40_000_u32).map(|n| n as u8).collect();
        for _ in 0..3 {
            let mut read = vec![0; bytes.len()];
            a.write_all(&bytes).unwrap();
            b.read_exact(&mut read).unwrap();
            assert!(read == bytes, "{what}");
            b.write_all(&bytes).unwrap();
            a.read_exact(&mut read).unwrap();
            assert!(read == bytes, "{what}");
        }
        let sessions = gateway.sessions();
        assert_eq!(sessions.len(), 2, "{what}: {sessions:?}");
        assert!(sessions.iter().all(|one| one["state"] == "established"), "{what}: {sessions:?}");
    });
}

/// What is no client's is the gateway's, as ever.
#[test]
fn services_of_the_gateway_on_external_addresses_stay_within_reach_from_inside() {
    each(|gateway, _, _, what| {
        let service = gateway.lab.gateway.enter(|| std::net::TcpListener::bind(A_OUTSIDE).unwrap());
        let mut client = tcp_connect(&gateway.lab.client, None, A_OUTSIDE, LIMIT).unwrap();
        let (mut accepted, peer) = service.accept().unwrap();
        assert_eq!(peer.ip(), CLIENT, "{what}: not translated");
        client.write_all(b"hello").unwrap();
        accepted.read_exact(&mut [0; 5]).unwrap();
        let refused = tcp_connect(&gateway.lab.client, None, at(EXTERNAL, 99), LIMIT).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{what}");
        assert!(gateway.sessions().is_empty(), "{what}");
    });
}
