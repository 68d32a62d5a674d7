//! Refused sessions: what the client's own sockets learn of it.
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpListener,
    time::Instant,
};

use nat_tests::lab::{
    Direction, Sniffer,
    leaks::ipv4_packet,
    topology::{CLIENT, SERVER},
    traffic::tcp_connect,
};

use crate::gateway::{Gateway, INTERNET, LIMIT, VARIANTS, at};

const UNREACHABLE_HOST: [u8; 2] = [3, 1];

/// One port toward one server: the second connection is refused at once, and by this machine's address on
/// the client's link; the first one goes on.
#[test]
fn rfc5508_req8_rfc6888_req11_a_refused_connection_fails_with_host_unreachable() {
    for (hook, offloads) in VARIANTS {
        let gateway = Gateway::new(offloads);
        let lab = &gateway.lab;
        let controller = gateway.start(hook, format!("{INTERNET}ports = \"4000-4000\"\n"));
        let server = lab.server.enter(|| TcpListener::bind(at(SERVER, 7000)).unwrap());
        let mut first = tcp_connect(&lab.client, None, at(SERVER, 7000), LIMIT).unwrap();
        let (mut served, _) = server.accept().unwrap();
        let sniffer = Sniffer::start(&lab.client, "c0");
        let started = Instant::now();
        let refused = tcp_connect(&lab.client, None, at(SERVER, 7000), LIMIT).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::HostUnreachable, "{hook}: {refused}");
        assert!(started.elapsed() < LIMIT / 2, "{hook}: {:?}", started.elapsed());

        let frames = sniffer.stop().frames;
        let errors: Vec<_> = frames
            .iter()
            .filter(|frame| frame.direction == Direction::Incoming)
            .filter_map(|frame| ipv4_packet(&frame.bytes))
            .filter(|packet| packet[9] == 1 && packet[20..22] == UNREACHABLE_HOST)
            .collect();
        let [error, ..] = errors[..] else { panic!("{hook}: no error among {}", frames.len()) };
        assert_eq!(error[12..16], [10, 77, 0, 1], "{hook}: the source");
        assert_eq!((error[16..20].to_vec(), error[1]), (CLIENT.octets().to_vec(), 0xc0), "{hook}");
        // It quotes the packet as the client has sent it.
        assert_eq!((&error[40..44], &error[44..48]), (&CLIENT.octets()[..], &SERVER.octets()[..]));

        first.write_all(b"still there").unwrap();
        let mut read = [0; 11];
        served.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"still there", "{hook}");
        assert!(controller.log().contains("no_port"), "{}", controller.log());
        assert!(gateway.verdicts()["no_port"] >= 1);
    }
}
