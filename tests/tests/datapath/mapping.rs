//! Mappings that depend on the inside endpoint alone, and who comes in by them.
use std::{collections::HashSet, net::Ipv4Addr, time::Duration};

use nat_common::{cooldown::Reason, stats::Hook, verdict::Verdict};

use super::{
    bench::{BOTH, Bench, Hooks, INTERNET, NO_COOLDOWN},
    frames::{self, ACK, CLIENT, FIN, GATEWAY, RST, SERVER, SYN},
    lifetime::{LATE, grace, life},
};

const SECOND: Duration = Duration::from_secs(1);
const SERVER2: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// A host that nobody inside has sent to.
const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);

fn tcp_mapped(more: &str) -> String {
    format!("{INTERNET}mapping = \"endpoint-independent\"\n{more}")
}

fn filtering(kind: &str) -> String {
    tcp_mapped(&format!("filtering = \"{kind}\"\n"))
}

/// The external port of a UDP packet from the client.
fn udp_out(bench: &Bench, hooks: Hooks, from: u16, to: (Ipv4Addr, u16)) -> u16 {
    let seen = bench.send(hooks.out, &frames::udp((CLIENT, from), to, b"x"));
    assert_eq!(seen.verdict, Verdict::TranslatedOut);
    frames::read(&seen.frame).source.1
}

fn udp_in(bench: &Bench, from: (Ipv4Addr, u16), port: u16) -> Verdict {
    bench.send(Hook::TcIngress, &frames::udp(from, (GATEWAY, port), b"y")).verdict
}

fn tcp_out(bench: &Bench, hooks: Hooks, from: u16, to: (Ipv4Addr, u16), flags: u8) -> Verdict {
    bench.send(hooks.out, &frames::tcp((CLIENT, from), to, flags, b"")).verdict
}

fn tcp_in(bench: &Bench, from: (Ipv4Addr, u16), port: u16, flags: u8) -> Verdict {
    bench.send(Hook::TcIngress, &frames::tcp(from, (GATEWAY, port), flags, b"")).verdict
}

fn syn_out(bench: &Bench, hooks: Hooks, from: u16, to: (Ipv4Addr, u16)) -> u16 {
    let seen = bench.send(hooks.out, &frames::tcp((CLIENT, from), to, SYN, b""));
    assert_eq!(seen.verdict, Verdict::TranslatedOut);
    frames::read(&seen.frame).source.1
}

/// Mappings, claimed endpoints and permissions.
fn shared(bench: &Bench) -> (usize, usize, usize) {
    let maps = bench.maps();
    let (mut mappings, mut owners, mut permissions) = (0, 0, 0);
    maps.mappings.for_each(|_, _| mappings += 1).unwrap();
    maps.owners.for_each(|_, _| owners += 1).unwrap();
    maps.permissions.for_each(|_, _| permissions += 1).unwrap();
    (mappings, owners, permissions)
}

#[test]
fn rfc4787_req1_an_inside_endpoint_has_one_external_one_for_all_destinations() {
    for hooks in BOTH {
        let bench = Bench::new(INTERNET);
        let remotes = (1..=200).map(|n| (Ipv4Addr::new(198, 51, 100, n), 1000 + u16::from(n)));
        let ports: HashSet<u16> =
            remotes.chain([(SERVER, 53)]).map(|to| udp_out(&bench, hooks, 5000, to)).collect();
        assert_eq!(ports.len(), 1, "{ports:?}");
        assert_eq!((shared(&bench), bench.entries()), ((1, 1, 0), 201));
        let other = udp_out(&bench, hooks, 5001, (SERVER, 53));
        assert!(!ports.contains(&other), "nobody else has it, whatever the destination");
        // What comes back goes to whom it belongs.
        let port = ports.into_iter().next().unwrap();
        let answer = frames::udp((SERVER, 53), (GATEWAY, port), b"y");
        let seen = bench.send(hooks.inbound, &answer);
        assert_eq!(frames::read(&seen.frame).destination, (CLIENT, 5000));
    }
}

