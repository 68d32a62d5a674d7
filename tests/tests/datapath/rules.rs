//! What the rules decide.
use nat_common::{stats::Hook, verdict::Verdict};
use nat_ctl::datapath::State;

use super::{
    bench::{BOTH, Bench, INTERNET},
    frames::{self, CLIENT, GATEWAY, SERVER, SYN},
};

const SERVER2: std::net::Ipv4Addr = std::net::Ipv4Addr::new(203, 0, 113, 11);

fn to_server(port: u16) -> Vec<u8> {
    frames::udp((CLIENT, 5000), (SERVER, port), b"x")
}

#[test]
fn without_a_rule_table_everything_is_dropped() {
    let bench = Bench::without_rules(64);
    let seen = bench.send(Hook::TcEgress, &to_server(1));
    assert_eq!(seen.verdict, Verdict::NotConfigured);
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = r#"
        [[rules]]
        name = "partner"
        from = ["10.77.0.0/24"]
        to = ["203.0.113.10"]
        action = "route"
        [[rules]]
        name = "blocked"
        from = ["10.77.0.0/24"]
        to = ["203.0.113.0/24"]
        action = "drop"
    "#;
    let bench = Bench::new(&format!("{rules}{INTERNET}"));
    let send = |hook, to| bench.send(hook, &frames::udp((CLIENT, 5000), (to, 1), b"x")).verdict;
    assert_eq!(send(Hook::TcEgress, SERVER), Verdict::Routed);
    assert_eq!(send(Hook::TcEgress, SERVER2), Verdict::RuleDrop);
    // XDP leaves the one to the stack and drops the other, in the same words.
    assert_eq!(send(Hook::XdpInside, SERVER), Verdict::LeftUntouched);
    assert_eq!(bench.sessions(), []);

    let rules = bench.state().rules().unwrap();
    let counts: Vec<_> = rules
        .iter()
        .map(|rule| {
            (rule.name.as_str(), rule.counters.routed_packets, rule.counters.dropped_packets)
        })
        .collect();
    assert_eq!(counts, [("partner", 1, 0), ("blocked", 0, 1), ("internet", 0, 0)]);
}

#[test]
fn what_no_rule_covers_is_as_the_default_says() {
    let stranger = frames::udp((SERVER2, 5000), (SERVER, 1), b"x");
    let mut bench = Bench::new(INTERNET);
    let seen = bench.send(Hook::TcEgress, &stranger);
    assert_eq!((seen.verdict, &seen.frame), (Verdict::Unmatched, &stranger));
    bench.apply(&format!("[defaults]\nunmatched = \"drop\"\n{INTERNET}"));
    assert_eq!(bench.send(Hook::TcEgress, &stranger).verdict, Verdict::UnmatchedDrop);
}

#[test]
fn a_covered_packet_of_another_protocol_never_passes() {
    let rule = INTERNET.replace("action", "protocols = [\"tcp\"]\naction");
    for hooks in BOTH {
        let bench = Bench::new(&rule);
        let udp = bench.send(hooks.out, &to_server(1));
        assert_eq!(udp.verdict, Verdict::ProtocolNotCovered);
        let tcp = frames::tcp((CLIENT, 5000), (SERVER, 1), SYN, b"");
        assert_eq!(bench.send(hooks.out, &tcp).verdict, Verdict::TranslatedOut);
    }
}

#[test]
fn a_later_rule_may_take_what_the_first_does_not_translate() {
    let gre = frames::other(47, CLIENT, SERVER, &[0; 32]);
    let route = r#"
        [[rules]]
        name = "tunnels"
        from = ["10.77.0.0/24"]
        to = ["203.0.113.0/24"]
        action = "route"
    "#;
    let bench = Bench::new(&format!("{INTERNET}{route}"));
    assert_eq!(bench.send(Hook::TcEgress, &gre).verdict, Verdict::Routed);
    assert_eq!(bench.send(Hook::TcEgress, &to_server(1)).verdict, Verdict::TranslatedOut);
}

#[test]
fn a_rule_without_an_address_on_the_way_out_drops() {
    let rule = INTERNET.replace("203.0.113.1\"", "198.51.100.1\"");
    for hooks in BOTH {
        let bench = Bench::new(&rule);
        let seen = bench.send(hooks.out, &to_server(1));
        assert_eq!(seen.verdict, Verdict::AddressNotOnEgress);
    }
}

#[test]
fn rfc4787_req2_a_client_keeps_its_address_in_a_pool() {
    let rule = INTERNET.replace("203.0.113.1\"", "203.0.113.1\", \"203.0.113.2\"");
    let bench = Bench::new(&rule);
    let mut used = std::collections::HashSet::new();
    for last in 2..10 {
        let client = std::net::Ipv4Addr::new(10, 77, 0, last);
        let mut of_client = std::collections::HashSet::new();
        for port in 1..9 {
            let frame = frames::udp((client, 5000), (SERVER, port), b"x");
            of_client.insert(frames::read(&bench.send(Hook::TcEgress, &frame).frame).source.0);
        }
        assert_eq!(of_client.len(), 1, "client {client}");
        used.extend(of_client);
    }
    assert_eq!(used.len(), 2, "both addresses are used");
}

