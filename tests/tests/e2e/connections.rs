//! TCP connections of real hosts: half-closed, reset, attacked, and those that are not there.
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    os::fd::AsFd as _,
};

use etherparse::PacketBuilder;
use nat_tests::lab::{
    Frame, Offloads, Sniffer,
    topology::{CLIENT, EXTERNAL, SERVER},
    traffic::{RawSender, tcp_connect},
    wait,
};
use nix::sys::socket::{setsockopt, sockopt};

use crate::gateway::{Gateway, INTERNET, LIMIT, WITHOUT_OFFLOADS, at};

/// A connection from the client through the gateway: both ends.
fn connected(gateway: &Gateway) -> (TcpStream, TcpStream) {
    let lab = &gateway.lab;
    let listener = lab.server.enter(|| TcpListener::bind((SERVER, 80)).unwrap());
    let client = tcp_connect(&lab.client, None, at(SERVER, 80), LIMIT).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), EXTERNAL);
    server.set_read_timeout(Some(LIMIT)).unwrap();
    (client, server)
}

fn exchange(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    let mut read = vec![0; bytes.len()];
    to.read_exact(&mut read).unwrap();
    assert_eq!(read, bytes);
}

/// The state of the only session, when it is this.
#[track_caller]
fn expect_state(gateway: &Gateway, state: &str) {
    let is = || gateway.sessions()[0]["state"] == state;
    let there = wait::until(LIMIT, || is().then_some(()));
    assert!(there.is_some(), "not {state}: {:?}", gateway.sessions());
}

#[test]
fn rfc5382_req2_a_half_closed_connection_carries_data() {
    for hook in WITHOUT_OFFLOADS {
        let gateway = Gateway::new(Offloads::Off);
        let _controller = gateway.start(hook, INTERNET);
        for client_first in [true, false] {
            let (client, server) = connected(&gateway);
            let (mut first, mut second) =
                if client_first { (client, server) } else { (server, client) };
            exchange(&mut first, &mut second, b"before");
            first.shutdown(Shutdown::Write).unwrap();
            assert_eq!(second.read(&mut [0]).unwrap(), 0, "{hook}: the end of the first half");
            for _ in 0..20 {
                exchange(&mut second, &mut first, &[7; 3000]);
            }
            expect_state(&gateway, "established");
            second.shutdown(Shutdown::Write).unwrap();
            assert_eq!(first.read(&mut [0]).unwrap(), 0, "{hook}: the end of the other half");
            expect_state(&gateway, "closing");
            let flushed = gateway.nat.json(&["sessions", "flush", "--all", "--yes"]);
            assert_eq!(flushed["flushed"], 1, "{hook}");
        }
    }
}

/// A host that closes at once, with data on its way or unread (RFC 1122 section 4.2.2.13).
#[test]
fn rfc7857_2_2_a_reset_of_a_real_host_is_delivered_and_closes() {
    for hook in WITHOUT_OFFLOADS {
        for by_client in [true, false] {
            let gateway = Gateway::new(Offloads::Off);
            let _controller = gateway.start(hook, INTERNET);
            let (client, server) = connected(&gateway);
            let (mut rude, mut other) = if by_client { (client, server) } else { (server, client) };
            exchange(&mut other, &mut rude, b"question");
            rude.write_all(b"answer, and gone").unwrap();
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            setsockopt(&rude.as_fd(), sockopt::Linger, &linger).unwrap();
            drop(rude);
            let mut answer = Vec::new();
            let error = other.read_to_end(&mut answer).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{hook} {by_client}");
            expect_state(&gateway, "closing");
        }
    }
}

/// A segment that the server has not sent.
fn forged(to: u16, flags: fn(&mut etherparse::TcpHeader), sequence: u32) -> Vec<u8> {
    let mut header = etherparse::TcpHeader::new(80, to, sequence, 1024);
    flags(&mut header);
    let builder = PacketBuilder::ipv4(SERVER.octets(), EXTERNAL.octets(), 64).tcp_header(header);
    let mut packet = Vec::new();
    builder.write(&mut packet, &[]).unwrap();
    packet
}