#[test]
fn rfc5508_req1_a_query_identifier_does_not_depend_on_the_destination() {
    for hooks in BOTH {
        let bench = Bench::new(INTERNET);
        let echo = |to| {
            let seen = bench.send(hooks.out, &frames::echo(true, CLIENT, to, 77));
            assert_eq!(seen.verdict, Verdict::TranslatedOut);
            frames::read(&seen.frame).source.1
        };
        assert_eq!(echo(SERVER), echo(STRANGER));
    }
}

#[test]
fn rfc5382_req1_tcp_maps_by_the_endpoint_where_the_rule_says_so() {
    for hooks in BOTH {
        let bench = Bench::new(&tcp_mapped(""));
        let ports: HashSet<u16> =
            (80..120).map(|port| syn_out(&bench, hooks, 5000, (SERVER, port))).collect();
        assert_eq!(ports.len(), 1);
        // And by default it does not: a port serves many.
        let bench = Bench::new(&format!("{INTERNET}ports = \"4000-4000\"\n"));
        for n in 0..10 {
            assert_eq!(syn_out(&bench, hooks, 5000 + n, (SERVER, 80 + n)), 4000);
        }
        assert_eq!(shared(&bench), (0, 0, 0));
    }
}

#[test]
fn rfc4787_req11_contention_and_a_full_range_change_no_mapping() {
    for hooks in BOTH {
        let bench = Bench::new(&format!("{INTERNET}ports = \"4000-4003\"\n"));
        let mine = udp_out(&bench, hooks, 5000, (SERVER, 1));
        for from in 5001..5004 {
            assert_ne!(udp_out(&bench, hooks, from, (SERVER, 2)), mine);
        }
        // Every port has its owner, and nobody gets another's, however different the destination.
        let refused = frames::udp((CLIENT, 6000), (STRANGER, 9), b"x");
        assert_eq!(bench.send(hooks.out, &refused).verdict, Verdict::NoPort);
        for port in 2..100 {
            assert_eq!(udp_out(&bench, hooks, 5000, (SERVER, port)), mine);
        }
        assert_eq!(shared(&bench).0, 4);
    }
}

#[test]
fn a_mapping_lives_as_long_as_its_last_session_and_then_its_port_is_free() {
    for hooks in BOTH {
        let mut bench = Bench::new(&format!("{INTERNET}ports = \"4000-4000\"\n"));
        udp_out(&bench, hooks, 5000, (SERVER, 53));
        udp_out(&bench, hooks, 5000, (SERVER, 3478));
        bench.advance(life(20));
        assert_eq!(bench.sweep(), 1, "DNS is over");
        assert_eq!(shared(&bench), (1, 1, 0));
        let rival = frames::udp((CLIENT, 6000), (STRANGER, 9), b"x");
        assert_eq!(bench.send(hooks.out, &rival).verdict, Verdict::NoPort);
        bench.advance(life(300) - life(20));
        assert_eq!(bench.sweep(), 1);
        assert_eq!((shared(&bench), bench.entries(), bench.claims()), ((0, 0, 0), 0, 0));
        assert_eq!(bench.send(hooks.out, &rival).verdict, Verdict::TranslatedOut);
    }
}

/// Nobody has swept yet, and the session's rule mapped by destination.
#[test]
fn a_port_of_an_ended_session_is_free_for_a_mapping() {
    for hooks in BOTH {
        let one_port = format!("{INTERNET}ports = \"4000-4000\"\n");
        let by_destination = "mapping = \"address-and-port-dependent\"\n";
        let mut bench = Bench::new(&format!("{one_port}{by_destination}"));
        udp_out(&bench, hooks, 1, (SERVER, 80));
        bench.apply(&one_port);
        let second = frames::udp((CLIENT, 2), (SERVER, 80), b"x");
        assert_eq!(bench.send(hooks.out, &second).verdict, Verdict::NoPort);
        bench.advance(life(300) + LATE);
        assert_eq!(udp_out(&bench, hooks, 2, (SERVER, 80)), 4000);
        assert_eq!((bench.entries(), bench.claims()), (1, 1));
        assert_eq!(shared(&bench), (1, 1, 0));
    }
}

