//! Sources that are not what they say: forged from outside and inside, and the gateway's own packets
//! on the wrong interface.
use std::net::Ipv4Addr;

use nat_tests::lab::{
    Offloads,
    process::ip,
    topology::{CLIENT, CLIENT2, EXTERNAL, INSIDE, SERVER},
    traffic::{RawSender, UdpClient, UdpEcho, ipv4},
    wait,
};

use crate::gateway::{ANY, Gateway, INTERNET, LIMIT, WITHOUT_OFFLOADS, at};

const UDP: u8 = 17;

/// 10.77.0.0/24 arrives by lan0, and lan1 has no network of its own.
const GUARDED: &str = "[[networks]]\nname = \"internal\"\nprefixes = [\"10.77.0.0/24\"]\n\
                       interfaces = [\"lan0\"]\n";

/// A UDP datagram from port 4000 to the echo's port.
fn datagram(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    // Without a checksum, which IPv4 allows.
    let payload = [0x0f, 0xa0, 0, 7, 0, 12, 0, 0, b's', b'p', b'o', b'f'];
    ipv4(from, to, UDP, &payload)
}

fn count(gateway: &Gateway, verdict: &str) -> u64 {
    gateway.verdicts().get(verdict).copied().unwrap_or(0)
}

/// Waits until a verdict has been given so often.
#[track_caller]
fn expect(gateway: &Gateway, verdict: &str, packets: u64) {
    let there = wait::until(LIMIT, || (count(gateway, verdict) >= packets).then_some(()));
    assert!(there.is_some(), "{verdict}: {:?}", gateway.verdicts());
    assert_eq!(count(gateway, verdict), packets, "{verdict}");
}

#[test]
fn packets_of_a_network_that_arrive_elsewhere_are_dropped() {
    for hook in WITHOUT_OFFLOADS {
        let gateway = Gateway::with_two_clients(Offloads::Off);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, format!("{GUARDED}{INTERNET}"));
        let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
        let client = UdpClient::bind(&lab.client, ANY);
        assert!(client.ask(echo.address(), b"genuine", 3, LIMIT), "{hook}");

        // Client 2, on the other interface, pretends to be client 1.
        let forger = RawSender::new(lab.client2(), "c1", (&lab.gateway, "lan1"));
        forger.send_ipv4(&datagram(CLIENT, SERVER));
        expect(&gateway, "spoofed_source", 1);
        // And so does somebody outside.
        let outside = RawSender::new(&lab.server, "s0", (&lab.gateway, "wan0"));
        outside.send_ipv4(&datagram(CLIENT, EXTERNAL));
        expect(&gateway, "spoofed_source", 2);

        assert_eq!(echo.peers().len(), 1, "{hook}: nothing forged has arrived");
        assert!(client.ask(echo.address(), b"genuine", 1, LIMIT), "{hook}");
    }
}

#[test]
fn a_source_that_is_not_routed_back_is_dropped() {
    for hook in WITHOUT_OFFLOADS {
        let gateway = Gateway::with_two_clients(Offloads::Off);
        let lab = &gateway.lab;
        let everybody = INTERNET.replace("10.77.0.0/24", "0.0.0.0/0");
        let _controller = gateway.start(hook, format!("{GUARDED}{everybody}"));
        let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
        let sender = RawSender::new(&lab.client, "c0", (&lab.gateway, "lan0"));
        // Of the network, but its way back is the other interface; of somewhere outside; of the
        // gateway itself.
        for forged in [CLIENT2, Ipv4Addr::new(198, 51, 100, 1), INSIDE] {
            sender.send_ipv4(&datagram(forged, SERVER));
        }
        expect(&gateway, "no_reverse_path", 3);
        sender.send_ipv4(&datagram(CLIENT, SERVER));
        let arrived = wait::until(LIMIT, || (!echo.peers().is_empty()).then_some(()));
        assert!(arrived.is_some(), "{hook}");
        assert_eq!(echo.peers().len(), 1, "{hook}");
    }
}

#[test]
fn where_no_network_names_its_interfaces_nothing_is_asked() {
    let gateway = Gateway::with_two_clients(Offloads::Off);
    let lab = &gateway.lab;
    let _controller =
        gateway.start("tc", GUARDED.replace("interfaces = [\"lan0\"]\n", "") + INTERNET);
    let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
    let forger = RawSender::new(lab.client2(), "c1", (&lab.gateway, "lan1"));
    forger.send_ipv4(&datagram(CLIENT, SERVER));
    assert!(wait::until(LIMIT, || (!echo.peers().is_empty()).then_some(())).is_some());
}

/// A socket of the gateway that is bound to its inside address, and a packet to outside.
#[test]
fn the_gateways_own_packets_with_another_interfaces_address() {
    for (enforce, verdict) in [(false, "weak_host_send"), (true, "strong_host_drop")] {
        let gateway = Gateway::new(Offloads::Off);
        let lab = &gateway.lab;
        let options = format!("{INTERNET}[source]\nenforce_strong_send = {enforce}\n");
        let _controller = gateway.start("tc", options);
        ip(&lab.server, &format!("route add {INSIDE}/32 via {EXTERNAL}\n"));
        let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
        let own = UdpClient::bind(&lab.gateway, at(INSIDE, 0));
        own.send(echo.address(), b"?").unwrap();
        expect(&gateway, verdict, 1);
        assert_eq!(echo.peers().is_empty(), enforce);
        // With the address of its way out it is anybody's packet.
        let proper = UdpClient::bind(&lab.gateway, at(EXTERNAL, 0));
        assert!(proper.ask(echo.address(), b"?", 1, LIMIT));
        assert_eq!(count(&gateway, verdict), 1);
    }
}

