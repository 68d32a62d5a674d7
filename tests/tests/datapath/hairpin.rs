//! Clients that reach each other behind their external addresses, and what else comes from inside for
//! such an address. Two packets of a test go the whole way: to `tc_inside`, and from there as the
//! kernel redirects them to `tc_ingress`.
use std::{
    net::{Ipv4Addr, TcpListener, UdpSocket},
    sync::Arc,
};

use nat_common::{stats::Hook, verdict::Verdict};
use nat_ctl::{datapath::State as _, session::SessionView};
use nat_tests::lab::{
    Lab,
    process::ip,
    topology::{CLIENT2, EXTERNAL, INSIDE},
};

use super::{
    bench::{Bench, EXTERNAL2, Seen, laboratory},
    frames::{self, ACK, CLIENT, RST, SERVER, SYN, TTL},
};

/// Each client has an external address of its own, and one port there, so that it is known before
/// where it can be reached.
const TWO: &str = r#"
[[rules]]
name = "a"
from = ["10.77.0.2"]
to = ["0.0.0.0/0"]
action = "snat"
source = { addresses = ["203.0.113.1"] }
ports = "4000-4000"
[[rules]]
name = "b"
from = ["10.77.0.3"]
to = ["0.0.0.0/0"]
action = "snat"
source = { addresses = ["203.0.113.2"] }
ports = "5000-5000"
"#;

/// Inside, in no rule.
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const A: (Ipv4Addr, u16) = (CLIENT, 1111);
const B: (Ipv4Addr, u16) = (CLIENT2, 2222);
const A_OUTSIDE: (Ipv4Addr, u16) = (EXTERNAL, 4000);
const B_OUTSIDE: (Ipv4Addr, u16) = (EXTERNAL2, 5000);

fn in_a_lab(rules: &str) -> (Bench, Arc<Lab>) {
    let lab = Arc::new(laboratory().external([EXTERNAL2]).build());
    let mut bench = Bench::in_lab(Arc::clone(&lab), 64);
    bench.apply(rules);
    (bench, lab)
}