#[test]
fn without_a_session_the_strictest_filter_lets_nobody_in() {
    for hooks in BOTH {
        let bench = Bench::new(INTERNET);
        let port = udp_out(&bench, hooks, 5000, (SERVER, 3478));
        assert_eq!(udp_in(&bench, (SERVER, 3478), port), Verdict::TranslatedIn);
        assert_eq!(udp_in(&bench, (SERVER, 3479), port), Verdict::Filtered);
        assert_eq!(udp_in(&bench, (STRANGER, 3478), port), Verdict::Filtered);
        let free = if port == 4000 { 4001 } else { 4000 };
        assert_eq!(udp_in(&bench, (STRANGER, 3478), free), Verdict::NoMapping);
        assert_eq!(bench.entries(), 1);
    }
}

#[test]
fn rfc4787_req8_endpoint_independent_filtering_lets_everybody_in() {
    for hooks in BOTH {
        let mut bench = Bench::new(&filtering("endpoint-independent"));
        let port = udp_out(&bench, hooks, 5000, (SERVER, 3478));
        let knock = frames::udp((STRANGER, 9), (GATEWAY, port), b"y");
        // XDP leaves to TC what has no session.
        assert_eq!(bench.send(Hook::XdpOutside, &knock).verdict, Verdict::LeftUntouched);
        let seen = bench.send(Hook::TcIngress, &knock);
        assert_eq!(seen.verdict, Verdict::TranslatedIn);
        assert_eq!(frames::read(&seen.frame).destination, (CLIENT, 5000));
        // From then on it is a session as any other.
        assert_eq!(bench.send(hooks.inbound, &knock).verdict, Verdict::TranslatedIn);
        assert_eq!(udp_out(&bench, hooks, 5000, (STRANGER, 9)), port);
        assert_eq!((bench.entries(), bench.claims(), shared(&bench).0), (2, 2, 1));
        bench.advance(life(300));
        assert_eq!(udp_in(&bench, (Ipv4Addr::new(9, 9, 9, 9), 9), port), Verdict::Filtered);
        assert_eq!(bench.sweep(), 2);
        assert_eq!(shared(&bench), (0, 0, 0));
        assert_eq!(udp_in(&bench, (STRANGER, 9), port), Verdict::NoMapping);
    }
}

#[test]
fn rfc4787_req8_address_dependent_filtering_lets_in_whom_the_client_has_sent_to() {
    for hooks in BOTH {
        let mut bench = Bench::new(&filtering("address-dependent"));
        let port = udp_out(&bench, hooks, 5000, (SERVER, 53));
        udp_out(&bench, hooks, 5000, (STRANGER, 3478));
        assert_eq!(shared(&bench), (1, 1, 2));
        assert_eq!(udp_in(&bench, (SERVER, 9999), port), Verdict::TranslatedIn);
        assert_eq!(udp_in(&bench, (Ipv4Addr::new(9, 9, 9, 9), 53), port), Verdict::Filtered);
        // DNS is over, and with it what was let in by it alone.
        bench.advance(life(20));
        assert_eq!(udp_in(&bench, (SERVER, 9998), port), Verdict::Filtered);
        assert_eq!(udp_in(&bench, (STRANGER, 9), port), Verdict::TranslatedIn);
        bench.advance(life(300));
        bench.sweep();
        assert_eq!((shared(&bench), bench.entries()), ((0, 0, 0), 0));
    }
}

/// Otherwise whoever is outside could keep a port open for ever.
#[test]
fn rfc4787_req6_packets_from_outside_keep_no_mapping_open() {
    for hooks in BOTH {
        let mut bench = Bench::new(&filtering("endpoint-independent"));
        let port = udp_out(&bench, hooks, 5000, (SERVER, 3478));
        let mut closed = false;
        for n in 1..=10 {
            let verdict = udp_in(&bench, (STRANGER, n), port);
            assert!(matches!(verdict, Verdict::TranslatedIn) || n > 3, "{n}");
            closed |= matches!(verdict, Verdict::Filtered);
            bench.advance(SECOND * 100);
            bench.sweep();
        }
        assert!(closed);
        assert_eq!(shared(&bench), (0, 0, 0));
    }
}

