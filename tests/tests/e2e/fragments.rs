//! Packets in fragments through the gateway, between real stacks: as these send them, and out of
//! order.
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use nat_tests::lab::{
    Frame, Sniffer,
    leaks::ipv4_packet,
    process::ip,
    topology::{CLIENT, EXTERNAL, SERVER},
    traffic::{Ping, RawSender, UdpClient, UdpEcho, internet_checksum, ipv4},
};

use crate::gateway::{ANY, Gateway, INTERNET, LIMIT, VARIANTS, at};

/// A UDP datagram with a right checksum.
fn datagram(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    let mut bytes = [&ports[..], &length, &[0, 0], payload].concat();
    let pseudo = [&from.ip().octets()[..], &to.ip().octets(), &[0, 17], &length, &bytes].concat();
    bytes[6..8].copy_from_slice(&internet_checksum(&pseudo).to_be_bytes());
    bytes
}

/// An IPv4 packet in parts of so many bytes.
fn parts(from: Ipv4Addr, to: Ipv4Addr, id: u16, bytes: &[u8], step: usize) -> Vec<Vec<u8>> {
    let count = bytes.len().div_ceil(step);
    let part = |(number, part): (usize, &[u8])| {
        let mut packet = ipv4(from, to, 17, part);
        let more = if number + 1 == count { 0 } else { 0x2000 };
        let place = more | u16::try_from(number * step / 8).unwrap();
        packet[4..6].copy_from_slice(&id.to_be_bytes());
        packet[6..8].copy_from_slice(&place.to_be_bytes());
        packet[10..12].fill(0);
        let check = internet_checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&check.to_be_bytes());
        packet
    };
    bytes.chunks(step).enumerate().map(part).collect()
}

fn count(gateway: &Gateway, verdict: &str) -> u64 {
    gateway.verdicts().get(verdict).copied().unwrap_or(0)
}

#[test]
fn rfc4787_req14_large_datagrams_and_pings_pass_both_ways() {
    for (hook, offloads) in VARIANTS {
        let gateway = Gateway::new(offloads);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, INTERNET);
        let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
        let client = UdpClient::bind(&lab.client, ANY);
        for bytes in [1473, 8000, 65_507] {
            let payload: Vec<u8> = (0..bytes).map(|n: usize| n as u8).collect();
            assert!(client.ask(echo.address(), &payload, 3, LIMIT), "{hook}: {bytes} bytes");
        }
        assert!(echo.peers().iter().all(|peer| peer.ip() == EXTERNAL), "{hook}");
        assert!(Ping::new(&lab.client, SERVER, 4711).once(20_000, LIMIT), "{hook}");
        assert_eq!(count(&gateway, "fragment"), 0, "{hook}");
    }
}

/// The kernel fragments them, before or behind the translation.
#[test]
fn rfc4787_req13a_what_is_too_big_and_may_be_fragmented_is_fragmented() {
    for (hook, offloads) in VARIANTS {
        let gateway = Gateway::new(offloads);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, INTERNET);
        let server = UdpClient::bind(&lab.server, at(SERVER, 7));
        let client = UdpClient::bind(&lab.client, ANY);
        client.send(at(SERVER, 7), b"hello").unwrap();
        let Some((_, SocketAddr::V4(external))) = server.receive(LIMIT) else {
            panic!("{hook}: no question")
        };
        let inside = at(CLIENT, client.local().port());
        let payload: Vec<u8> = (0..1400).map(|n: usize| n as u8).collect();
        // In one part, and without "don't fragment".
        let whole = |from: SocketAddrV4, to: SocketAddrV4| {
            parts(*from.ip(), *to.ip(), 79, &datagram(from, to, &payload), 8000).remove(0)
        };
        let mtu = |device, mtu| ip(&lab.gateway, &format!("link set {device} mtu {mtu}\n"));

        mtu("wan0", 1300);
        let wire = Sniffer::start(&lab.server, "s0");
        RawSender::new(&lab.client, "c0", (&lab.gateway, "lan0"))
            .send_ipv4(&whole(inside, at(SERVER, 7)));
        assert_eq!(server.receive(LIMIT), Some((payload.clone(), external.into())), "{hook}");
        let capture = wire.stop();
        let length = |frame: &Frame| Some(ipv4_packet(&frame.bytes)?.len());
        let sizes: Vec<_> = capture.incoming().filter_map(length).collect();
        assert!(sizes.len() >= 2 && sizes.iter().all(|size| *size <= 1300), "{hook}: {sizes:?}");

        mtu("wan0", 1500);
        mtu("lan0", 1300);
        RawSender::new(&lab.server, "s0", (&lab.gateway, "wan0"))
            .send_ipv4(&whole(at(SERVER, 7), external));
        assert_eq!(client.receive(LIMIT), Some((payload, at(SERVER, 7).into())), "{hook}");
        assert_eq!(count(&gateway, "fragment"), 0, "{hook}");
    }
}

