//! The maximum segment sizes that real hosts agree on through the gateway.
use std::net::TcpListener;

use etherparse::{SlicedPacket, TcpOptionElement, TransportSlice};
use nat_tests::lab::{
    Frame, Sniffer,
    process::ip,
    topology::SERVER,
    traffic::{HttpServer, download, tcp_connect},
    wait,
};

use crate::gateway::{Gateway, INTERNET, LIMIT, VARIANTS, at};

/// The maximum segment size of a SYN, from the client or in answer to it.
fn offered(frame: &Frame, answer: bool) -> Option<u16> {
    let sliced = SlicedPacket::from_ethernet(&frame.bytes).ok()?;
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { return None };
    if !tcp.syn() || tcp.ack() != answer {
        return None;
    }
    tcp.options_iterator().find_map(|option| match option {
        Ok(TcpOptionElement::MaximumSegmentSize(size)) => Some(size),
        _ => None,
    })
}

/// What the server hears from the client, and the client from the server, in a handshake.
fn handshake(gateway: &Gateway) -> [u16; 2] {
    let lab = &gateway.lab;
    let listener = lab.server.enter(|| TcpListener::bind((SERVER, 80)).unwrap());
    let ends = [(&lab.server, "s0", false), (&lab.client, "c0", true)];
    let wires = ends.map(|(host, device, answer)| (Sniffer::start(host, device), answer));
    drop(tcp_connect(&lab.client, None, at(SERVER, 80), LIMIT).unwrap());
    drop(listener);
    wires.map(|(wire, answer)| {
        let capture = wire.stop();
        let mut sizes = capture.incoming().filter_map(|frame| offered(frame, answer));
        sizes.next().unwrap_or_else(|| panic!("no SYN at {}", capture.device))
    })
}

#[test]
fn a_number_limits_both_directions() {
    for (hook, offloads) in VARIANTS {
        let gateway = Gateway::new(offloads);
        let _controller = gateway.start(hook, format!("{INTERNET}mss = 1300\n"));
        assert_eq!(handshake(&gateway), [1300, 1300], "{hook}");
        // Many segments of that size, in both directions' checksums.
        let server = HttpServer::start(&gateway.lab.server, at(SERVER, 8080), 300_000);
        let read = download(&gateway.lab.client, None, server.address(), LIMIT).unwrap();
        assert_eq!(read.sha256, server.sha256(), "{hook}");
    }
}

#[test]
fn off_is_the_default_and_touches_nothing() {
    for (hook, offloads) in VARIANTS {
        let gateway = Gateway::new(offloads);
        ip(&gateway.lab.gateway, "link set wan0 mtu 1400\n");
        let _controller = gateway.start(hook, INTERNET);
        assert_eq!(handshake(&gateway), [1460, 1460], "{hook}");
    }
}

/// Also when the MTU changes while connections are made.
#[test]
fn auto_follows_the_smallest_mtu_of_the_way() {
    for (hook, offloads) in VARIANTS {
        let gateway = Gateway::new(offloads);
        let _controller = gateway.start(hook, format!("{INTERNET}mss = \"auto\"\n"));
        assert_eq!(handshake(&gateway), [1460, 1460], "{hook}");
        for (device, mtu) in [("wan0", 1400), ("lan0", 1300)] {
            ip(&gateway.lab.gateway, &format!("link set {device} mtu {mtu}\n"));
            let expected = [mtu - 40; 2];
            let followed = wait::until(LIMIT, || (handshake(&gateway) == expected).then_some(()));
            assert!(followed.is_some(), "{hook}: {device} has an MTU of {mtu}");
        }
    }
}