#[test]
fn packets_from_inside_keep_it_open_for_all() {
    for hooks in BOTH {
        let mut bench = Bench::new(&filtering("endpoint-independent"));
        let port = udp_out(&bench, hooks, 5000, (SERVER, 3478));
        for n in 1..=5 {
            bench.advance(SECOND * 200);
            bench.sweep();
            assert_eq!(udp_out(&bench, hooks, 5000, (SERVER, 3478)), port);
            assert_eq!(udp_in(&bench, (STRANGER, n), port), Verdict::TranslatedIn);
        }
    }
}

#[test]
fn rfc5382_req3_a_syn_from_outside_opens_a_connection_where_the_filter_lets_it() {
    for hooks in BOTH {
        let mut bench = Bench::new(&filtering("endpoint-independent"));
        let port = syn_out(&bench, hooks, 5000, (SERVER, 80));
        let peer = (STRANGER, 6881);
        for flags in [ACK, SYN | ACK, RST, FIN | ACK, 0] {
            assert_eq!(tcp_in(&bench, peer, port, flags), Verdict::Filtered);
        }
        assert_eq!(tcp_in(&bench, peer, port, SYN), Verdict::TranslatedIn);
        let state = || {
            let sessions = bench.sessions();
            sessions.iter().find(|session| session.remote.port == 6881).unwrap().state
        };
        assert_eq!(state(), "opening");
        assert_eq!(tcp_out(&bench, hooks, 5000, peer, SYN | ACK), Verdict::TranslatedOut);
        assert_eq!(state(), "established");
        let ack = frames::tcp_at(
            (STRANGER, 6881),
            (GATEWAY, port),
            ACK,
            frames::Place::at(1001, 1001),
            b"data",
        );
        assert_eq!(bench.send(hooks.inbound, &ack).verdict, Verdict::TranslatedIn);
        bench.advance(SECOND * 3600);
        bench.sweep();
        assert_eq!((bench.entries(), shared(&bench).0), (1, 1), "established, and its mapping");
        assert_eq!(bench.send(hooks.inbound, &ack).verdict, Verdict::TranslatedIn);
        assert_eq!(tcp_in(&bench, (STRANGER, 6882), port, SYN), Verdict::TranslatedIn);
    }
}

/// A connection that nobody inside answers is over as soon as an unanswered one from inside, and the
/// SYNs of whoever wants it do not prolong it.
#[test]
fn unanswered_syns_from_outside_prolong_nothing() {
    let mut bench = Bench::new(&filtering("endpoint-independent"));
    let port = syn_out(&bench, BOTH[0], 5000, (SERVER, 80));
    let peer = (STRANGER, 6881);
    assert_eq!(tcp_in(&bench, peer, port, SYN), Verdict::TranslatedIn);
    for _ in 0..3 {
        bench.advance(SECOND * 80);
        assert_eq!(tcp_in(&bench, peer, port, SYN), Verdict::TranslatedIn);
    }
    bench.advance(grace(240));
    assert_eq!(tcp_in(&bench, peer, port, SYN), Verdict::Filtered, "the mapping is over as well");
    assert_eq!(bench.sweep(), 2);
    assert_eq!(shared(&bench), (0, 0, 0));
}

#[test]
fn rfc5382_req2_both_may_open_at_once() {
    for hooks in BOTH {
        for kind in ["endpoint-independent", "address-and-port-dependent"] {
            let bench = Bench::new(&filtering(kind));
            let port = syn_out(&bench, hooks, 5000, (SERVER, 80));
            assert_eq!(tcp_in(&bench, (SERVER, 80), port, SYN), Verdict::TranslatedIn);
            assert_eq!(bench.sessions()[0].state, "established");
            assert_eq!(bench.entries(), 1);
        }
        // The other one first.
        let bench = Bench::new(&filtering("endpoint-independent"));
        let port = syn_out(&bench, hooks, 5000, (SERVER, 80));
        assert_eq!(tcp_in(&bench, (STRANGER, 80), port, SYN), Verdict::TranslatedIn);
        assert_eq!(syn_out(&bench, hooks, 5000, (STRANGER, 80)), port);
        let states: Vec<_> = bench.sessions().iter().map(|session| session.state).collect();
        assert!(states.contains(&"established"), "{states:?}");
    }
}