/// A packet that is turned back reaches its receiver, with this source and destination.
#[track_caller]
fn delivered(bench: &Bench, frame: &[u8], source: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Seen {
    let before = frames::read(frame);
    let (first, back) = bench.turn(frame);
    let back = back.unwrap_or_else(|| panic!("not turned back: {:?}", first.verdict));
    assert_eq!(back.verdict, Verdict::TranslatedIn);
    let after = frames::read(&back.frame);
    assert_eq!((after.source, after.destination), (source, to));
    assert_eq!((after.ttl, after.rest), (TTL - 1, before.rest), "one hop, and nothing else");
    back
}

/// A packet that leaves its sender translated, and is refused at its receiver's external address.
#[track_caller]
fn refused(bench: &Bench, frame: &[u8], verdict: Verdict) {
    let (first, back) = bench.turn(frame);
    let back = back.unwrap_or_else(|| panic!("not turned back: {:?}", first.verdict));
    assert_eq!(back.verdict, verdict);
}

/// It finds nobody.
#[track_caller]
fn nobody(bench: &Bench, frame: &[u8]) {
    refused(bench, frame, Verdict::NoMapping);
}

/// A packet that reaches the stack as it was sent.
#[track_caller]
fn left(bench: &Bench, frame: &[u8]) {
    let (first, back) = bench.turn(frame);
    assert_eq!(first.verdict, Verdict::LeftUntouched);
    assert!(back.is_none());
    assert_eq!(first.frame, frame);
}

fn sessions(bench: &Bench) -> usize {
    bench.sessions().len()
}

/// Both send first, as peers do that have learnt of each other's endpoints from a third.
#[test]
fn rfc4787_req9_udp_between_two_clients_shows_the_external_source() {
    let (bench, _lab) = in_a_lab(TWO);
    nobody(&bench, &frames::udp(A, B_OUTSIDE, b"first"));
    assert_eq!(sessions(&bench), 1, "what it has opened lets the other one in");
    delivered(&bench, &frames::udp(B, A_OUTSIDE, b"to a"), B_OUTSIDE, A);
    delivered(&bench, &frames::udp(A, B_OUTSIDE, b"to b"), A_OUTSIDE, B);
    assert_eq!(sessions(&bench), 2);
    let carried = |one: &SessionView| (one.rule.clone(), one.packets.out, one.packets.inbound);
    let carried: Vec<_> = bench.sessions().iter().map(carried).collect();
    assert_eq!(carried, [("a".to_owned(), 2, 1), ("b".to_owned(), 1, 1)]);
}

#[test]
fn rfc5382_req8_tcp_between_two_clients_by_simultaneous_open() {
    let (bench, _lab) = in_a_lab(TWO);
    nobody(&bench, &frames::tcp(A, B_OUTSIDE, SYN, b""));
    delivered(&bench, &frames::tcp(B, A_OUTSIDE, SYN, b""), B_OUTSIDE, A);
    delivered(&bench, &frames::tcp(A, B_OUTSIDE, SYN | ACK, b""), A_OUTSIDE, B);
    delivered(&bench, &frames::tcp(B, A_OUTSIDE, ACK, b"data"), B_OUTSIDE, A);
    let states: Vec<_> = bench.sessions().iter().map(|one| one.state).collect();
    assert_eq!(states, ["established", "established"]);
}

/// The filter of the receiver's rule decides, by the sender's external endpoint.
#[test]
fn rfc4787_req9_the_filtering_of_the_receivers_rule_decides_who_is_turned_back() {
    for (filtering, at_once, after_its_address, after_its_endpoint) in [
        ("endpoint-independent", true, true, true),
        ("address-dependent", false, true, true),
        ("address-and-port-dependent", false, false, true),
    ] {
        let of_a = format!("ports = \"4000-4000\"\nfiltering = \"{filtering}\"");
        let rules = TWO.replace("ports = \"4000-4000\"", &of_a).replace("5000-5000", "5000-5001");
        let (bench, _lab) = in_a_lab(&rules);
        let outside = |from| {
            let seen = bench.send(Hook::TcEgress, &frames::udp(from, (SERVER, 53), b"x"));
            assert_eq!(seen.verdict, Verdict::TranslatedOut);
            frames::read(&seen.frame).source
        };
        assert_eq!(outside(A), A_OUTSIDE);
        let b_outside = outside(B);
        let arrives = |yes: bool| {
            let frame = frames::udp(B, A_OUTSIDE, b"to a");
            if yes {
                delivered(&bench, &frame, b_outside, A);
            } else {
                refused(&bench, &frame, Verdict::Filtered);
            }
        };
        arrives(at_once);
        // The neighbouring port is nobody's, but the same host's.
        nobody(&bench, &frames::udp(A, (EXTERNAL2, b_outside.1 ^ 1), b"x"));
        arrives(after_its_address);
        // By its mapping with that of B, under B's strict filter.
        delivered(&bench, &frames::udp(A, b_outside, b"to b"), A_OUTSIDE, B);
        arrives(after_its_endpoint);
    }
}

/// A client that waits behind its mapping is reached by the others inside as by anybody.
#[test]
fn rfc5382_req8_a_mapping_turns_connections_back_to_who_waits_there() {
    let mapped = "mapping = \"endpoint-independent\"\nfiltering = \"endpoint-independent\"";
    let rules = TWO.replace("ports = \"4000-4000\"", &format!("ports = \"4000-4000\"\n{mapped}"));
    let (bench, _lab) = in_a_lab(&rules);
    nobody(&bench, &frames::tcp(B, A_OUTSIDE, SYN, b""));
    let seen = bench.send(Hook::TcEgress, &frames::tcp(A, (SERVER, 80), SYN, b""));
    assert_eq!(frames::read(&seen.frame).source, A_OUTSIDE);
    delivered(&bench, &frames::tcp(B, A_OUTSIDE, SYN, b""), B_OUTSIDE, A);
    delivered(&bench, &frames::tcp(A, B_OUTSIDE, SYN | ACK, b""), A_OUTSIDE, B);
    delivered(&bench, &frames::tcp(B, A_OUTSIDE, ACK, b"data"), B_OUTSIDE, A);
    assert_eq!(sessions(&bench), 3, "to the server, and both ends of theirs");
}

/// Every part of a packet goes the same way.
#[test]
fn fragments_of_a_turned_packet_reach_the_client() {
    let (bench, _lab) = in_a_lab(TWO);
    nobody(&bench, &frames::udp(A, B_OUTSIDE, b"first"));
    let whole = frames::udp(B, A_OUTSIDE, &[7; 56]);
    let parts: Vec<_> = [(0, 34..66), (4, 66..98)]
        .into_iter()
        .map(|(offset, bytes): (u16, std::ops::Range<usize>)| {
            let cut = [&whole[..34], &whole[bytes]].concat();
            frames::with_ipv4(&cut, |ip| {
                ip.total_len = 52;
                ip.dont_fragment = false;
                ip.more_fragments = offset == 0;
                ip.fragment_offset = offset.try_into().unwrap();
            })
        })
        .collect();
    for part in parts {
        let (first, back) = bench.turn(&part);
        assert_eq!(first.verdict, Verdict::Hairpin);
        let back = back.unwrap();
        assert_eq!(back.verdict, Verdict::TranslatedIn);
        assert_eq!(back.frame[26..30], B_OUTSIDE.0.octets(), "the source");
        assert_eq!(back.frame[30..34], A.0.octets(), "the destination");
        assert_eq!(back.frame[22], TTL - 1);
    }
}

/// What is for nobody opens a session of its sender only if it could open one outside, too.
#[test]
fn tcp_without_a_session_opens_none() {
    let (bench, _lab) = in_a_lab(TWO);
    for flags in [ACK, SYN | ACK, RST] {
        let (first, back) = bench.turn(&frames::tcp(A, B_OUTSIDE, flags, b""));
        assert_eq!((first.verdict, back.is_none()), (Verdict::TcpWithoutSyn, true));
    }
    assert_eq!((sessions(&bench), bench.claims()), (0, 0));
}

/// The error goes the way of the packet back; the sender reads of what it sent, to whom it sent it.
#[test]
fn rfc5508_req7_an_error_about_a_turned_packet_reaches_its_sender() {
    let (bench, _lab) = in_a_lab(TWO);
    nobody(&bench, &frames::udp(A, B_OUTSIDE, b"first"));
    delivered(&bench, &frames::udp(B, A_OUTSIDE, b"hello"), B_OUTSIDE, A);
    let sent = frames::udp(A, B_OUTSIDE, b"anybody there?");
    let arrived = delivered(&bench, &sent, A_OUTSIDE, B).frame;
    let mut bytes = vec![3, 3, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(&arrived[14..]);
    let sum = nat_tests::lab::traffic::internet_checksum(&bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    let error = frames::other(1, B.0, A_OUTSIDE.0, &bytes);
    let (first, back) = bench.turn(&error);
    assert_eq!(first.verdict, Verdict::Hairpin);
    let back = back.unwrap();
    assert_eq!(back.verdict, Verdict::TranslatedIn);
    let said = frames::read(&back.frame);
    // RFC 5508 REQ-7a: the source is the external address of the host that sends the error.
    assert_eq!((said.source.0, said.destination.0, said.ttl), (B_OUTSIDE.0, A.0, TTL - 1));
    let quoted = frames::read(&[&sent[..14], &back.frame[42..]].concat());
    assert_eq!((quoted.source, quoted.destination), (A, B_OUTSIDE));
    // One about nothing that is known is for a socket of the gateway, if for anybody.
    let other = frames::udp((EXTERNAL, 4000), (B.0, 9), b"x");
    let mut bytes = vec![3, 3, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(&other[14..]);
    let sum = nat_tests::lab::traffic::internet_checksum(&bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    left(&bench, &frames::other(1, B.0, EXTERNAL, &bytes));
    let rules = bench.state().rules().unwrap();
    assert!(rules.iter().all(|rule| rule.counters.dropped_packets == 0), "nothing was dropped");
}

#[test]
fn what_is_for_the_gateway_itself_reaches_its_stack() {
    let (bench, lab) = in_a_lab(TWO);
    for frame in [
        // Ports that no rule uses.
        frames::udp(A, (EXTERNAL, 53), b"x"),
        frames::tcp(A, (EXTERNAL2, 22), SYN, b""),
        frames::udp(A, (EXTERNAL, 3999), b"x"),
        // Another address of its, and others altogether.
        frames::udp(A, (INSIDE, 4000), b"x"),
        frames::udp(A, (SERVER, 5000), b"x"),
        frames::echo(true, A.0, EXTERNAL, 4000),
        frames::echo(false, A.0, EXTERNAL, 4000),
        frames::other(47, A.0, EXTERNAL, b"gre"),
        // No rule for its sender.
        frames::udp((STRANGER, 1), B_OUTSIDE, b"x"),
    ] {
        left(&bench, &frame);
    }
    let sockets = lab.gateway.enter(|| {
        let udp = UdpSocket::bind((EXTERNAL2, 5000)).unwrap();
        (udp, TcpListener::bind((Ipv4Addr::UNSPECIFIED, 5000)).unwrap())
    });
    left(&bench, &frames::udp(A, B_OUTSIDE, b"x"));
    left(&bench, &frames::tcp(A, B_OUTSIDE, SYN, b""));
    drop(sockets);
    assert_eq!((sessions(&bench), bench.claims()), (0, 0));
    nobody(&bench, &frames::udp(A, B_OUTSIDE, b"x"));
}

/// With the rules' default too: they speak of what leaves.
#[test]
fn a_default_of_drop_is_not_for_what_is_for_the_gateway() {
    let (mut bench, _lab) = in_a_lab(TWO);
    bench.apply(&format!("{TWO}[defaults]\nunmatched = \"drop\"\n"));
    left(&bench, &frames::udp((STRANGER, 1), B_OUTSIDE, b"x"));
}

#[test]
fn rules_decide_who_is_turned_back() {
    let route = |action: &str| {
        format!(
            "[[rules]]\nname = \"first\"\nfrom = [\"10.77.0.2\"]\nto = [\"203.0.113.2\"]\n\
             action = \"{action}\"\n{TWO}"
        )
    };
    let (mut bench, _lab) = in_a_lab(&route("route"));
    left(&bench, &frames::udp(A, B_OUTSIDE, b"x"));
    bench.apply(&route("drop"));
    let (first, _) = bench.turn(&frames::udp(A, B_OUTSIDE, b"x"));
    assert_eq!(first.verdict, Verdict::RuleDrop);
    // `external` means these addresses, too, and `local-host` still does.
    for to in ["external", "local-host"] {
        bench.apply(&TWO.replace("0.0.0.0/0", to));
        let port = if to == "external" { 9 } else { 10 };
        nobody(&bench, &frames::udp((A.0, port), B_OUTSIDE, b"x"));
        let all: Vec<_> = bench.state().sessions().unwrap().iter().map(|pair| pair.key).collect();
        assert_eq!(all.len(), 1, "{to}");
        bench.advance(std::time::Duration::from_secs(400));
        assert_eq!(bench.sweep(), 1);
    }
}

#[test]
fn a_flow_to_itself_is_refused() {
    let (bench, _lab) = in_a_lab(TWO);
    for frame in [frames::udp(A, A_OUTSIDE, b"me"), frames::tcp(A, A_OUTSIDE, SYN, b"")] {
        let (first, back) = bench.turn(&frame);
        assert_eq!((first.verdict, back.is_none()), (Verdict::HairpinLoop, true));
    }
    assert_eq!((sessions(&bench), bench.claims()), (0, 0));
}

#[test]
fn the_time_to_live_counts_one_hop() {
    let (bench, _lab) = in_a_lab(TWO);
    for ttl in [0, 1] {
        let frame = frames::with_ipv4(&frames::udp(A, B_OUTSIDE, b"x"), |ip| ip.time_to_live = ttl);
        let (first, _) = bench.turn(&frame);
        assert_eq!(first.verdict, Verdict::HairpinTtl);
    }
    assert_eq!(sessions(&bench), 0);
    nobody(&bench, &frames::udp(A, B_OUTSIDE, b"first"));
    let frame = frames::with_ipv4(&frames::udp(B, A_OUTSIDE, b"x"), |ip| ip.time_to_live = 2);
    let (_, back) = bench.turn(&frame);
    assert_eq!(frames::read(&back.unwrap().frame).ttl, 1);
}

#[test]
fn a_client_that_cannot_be_reached_inside_gets_nothing() {
    let (bench, lab) = in_a_lab(TWO);
    nobody(&bench, &frames::udp(A, B_OUTSIDE, b"first"));
    let frame = frames::udp(B, A_OUTSIDE, &[7; 600]);
    delivered(&bench, &frame, B_OUTSIDE, A);
    let verdict = |frame: &[u8]| bench.turn(frame).1.unwrap().verdict;
    ip(&lab.gateway, "link set lan0 mtu 576\n");
    assert_eq!(verdict(&frame), Verdict::HairpinMtu);
    ip(&lab.gateway, "link set lan0 mtu 1500\nroute add unreachable 10.77.0.2/32\n");
    assert_eq!(verdict(&frame), Verdict::HairpinRoute);
    ip(&lab.gateway, "route del unreachable 10.77.0.2/32\nroute add 10.77.0.2/32 dev wan0\n");
    assert_eq!(verdict(&frame), Verdict::HairpinRoute, "that way is outside");
}

/// Only the gateway itself says what has come from inside: from outside, an address of its own is as
/// good as any other that has no session.
#[test]
fn the_outside_cannot_pretend_to_have_been_turned_back() {
    let (bench, _lab) = in_a_lab(TWO);
    nobody(&bench, &frames::udp(A, B_OUTSIDE, b"first"));
    let forged = frames::udp(B_OUTSIDE, A_OUTSIDE, b"forged");
    let seen = bench.send(Hook::TcIngress, &forged);
    // The stack is handed a packet from its own address, which it discards as a martian.
    assert_eq!(seen.verdict, Verdict::TranslatedIn);
    assert_eq!(frames::read(&seen.frame).ttl, TTL);
}

/// XDP has no way to send them on, and leaves them to TC as they are.
#[test]
fn xdp_leaves_them_to_tc() {
    let (bench, _lab) = in_a_lab(TWO);
    for frame in [frames::udp(A, B_OUTSIDE, b"x"), frames::tcp(A, B_OUTSIDE, SYN, b"")] {
        let seen = bench.send(Hook::XdpInside, &frame);
        assert_eq!((seen.verdict, &seen.frame), (Verdict::LeftRoute, &frame));
        nobody(&bench, &frame);
        let seen = bench.send(Hook::XdpInside, &frame);
        assert_eq!(
            (seen.verdict, &seen.frame),
            (Verdict::LeftRoute, &frame),
            "with a session, too"
        );
    }
}
