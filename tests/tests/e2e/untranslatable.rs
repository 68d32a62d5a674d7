//! What cannot be translated does not leave, and says why.
use std::net::Ipv4Addr;

use nat_tests::lab::{
    Offloads, Sniffer,
    leaks::ipv4_packet,
    topology::{CLIENT, SERVER},
    traffic::{Ping, RawSender, ipv4},
};

use crate::gateway::{Gateway, INTERNET, LIMIT, WITHOUT_OFFLOADS};

/// Packets a client sends raw, by the verdict that each must get.
fn cases() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let packet = |protocol, payload: &[u8]| ipv4(CLIENT, SERVER, protocol, payload);
    let fragment = |offset_and_flags: u16| {
        let mut packet = packet(17, &[0; 64]);
        packet[6..8].copy_from_slice(&offset_and_flags.to_be_bytes());
        set_checksum(&mut packet);
        packet
    };
    vec![
        ("GRE", "protocol_not_covered", packet(47, &[0; 40])),
        ("ESP", "protocol_not_covered", packet(50, &[1; 40])),
        ("SCTP", "protocol_not_covered", packet(132, &[2; 40])),
        ("UDP-Lite", "protocol_not_covered", packet(136, &[3; 40])),
        ("TCP of 19 bytes", "truncated", packet(6, &[0x50; 19])),
        ("UDP of 7 bytes", "truncated", packet(17, &[5; 7])),
        ("ICMP of 4 bytes", "truncated", packet(1, &[8, 0, 0, 0])),
        ("no transport header", "truncated", packet(17, &[])),
        ("later fragment of an unknown packet", "fragment_held", fragment(0x2010)),
        ("ICMP timestamp request", "icmp_unsupported", packet(1, &[13; 20])),
        ("TCP without SYN", "tcp_without_syn", packet(6, &tcp_ack())),
    ]
}

/// A bare ACK.
fn tcp_ack() -> [u8; 20] {
    let mut header = [0; 20];
    header[..4].copy_from_slice(&[0x13, 0x88, 0, 80]);
    (header[12], header[13]) = (0x50, 0x10);
    header
}

fn set_checksum(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let checksum = nat_tests::lab::traffic::internet_checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

#[test]
fn nothing_with_a_private_source_leaves_and_each_packet_is_counted_by_name() {
    for hook in WITHOUT_OFFLOADS {
        let gateway = Gateway::new(Offloads::Off);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, INTERNET);
        let sniffer = Sniffer::start(&lab.server, "s0");
        let sender = RawSender::new(&lab.client, "c0", (&lab.gateway, "lan0"));
        // Resolves the neighbours, so that nothing below is lost to ARP.
        assert_eq!(Ping::new(&lab.client, SERVER, 1).run(1, LIMIT).received, 1);

        for (what, verdict, packet) in cases() {
            let before = gateway.verdicts().get(verdict).copied().unwrap_or(0);
            sender.send_ipv4(&packet);
            // Whatever comes later has come through the same queues.
            assert_eq!(Ping::new(&lab.client, SERVER, 2).run(1, LIMIT).received, 1, "{what}");
            let after = gateway.verdicts().get(verdict).copied().unwrap_or(0);
            assert_eq!(after, before + 1, "{hook}: {what} is not counted as {verdict}");
        }

        let capture = sniffer.stop();
        assert_eq!(capture.private_sources(), [], "{hook}");
        let arrived: Vec<_> =
            capture.incoming().filter_map(|frame| ipv4_packet(&frame.bytes)).collect();
        assert!(arrived.len() > cases().len(), "{hook}: a ping for each");
        for packet in arrived {
            let protocol_and_kind = (packet[9], packet[20]);
            assert_eq!(protocol_and_kind, (1, 8), "{hook}: something else came through");
        }
        assert_eq!(gateway.sessions().len(), 2, "{hook}: the two pings");
    }
}

/// The sniffer of these tests sees what it must see: with a `route` rule the same packets come
/// through, and it says so.
#[test]
fn the_sniffer_catches_a_planted_leak() {
    let gateway = Gateway::new(Offloads::Off);
    let lab = &gateway.lab;
    let route = INTERNET
        .replace("\"snat\"", "\"route\"")
        .replace("source = { addresses = [\"203.0.113.1\"] }", "");
    let _controller = gateway.start("tc", route);
    let sniffer = Sniffer::start(&lab.server, "s0");
    let sender = RawSender::new(&lab.client, "c0", (&lab.gateway, "lan0"));
    sender.send_ipv4(&ipv4(CLIENT, SERVER, 47, &[0; 40]));
    let leaked = sniffer
        .wait_for(LIMIT, |frame| ipv4_packet(&frame.bytes).is_some_and(|packet| packet[9] == 47));
    assert!(leaked.is_some());
    let leaks = sniffer.stop().private_sources();
    assert_eq!(leaks.len(), 1, "{leaks:?}");
    assert_eq!(gateway.verdicts()["routed"], 1);
}

/// An outside host that knows an inside address and has a route to it.
#[test]
fn outside_hosts_cannot_reach_inside_by_themselves() {
    for hook in WITHOUT_OFFLOADS {
        let gateway = Gateway::new(Offloads::Off);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, INTERNET);
        let inside = Sniffer::start(&lab.client, "c0");
        let intruder = RawSender::new(&lab.server, "s0", (&lab.gateway, "wan0"));
        intruder.send_ipv4(&ipv4(SERVER, CLIENT, 17, &[0, 1, 0, 2, 0, 8, 0, 0]));
        assert_eq!(Ping::new(&lab.client, SERVER, 1).run(1, LIMIT).received, 1);
        assert_eq!(gateway.verdicts()["unsolicited"], 1, "{hook}");
        let arrived = inside.stop();
        let udp = arrived
            .incoming()
            .filter_map(|frame| ipv4_packet(&frame.bytes))
            .filter(|packet| packet[9] == 17);
        assert_eq!(udp.count(), 0, "{hook}");
        // The gateway itself is still there for them.
        let external: Ipv4Addr = nat_tests::lab::topology::EXTERNAL;
        assert_eq!(Ping::new(&lab.server, external, 1).run(1, LIMIT).received, 1, "{hook}");
    }
}