/// What a rule forbids inside to say, it forbids outside to ask.
#[test]
fn the_rule_for_the_answer_decides_who_comes_in() {
    for hooks in BOTH {
        let blocked = "[[rules]]\nname = \"blocked\"\nfrom = [\"10.77.0.0/24\"]\n\
                       to = [\"198.51.100.77/32\"]\naction = \"drop\"\n";
        let mut bench = Bench::new(&format!("{blocked}{}", filtering("endpoint-independent")));
        let port = udp_out(&bench, hooks, 5000, (SERVER, 3478));
        assert_eq!(udp_in(&bench, (STRANGER, 9), port), Verdict::Filtered);
        assert_eq!(udp_in(&bench, (SERVER2, 9), port), Verdict::TranslatedIn);
        // And a filter that becomes stricter is so at once.
        bench.apply(&filtering("address-and-port-dependent"));
        assert_eq!(udp_in(&bench, (STRANGER, 9), port), Verdict::Filtered);
        assert_eq!(udp_in(&bench, (SERVER2, 9), port), Verdict::TranslatedIn, "a session by now");
    }
}

/// The last session's end frees the port for others only when it has rested, for its owner at once.
#[test]
fn a_mapping_rests_by_its_port_but_not_for_its_owner() {
    for hooks in BOTH {
        let mut bench = Bench::without_rules(64);
        let mut cooldown = nat_common::cooldown::Cooldown { enabled: 1, ..NO_COOLDOWN };
        cooldown.wait_ns[Reason::Fin as usize] = 1000 * 1_000_000_000;
        cooldown.wait_ns[Reason::Rst as usize] = 1000 * 1_000_000_000;
        bench.cooldown = Some(cooldown);
        bench.apply(&tcp_mapped("ports = \"4000-4000\"\n"));
        let port = syn_out(&bench, hooks, 5000, (SERVER, 80));
        assert_eq!(tcp_in(&bench, (SERVER, 80), port, SYN | ACK), Verdict::TranslatedIn);
        let rst =
            frames::tcp_at((CLIENT, 5000), (SERVER, 80), RST, frames::Place::at(1001, 1001), b"");
        assert_eq!(bench.send(hooks.out, &rst).verdict, Verdict::TranslatedOut);
        bench.advance(life(240));
        assert_eq!((bench.sweep(), shared(&bench).0), (1, 0));
        assert_eq!(tcp_out(&bench, hooks, 6000, (STRANGER, 81), SYN), Verdict::NoPort);
        assert_eq!(tcp_out(&bench, hooks, 5000, (SERVER, 80), SYN), Verdict::NoPort);
        assert_eq!(syn_out(&bench, hooks, 5000, (STRANGER, 81)), 4000);
    }
}

#[test]
fn flushing_removes_mappings_with_their_sessions() {
    let bench = Bench::new(&filtering("address-dependent"));
    for port in 1..=70 {
        udp_out(&bench, BOTH[0], 5000, (SERVER, port));
    }
    assert_eq!(bench.flush(), 70);
    assert_eq!((shared(&bench), bench.entries(), bench.claims()), ((0, 0, 0), 0, 0));
}

#[test]
fn a_full_table_leaves_no_mapping_behind() {
    for hooks in BOTH {
        let mut bench = Bench::without_rules(16);
        bench.apply(&filtering("address-dependent"));
        for n in 0..16 {
            udp_out(&bench, hooks, 5000 + n, (SERVER, 53));
        }
        for from in [5000, 6000] {
            let more = frames::udp((CLIENT, from), (STRANGER, 9), b"x");
            assert_eq!(bench.send(hooks.out, &more).verdict, Verdict::TableFull);
        }
        let (mappings, owners, permissions) = shared(&bench);
        assert_eq!((mappings, owners, permissions, bench.claims()), (16, 16, 16, 16));
        bench.advance(life(20));
        assert_eq!(bench.sweep(), 16);
        assert_eq!(shared(&bench), (0, 0, 0));
    }
}