#[test]
fn rfc4787_req14_fragments_before_their_first_are_held_until_it_comes() {
    for (hook, offloads) in VARIANTS {
        let gateway = Gateway::new(offloads);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, INTERNET);
        let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
        let client = UdpClient::bind(&lab.client, ANY);
        assert!(client.ask(echo.address(), b"hello", 3, LIMIT), "{hook}");
        let SocketAddr::V4(external) = echo.peers()[0] else { panic!("IPv4 only") };
        let inside = at(CLIENT, client.local().port());

        // From the last to the first.
        let payload: Vec<u8> = (0..4000).map(|n: usize| (n / 7) as u8).collect();
        let bytes = datagram(inside, echo.address(), &payload);
        let raw = RawSender::new(&lab.client, "c0", (&lab.gateway, "lan0"));
        parts(CLIENT, SERVER, 77, &bytes, 1000).iter().rev().for_each(|one| raw.send_ipv4(one));
        let (answer, _) = client.receive(LIMIT).unwrap_or_else(|| panic!("{hook}: no echo"));
        assert_eq!(answer, payload, "{hook}");
        let held = count(&gateway, "fragment_held");
        assert_eq!(held, 4, "{hook}: all but the first");

        let bytes = datagram(echo.address(), external, &payload);
        let raw = RawSender::new(&lab.server, "s0", (&lab.gateway, "wan0"));
        parts(SERVER, EXTERNAL, 78, &bytes, 1000).iter().rev().for_each(|one| raw.send_ipv4(one));
        let (told, from) = client.receive(LIMIT).unwrap_or_else(|| panic!("{hook}: nothing told"));
        assert_eq!((told, from), (payload, echo.address().into()), "{hook}");
        assert_eq!(count(&gateway, "fragment_held"), held + 4, "{hook}");
        assert_eq!(count(&gateway, "fragment"), 0, "{hook}");
    }
}

/// Nobody is there to hold them; what comes behind its first passes as before.
#[test]
fn without_a_controller_fragments_before_their_first_are_dropped_by_name() {
    let (hook, offloads) = VARIANTS[0];
    let gateway = Gateway::new(offloads);
    let lab = &gateway.lab;
    gateway.start(hook, INTERNET).stop();
    let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
    let client = UdpClient::bind(&lab.client, ANY);
    assert!(client.ask(echo.address(), &[3; 4000], 3, LIMIT));
    let bytes = datagram(at(CLIENT, client.local().port()), echo.address(), &[1; 1800]);
    let raw = RawSender::new(&lab.client, "c0", (&lab.gateway, "lan0"));
    parts(CLIENT, SERVER, 77, &bytes, 1000).iter().rev().for_each(|one| raw.send_ipv4(one));
    assert!(client.ask(echo.address(), b"still there", 3, LIMIT));
    assert_eq!((count(&gateway, "fragment"), count(&gateway, "fragment_held")), (1, 0));
}