#[test]
fn a_rule_for_the_gateway_translates_them() {
    let gateway = Gateway::new(Offloads::Off);
    let rule = INTERNET.replace("\"10.77.0.0/24\"", "\"local-host\"");
    let _controller = gateway.start("tc", format!("{rule}[source]\nenforce_strong_send = true\n"));
    let echo = UdpEcho::start(&gateway.lab.server, at(SERVER, 7));
    let own = UdpClient::bind(&gateway.lab.gateway, at(INSIDE, 0));
    assert!(own.ask(echo.address(), b"?", 3, LIMIT));
    assert_eq!(echo.peers()[0].ip(), EXTERNAL);
}

/// A tag of VLAN 0 names no VLAN: the stack takes the packet as if it had none, and a tag beneath it
/// with it.
#[test]
fn a_priority_tag_hides_nothing() {
    for hook in WITHOUT_OFFLOADS {
        let gateway = Gateway::new(Offloads::Off);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, format!("{GUARDED}{INTERNET}"));
        let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
        let sender = RawSender::new(&lab.client, "c0", (&lab.gateway, "lan0"));
        let tagged = |from, tags: usize| {
            let mut payload: Vec<u8> = [0, 0, 0x81, 0x00].repeat(tags);
            // The last tag says what follows.
            let end = payload.len();
            payload[end - 2..].copy_from_slice(&[0x08, 0x00]);
            payload.extend(datagram(from, SERVER));
            sender.send_tagged(&payload);
        };
        let forged = Ipv4Addr::new(198, 51, 100, 1);
        tagged(forged, 1);
        expect(&gateway, "no_reverse_path", 1);
        tagged(forged, 2);
        expect(&gateway, "malformed", 1);
        tagged(CLIENT, 1);
        let arrived = wait::until(LIMIT, || (!echo.peers().is_empty()).then_some(()));
        assert!(arrived.is_some(), "{hook}: {:?}", gateway.verdicts());
        assert_eq!(echo.peers()[0].ip(), EXTERNAL, "{hook}");
        assert_eq!(echo.peers().len(), 1, "{hook}");
    }
}

#[test]
fn policy_rules_for_what_arrives_say_nothing_of_the_way_back() {
    let gateway = Gateway::new(Offloads::Off);
    let lab = &gateway.lab;
    ip(
        &lab.gateway,
        &format!("route add default via {SERVER} table 88\nrule add pref 200 iif lan0 lookup 88\n"),
    );
    let _controller = gateway.start("tc", format!("{GUARDED}{INTERNET}"));
    let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
    let client = UdpClient::bind(&lab.client, ANY);
    assert!(client.ask(echo.address(), b"?", 3, LIMIT), "{:?}", gateway.verdicts());
}

/// Clients behind two routers, one on each inside interface: answers take either way.
#[test]
fn any_next_hop_of_the_way_back_will_do() {
    let gateway = Gateway::with_two_clients(Offloads::Off);
    let lab = &gateway.lab;
    ip(
        &lab.gateway,
        &format!(
            "route add 10.50.0.0/16 nexthop via {CLIENT} dev lan0 nexthop via {CLIENT2} dev lan1\n"
        ),
    );
    let network = "[[networks]]\nname = \"internal\"\nprefixes = [\"10.0.0.0/8\"]\n\
                   interfaces = [\"lan0\", \"lan1\"]\n";
    let rule = INTERNET.replace("10.77.0.0/24", "10.0.0.0/8");
    let _controller = gateway.start("tc", format!("{network}{rule}"));
    let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
    let one = RawSender::new(&lab.client, "c0", (&lab.gateway, "lan0"));
    let other = RawSender::new(lab.client2(), "c1", (&lab.gateway, "lan1"));
    for last in 1..=20 {
        let behind = Ipv4Addr::new(10, 50, 0, last);
        one.send_ipv4(&datagram(behind, SERVER));
        other.send_ipv4(&datagram(behind, SERVER));
    }
    // One flow each: both routers' packets are the same flow.
    let all = wait::until(LIMIT, || (echo.peers().len() == 40).then_some(()));
    assert!(all.is_some(), "{} {:?}", echo.peers().len(), gateway.verdicts());
}

#[test]
fn where_nothing_is_forwarded_the_gateway_itself_can_still_be_reached() {
    let gateway = Gateway::new(Offloads::Off);
    let lab = &gateway.lab;
    let _controller = gateway.start("tc", format!("{GUARDED}{INTERNET}"));
    lab.gateway.sysctl("net/ipv4/ip_forward", "0");
    let echo = UdpEcho::start(&lab.gateway, at(INSIDE, 7));
    let client = UdpClient::bind(&lab.client, ANY);
    assert!(client.ask(echo.address(), b"?", 3, LIMIT), "{:?}", gateway.verdicts());
}

/// Hosts without an address ask for one; nobody is reached from none.
#[test]
fn no_address_is_good_for_asking_only() {
    for hook in WITHOUT_OFFLOADS {
        let gateway = Gateway::new(Offloads::Off);
        let lab = &gateway.lab;
        let everybody = INTERNET.replace("10.77.0.0/24", "0.0.0.0/0");
        let _controller = gateway.start(hook, format!("{GUARDED}{everybody}"));
        let sender = RawSender::new(&lab.client, "c0", (&lab.gateway, "lan0"));
        sender.send_ipv4(&datagram(Ipv4Addr::UNSPECIFIED, SERVER));
        expect(&gateway, "no_reverse_path", 1);
        sender.send_ipv4(&datagram(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST));
        let passed = || count(&gateway, "left_untouched") > 0;
        assert!(wait::until(LIMIT, || passed().then_some(())).is_some(), "{hook}");
        assert_eq!(count(&gateway, "no_reverse_path"), 1, "{hook}");
    }
}
