//! ICMP errors of the gateway's own, which its kernel sends: how many, how marked, and when none.
use std::net::Ipv4Addr;

use nat_tests::lab::{
    Direction, Frame, Lab, NetNs, Offloads, Sniffer,
    leaks::ipv4_packet,
    topology::{CLIENT, SERVER},
    traffic::{Ping, RawSender, internet_checksum, ipv4},
};

use crate::gateway::{Gateway, INTERNET, LIMIT, WITHOUT_OFFLOADS};

const TIME_EXCEEDED: u8 = 11;

/// A packet whose time is up at the gateway.
fn dying(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    with(ipv4(from, to, protocol, payload), |header| header[8] = 1)
}

/// The same packet with another header.
fn with(mut packet: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    change(&mut packet[..20]);
    packet[10..12].fill(0);
    let checksum = internet_checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// UDP from one port to another, without a checksum.
fn udp(from: u16, to: u16) -> Vec<u8> {
    let mut datagram = [from.to_be_bytes(), to.to_be_bytes()].concat();
    datagram.extend([0, 12, 0, 0, 1, 2, 3, 4]);
    datagram
}

/// The IPv4 packet of a frame to the client that is a time exceeded.
fn time_exceeded(frame: &Frame) -> Option<&[u8]> {
    let packet = ipv4_packet(&frame.bytes)?;
    let is = frame.direction == Direction::Incoming && packet[9] == 1;
    (is && packet.get(20) == Some(&TIME_EXCEEDED)).then_some(packet)
}

/// A gateway that knows its neighbours, a sender beside its client, and what reaches the client.
fn start(lab: &Lab) -> (RawSender, Sniffer) {
    assert_eq!(Ping::new(&lab.client, SERVER, 1).run(1, LIMIT).received, 1);
    (RawSender::new(&lab.client, "c0", (&lab.gateway, "lan0")), Sniffer::start(&lab.client, "c0"))
}

/// When this has been answered, everything before it has been.
fn last(client: &NetNs) {
    assert_eq!(Ping::new(client, SERVER, 2).run(1, LIMIT).received, 1);
}

/// RFC 1812 sections 4.3.2.5 and 4.3.2.8: of precedence 6, and a few of a flood only.
#[test]
fn rfc5508_req10f_a_flood_of_dying_packets_is_answered_by_few_errors() {
    for hook in WITHOUT_OFFLOADS {
        let gateway = Gateway::new(Offloads::Off);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, INTERNET);
        let (sender, inside) = start(lab);
        for port in 0..100 {
            sender.send_ipv4(&dying(CLIENT, SERVER, 17, &udp(5000, 33_434 + port)));
        }
        last(&lab.client);
        let frames = inside.stop().frames;
        let errors: Vec<&[u8]> = frames.iter().filter_map(time_exceeded).collect();
        assert!((1..=20).contains(&errors.len()), "{hook}: {} errors", errors.len());
        for error in errors {
            assert_eq!(error[1] >> 5, 6, "{hook}: precedence of {error:?}");
        }
    }
}

#[test]
fn rfc1812_4_3_2_7_no_error_about_what_must_not_have_one() {
    let quoted = ipv4(SERVER, CLIENT, 17, &udp(80, 5000));
    let mut error = [vec![3, 3, 0, 0, 0, 0, 0, 0], quoted].concat();
    let checksum = internet_checksum(&error);
    error[2..4].copy_from_slice(&checksum.to_be_bytes());
    let later_fragment =
        with(dying(CLIENT, SERVER, 17, &[0; 64]), |header| header[6..8].copy_from_slice(&[0, 100]));
    let cases = [
        ("an error", dying(CLIENT, SERVER, 1, &error)),
        ("a later fragment", later_fragment),
        ("for many", dying(CLIENT, Ipv4Addr::new(239, 255, 255, 250), 17, &udp(5000, 1900))),
        ("for all", dying(CLIENT, Ipv4Addr::BROADCAST, 17, &udp(5000, 67))),
        ("from nobody", dying(Ipv4Addr::UNSPECIFIED, SERVER, 17, &udp(5000, 80))),
        ("from many", dying(Ipv4Addr::new(224, 0, 0, 1), SERVER, 17, &udp(5000, 80))),
        ("from itself", dying(Ipv4Addr::LOCALHOST, SERVER, 17, &udp(5000, 80))),
        ("from no class", dying(Ipv4Addr::new(240, 0, 0, 1), SERVER, 17, &udp(5000, 80))),
    ];
    for hook in WITHOUT_OFFLOADS {
        let gateway = Gateway::new(Offloads::Off);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, INTERNET);
        let (sender, inside) = start(lab);
        for (_, packet) in &cases {
            sender.send_ipv4(packet);
        }
        sender.send_ipv4(&dying(CLIENT, SERVER, 17, &udp(5000, 33_434)));
        let answered = inside.wait_for(LIMIT, |frame| time_exceeded(frame).is_some());
        assert!(answered.is_some(), "{hook}: the ordinary one");
        last(&lab.client);
        let frames = inside.stop().frames;
        let errors: Vec<&Frame> = frames.iter().filter(|frame| is_error(frame)).collect();
        assert_eq!(
            errors.len(),
            1,
            "{hook}: {errors:?}\nof {:?}",
            cases.each_ref().map(|(name, _)| name)
        );
    }
}

/// Any ICMP error that comes to the client.
fn is_error(frame: &Frame) -> bool {
    let kind = ipv4_packet(&frame.bytes).filter(|packet| packet[9] == 1);
    let kind = kind.and_then(|packet| packet.get(20));
    frame.direction == Direction::Incoming && kind.is_some_and(|kind| ![0, 8].contains(kind))
}
