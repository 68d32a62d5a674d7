//! The laboratory checks itself: against the kernel's own NAT it must pass, and each of its
//! observers must notice what it is there to notice.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use nat_tests::lab::{
    Capture, Lab, Offloads, Sniffer,
    leaks::ipv4_packet,
    process::tool,
    topology::{CLIENT, CLIENT2, EXTERNAL, INSIDE, SERVER, SERVER2},
    traffic::{
        HttpServer, Ping, RawSender, UdpClient, UdpEcho, download, ethernet, internet_checksum,
        ipv4,
    },
};

const LIMIT: Duration = Duration::from_secs(5);
const ANY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
const UDP: u8 = 17;

fn at(address: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address, port)
}

fn udp(source_port: u16, destination_port: u16, checksum: u16) -> Vec<u8> {
    [source_port, destination_port, 8, checksum].map(u16::to_be_bytes).concat()
}

/// Everything through the kernel's masquerade, captured on the server's end.
fn traffic_through_masquerade(lab: &Lab) -> Capture {
    lab.masquerade();
    let sniffer = Sniffer::start(&lab.server, "s0");

    let http = HttpServer::start(&lab.server, at(SERVER, 80), 3_000_000);
    let file = download(&lab.client, None, http.address(), LIMIT).unwrap();
    assert_eq!(file.sha256, http.sha256());
    assert_eq!(http.peers().iter().map(SocketAddr::ip).collect::<Vec<_>>(), [EXTERNAL]);

    let echo = UdpEcho::start(&lab.server, at(SERVER2, 7));
    let client = UdpClient::bind(&lab.client, ANY);
    assert!(client.ask(echo.address(), b"hello", 3, LIMIT));
    assert!(client.ask(echo.address(), &[7; 1400], 3, LIMIT));
    assert_eq!(echo.peers()[0].ip(), EXTERNAL);

    let mut ping = Ping::new(&lab.client, SERVER, 4711);
    assert_eq!(ping.identifier(), 4711);
    assert_eq!(ping.run(3, LIMIT).received, 3);

    let capture = sniffer.stop();
    assert!(capture.private_sources().is_empty(), "{:?}", capture.private_sources());
    assert!(capture.incoming().count() > 10 && capture.outgoing().count() > 10);
    capture
}

#[test]
fn real_traffic_with_offloads() {
    let capture = traffic_through_masquerade(&Lab::new(Offloads::On));
    // Otherwise this is not the case that it claims to be.
    assert!(capture.frames.iter().any(|frame| frame.checksum_pending));
    assert!(capture.frames.iter().any(|frame| frame.bytes.len() > 1514));
}

#[test]
fn real_traffic_without_offloads() {
    let capture = traffic_through_masquerade(&Lab::new(Offloads::Off));
    assert!(capture.frames.iter().all(|frame| frame.bytes.len() <= 1514));
    let checked = capture.checksums().assert_correct();
    // 3 MB are over 2000 full packets.
    assert!(checked > 2000, "{checked}");
}

#[test]
fn without_nat_nothing_is_answered_and_the_leak_is_seen() {
    let lab = Lab::new(Offloads::Off);
    let far = Sniffer::start(&lab.server, "s0");
    let near = Sniffer::start(&lab.gateway, "wan0");
    let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
    let client = UdpClient::bind(&lab.client, ANY);
    assert!(!client.ask(echo.address(), b"leak", 1, Duration::from_millis(200)));
    assert_eq!(echo.peers().len(), 1);
    for sniffer in [far, near] {
        let leaks = sniffer.stop().private_sources();
        assert_eq!(leaks.len(), 1, "{leaks:?}");
        assert_eq!((leaks[0].source, leaks[0].destination), (CLIENT, Some(SERVER)));
    }
}

#[test]
fn a_leak_inside_a_vlan_tag_is_seen() {
    let lab = Lab::new(Offloads::Off);
    let sniffer = Sniffer::start(&lab.server, "s0");
    let packet = ipv4(CLIENT, SERVER, UDP, &udp(1, 2, 0));
    let tagged = [&[0, 5, 8, 0][..], &packet].concat();
    let wan = RawSender::new(&lab.gateway, "wan0", (&lab.server, "s0"));
    wan.send(&ethernet([0xff; 6], [2; 6], 0x8100, &tagged));
    assert!(sniffer.wait_for(LIMIT, |frame| ipv4_packet(&frame.bytes).is_some()).is_some());
    let capture = sniffer.stop();
    assert_eq!(capture.frames[0].bytes[12..18], [0x81, 0, 0, 5, 8, 0], "the tag is kept");
    assert_eq!(capture.private_sources().len(), 1);
}