#[test]
fn a_new_table_takes_over_and_sessions_keep_their_rule() {
    let mut bench = Bench::new(INTERNET);
    let first = frames::read(&bench.send(Hook::TcEgress, &to_server(1)).frame);
    // The rule moves behind another one and changes its ports.
    let other = r#"
        [[rules]]
        name = "new"
        from = ["10.77.0.0/24"]
        to = ["203.0.113.11"]
        action = "drop"
    "#;
    for _ in 0..4 {
        bench.apply(&format!("{other}{INTERNET}ports = \"2000-2001\"\n"));
    }
    let again = frames::read(&bench.send(Hook::TcEgress, &to_server(1)).frame);
    assert_eq!(again.source, first.source);
    let new = frames::read(&bench.send(Hook::TcEgress, &to_server(2)).frame);
    assert!((2000..=2001).contains(&new.source.1), "{new:?}");
    assert!(bench.sessions().iter().all(|session| session.rule == "internet"));
}

/// Invariant 3: a packet from outside without a session.
#[test]
fn unsolicited_packets_reach_the_gateway_but_not_the_inside() {
    let bench = Bench::new(INTERNET);
    let to = |address| frames::udp((SERVER, 1), (address, 7), b"x");
    assert_eq!(bench.send(Hook::TcIngress, &to(GATEWAY)).verdict, Verdict::NoSession);
    assert_eq!(bench.send(Hook::TcIngress, &to(CLIENT)).verdict, Verdict::Unsolicited);
    assert_eq!(bench.send(Hook::XdpOutside, &to(CLIENT)).verdict, Verdict::LeftUntouched);
    let gre = frames::other(47, SERVER, CLIENT, &[0; 32]);
    assert_eq!(bench.send(Hook::TcIngress, &gre).verdict, Verdict::Unsolicited);
    let ping = frames::echo(true, SERVER, CLIENT, 1);
    assert_eq!(bench.send(Hook::TcIngress, &ping).verdict, Verdict::Unsolicited);
}

/// The stack fragments what is too long for the inside and may be fragmented.
#[test]
fn length_opens_no_way_in() {
    let bench = Bench::new(INTERNET);
    // Longer than the inside's 1500, as from an outside with jumbo frames.
    let frame = frames::udp((SERVER, 1), (CLIENT, 7), &[0; 1600]);
    assert_eq!(bench.send(Hook::TcIngress, &frame).verdict, Verdict::Unsolicited);
}

/// Routing protocols, DHCP, mDNS: the stack takes them in, whatever the default route says.
#[test]
fn what_is_for_many_is_not_unsolicited() {
    let everybody = INTERNET.replace("10.77.0.0/24", "0.0.0.0/0");
    for rules in [&everybody, "[defaults]\nunmatched = \"drop\"\n"] {
        let bench = Bench::new(rules);
        for to in [[224, 0, 0, 5], [224, 0, 0, 251], [255, 255, 255, 255]] {
            let frame = frames::udp((SERVER, 67), (to.into(), 68), b"x");
            let seen = bench.send(Hook::TcIngress, &frame);
            assert_eq!((seen.verdict, &seen.frame), (Verdict::NoSession, &frame), "{to:?}");
        }
    }
}

/// What may not go out by itself may not come in either.
#[test]
fn a_drop_rule_and_a_closed_default_are_closed_from_outside_too() {
    let drop = r#"
        [[rules]]
        name = "closed"
        from = ["10.77.0.0/24"]
        to = ["0.0.0.0/0"]
        action = "drop"
    "#;
    let frame = frames::udp((SERVER, 1), (CLIENT, 7), b"x");
    for rules in [drop, "[defaults]\nunmatched = \"drop\"\n"] {
        let bench = Bench::new(rules);
        assert_eq!(bench.send(Hook::TcIngress, &frame).verdict, Verdict::Unsolicited);
    }
    let bench = Bench::new("");
    assert_eq!(bench.send(Hook::TcIngress, &frame).verdict, Verdict::NoSession);
}

#[test]
fn a_route_rule_lets_the_outside_in() {
    let rule = r#"
        [[rules]]
        name = "routed"
        from = ["10.77.0.0/24"]
        to = ["0.0.0.0/0"]
        action = "route"
    "#;
    let bench = Bench::new(rule);
    let frame = frames::udp((SERVER, 1), (CLIENT, 7), b"x");
    assert_eq!(bench.send(Hook::TcIngress, &frame).verdict, Verdict::NoSession);
}

#[test]
fn a_rule_for_everybody_does_not_lock_the_gateway_in() {
    let bench = Bench::new(&INTERNET.replace("10.77.0.0/24", "0.0.0.0/0"));
    let frame = frames::tcp((SERVER, 40000), (GATEWAY, 22), SYN, b"");
    assert_eq!(bench.send(Hook::TcIngress, &frame).verdict, Verdict::NoSession);
    let answer = frames::tcp((GATEWAY, 22), (SERVER, 40000), SYN | frames::ACK, b"");
    let seen = bench.send(Hook::TcEgress, &answer);
    assert_eq!((seen.verdict, &seen.frame), (Verdict::Unmatched, &answer));
}