/// ReDAN (NDSS 2025): who knows the ports, but not the numbers.
#[test]
fn rfc7857_2_2_resets_of_an_off_path_attacker_end_nothing() {
    for hook in WITHOUT_OFFLOADS {
        let gateway = Gateway::new(Offloads::Off);
        let _controller = gateway.start(hook, INTERNET);
        let (mut client, mut server) = connected(&gateway);
        exchange(&mut client, &mut server, b"before");
        let port = server.peer_addr().unwrap().port();
        let attacker = RawSender::new(&gateway.lab.server, "s0", (&gateway.lab.gateway, "wan0"));
        let before = gateway.verdicts()["translated_in"];
        // Some of them hit the client's window of 64 KiB or more.
        const ATTEMPTS: u32 = 1 << 16;
        for n in 0..ATTEMPTS {
            attacker.send_ipv4(&forged(port, |header| header.rst = true, n << 16));
            if n % 64 == 0 {
                attacker.send_ipv4(&forged(port, |header| header.fin = true, n << 16 | 9));
            }
        }
        let all = u64::from(ATTEMPTS);
        let there = wait::until(LIMIT, || {
            (gateway.verdicts()["translated_in"] >= before + all / 2).then_some(())
        });
        assert!(there.is_some(), "{hook}: the attack has not arrived");
        expect_state(&gateway, "established");
        let expires = gateway.sessions()[0]["expires_s"].as_u64().unwrap();
        assert!(expires > 7300, "{hook}: {expires} s");
        exchange(&mut client, &mut server, b"after");
        exchange(&mut server, &mut client, b"after");
    }
}

/// Nobody answers for ports of translation; others are the stack's.
#[test]
fn rfc5382_req4a_an_unsolicited_syn_to_a_port_of_translation_is_not_answered() {
    for hook in WITHOUT_OFFLOADS {
        let gateway = Gateway::new(Offloads::Off);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, format!("{INTERNET}ports = \"2000-65535\"\n"));
        let wire = Sniffer::start(&lab.server, "s0");
        let sender = RawSender::new(&lab.server, "s0", (&lab.gateway, "wan0"));
        for port in [2000, 50_000, 65_535] {
            sender.send_ipv4(&forged(port, |header| header.syn = true, 1));
            sender.send_ipv4(&forged(port, |header| header.ack = true, 1));
            let udp = PacketBuilder::ipv4(SERVER.octets(), EXTERNAL.octets(), 64).udp(80, port);
            let mut packet = Vec::new();
            udp.write(&mut packet, b"x").unwrap();
            sender.send_ipv4(&packet);
        }
        // What the stack answers comes after all of them.
        let refused = tcp_connect(&lab.server, None, at(EXTERNAL, 1999), LIMIT).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(gateway.verdicts()["no_mapping"], 9, "{hook}");
        let answers: Vec<_> = wire.stop().frames;
        let from_gateway = |frame: &&Frame| frame.bytes.get(26..30) == Some(&EXTERNAL.octets());
        let answers: Vec<_> = answers.iter().filter(from_gateway).collect();
        assert_eq!(answers.len(), 1, "{hook}: only the port below is refused: {answers:?}");
    }
}

/// A service of the gateway on a port of translation, and a connection of its own.
#[test]
fn the_gateways_own_sockets_work_within_the_ports_of_translation() {
    for hook in WITHOUT_OFFLOADS {
        let gateway = Gateway::new(Offloads::Off);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, INTERNET);
        let service = lab.gateway.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)));
        let service = service.unwrap();
        let mut client = tcp_connect(&lab.server, None, at(EXTERNAL, 8080), LIMIT).unwrap();
        let (mut accepted, _) = service.accept().unwrap();
        exchange(&mut client, &mut accepted, b"hello");
        exchange(&mut accepted, &mut client, b"hello");

        let listener = lab.server.enter(|| TcpListener::bind((SERVER, 81)).unwrap());
        let mut own = tcp_connect(&lab.gateway, None, at(SERVER, 81), LIMIT).unwrap();
        let (mut peer, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), EXTERNAL);
        exchange(&mut own, &mut peer, b"hello");
        exchange(&mut peer, &mut own, b"hello");
        assert_ne!(from.ip(), CLIENT);
    }
}