#[test]
fn a_wrong_checksum_is_seen_and_a_right_one_passes() {
    let lab = Lab::new(Offloads::Off);
    let pseudo_header =
        [&CLIENT.octets()[..], &INSIDE.octets(), &[0, UDP, 0, 8], &udp(1, 2, 0)].concat();
    let right = internet_checksum(&pseudo_header);
    let sender = RawSender::new(&lab.client, "c0", (&lab.gateway, "lan0"));
    for (checksum, header_is_right, expected) in
        [(right, true, (1, 0)), (right ^ 1, true, (0, 1)), (right, false, (0, 1))]
    {
        let sniffer = Sniffer::start(&lab.gateway, "lan0");
        let mut packet = ipv4(CLIENT, INSIDE, UDP, &udp(1, 2, checksum));
        if !header_is_right {
            packet[10] ^= 1;
        }
        sender.send_ipv4(&packet);
        let is_it = |bytes: &[u8]| ipv4_packet(bytes).is_some_and(|it| it.starts_with(&packet));
        assert!(sniffer.wait_for(LIMIT, |frame| is_it(&frame.bytes)).is_some());
        let capture = sniffer.stop();
        let checksums = capture.frames.iter().filter(|frame| is_it(&frame.bytes));
        let checksums = nat_tests::lab::checksums::check(checksums);
        assert_eq!((checksums.correct, checksums.wrong.len()), expected, "{checksums}");
    }
}

#[test]
fn without_offloads_a_receiver_refuses_a_wrong_checksum() {
    let lab = Lab::new(Offloads::Off);
    let echo = UdpEcho::start(&lab.gateway, at(INSIDE, 7));
    let sender = RawSender::new(&lab.client, "c0", (&lab.gateway, "lan0"));
    let pseudo_header =
        [&CLIENT.octets()[..], &INSIDE.octets(), &[0, UDP, 0, 8], &udp(9, 7, 0)].concat();
    let right = internet_checksum(&pseudo_header);
    sender.send_ipv4(&ipv4(CLIENT, INSIDE, UDP, &udp(9, 7, right ^ 1)));
    let client = UdpClient::bind(&lab.client, ANY);
    assert!(client.ask(echo.address(), b"after it", 3, LIMIT));
    assert_eq!(echo.peers(), [client.local().port()].map(|port| at(CLIENT, port).into()));
}

#[test]
fn a_second_client_and_more_external_addresses() {
    let second: Ipv4Addr = "203.0.113.2".parse().unwrap();
    let lab = Lab::builder(Offloads::On).second_client().external([second]).rp_filter(2).build();
    lab.masquerade();
    let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
    for namespace in [&lab.client, lab.client2()] {
        let client = UdpClient::bind(namespace, ANY);
        assert!(client.ask(echo.address(), b"both", 3, LIMIT));
    }
    let from_second = UdpClient::bind(lab.client2(), at(CLIENT2, 5555));
    assert!(from_second.ask(echo.address(), b"bound", 3, LIMIT));
    let own = UdpClient::bind(&lab.gateway, at(second, 6666));
    assert!(own.ask(echo.address(), b"own", 3, LIMIT));
    assert_eq!(echo.peers().last(), Some(&at(second, 6666).into()));
    assert_eq!(lab.gateway.read_sysctl("net/ipv4/conf/wan0/rp_filter"), "2");
}

#[test]
fn neighbours_can_be_forgotten() {
    let lab = Lab::new(Offloads::On);
    assert!(Ping::new(&lab.client, INSIDE, 0).once(8, LIMIT));
    assert!(!tool(&lab.client, "ip", &["neigh"]).is_empty());
    lab.flush_neighbours();
    let left = tool(&lab.client, "ip", &["neigh", "show", "nud", "reachable"]);
    assert_eq!(left, "");
}

#[test]
fn tcp_from_a_chosen_port() {
    let lab = Lab::new(Offloads::On);
    lab.masquerade();
    let http = HttpServer::start(&lab.server, at(SERVER, 80), 10);
    let from = at(CLIENT, 4000);
    let file = download(&lab.client, Some(from), http.address(), LIMIT).unwrap();
    assert_eq!((file.bytes, file.local), (10, from.into()));
    assert_eq!(file.sha256, http.sha256());
    let nobody = at(Ipv4Addr::new(203, 0, 113, 99), 80);
    let limit = Duration::from_millis(100);
    download(&lab.client, None, nobody, limit).expect_err("nobody answers there");
}
