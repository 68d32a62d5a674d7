//! Exhaustion: refused by name, nothing lost, nothing left behind.
use std::{collections::HashSet, net::Ipv4Addr};

use nat_common::{stats::Hook, verdict::Verdict};

use super::{
    bench::{BOTH, Bench, INTERNET},
    frames::{self, CLIENT, GATEWAY, SERVER, SYN},
    lifetime::{LATE, life},
};

fn from_port(port: u16) -> Vec<u8> {
    frames::udp((CLIENT, port), (SERVER, 3478), b"x")
}

/// A rule with these ports, of which each serves many destinations.
fn by_destination(ports: &str) -> String {
    format!("{INTERNET}ports = \"{ports}\"\nmapping = \"address-and-port-dependent\"\n")
}

#[test]
fn one_port_serves_one_client_of_a_server_and_every_server() {
    for hooks in BOTH {
        let bench = Bench::new(&by_destination("4000-4000"));
        assert_eq!(bench.send(hooks.out, &from_port(1)).verdict, Verdict::TranslatedOut);
        assert_eq!(bench.send(hooks.out, &from_port(2)).verdict, Verdict::NoPort);
        let elsewhere = frames::udp((CLIENT, 2), (SERVER, 3479), b"x");
        assert_eq!(bench.send(hooks.out, &elsewhere).verdict, Verdict::TranslatedOut);
        // The session that was there first is not touched.
        assert_eq!(bench.send(hooks.out, &from_port(1)).verdict, Verdict::TranslatedOut);
        assert_eq!((bench.entries(), bench.claims()), (2, 2));
    }
}

/// Invariant 2: no tuple is given out twice, up to the last.
#[test]
fn external_tuples_are_unique() {
    // From the middle of 64 ports that are looked at together to the middle of others.
    let ports = 450;
    let rule = format!("{INTERNET}ports = \"4001-{}\"\n", 4000 + ports);
    let bench = Bench::new(&rule);
    let mut tuples = HashSet::new();
    let mut refused = 0;
    for port in 1..=2 * ports {
        let seen = bench.send(Hook::TcEgress, &from_port(port));
        match seen.verdict {
            Verdict::TranslatedOut => {
                assert!(tuples.insert(frames::read(&seen.frame).source), "given out twice");
            }
            verdict => {
                assert_eq!(verdict, Verdict::NoPort);
                refused += 1;
            }
        }
    }
    assert_eq!((tuples.len(), refused), (usize::from(ports), ports), "all ports, once each");
    assert_eq!(bench.claims(), tuples.len());
}

/// The ports of the gateway's own services, for instance.
#[test]
fn rfc6056_3_2_excluded_ports_are_never_used() {
    let rule =
        format!("{INTERNET}ports = \"4000-4011\"\nexclude_ports = [4000, \"4003-4005\", 4010]\n");
    let allowed: HashSet<u16> = [4001, 4002, 4006, 4007, 4008, 4009, 4011].into();
    for hooks in BOTH {
        let bench = Bench::new(&rule);
        let mut used = HashSet::new();
        for port in 1..=20 {
            let seen = bench.send(hooks.out, &from_port(port));
            match seen.verdict {
                Verdict::TranslatedOut => {
                    assert!(used.insert(frames::read(&seen.frame).source.1), "given out twice");
                }
                verdict => assert_eq!(verdict, Verdict::NoPort),
            }
        }
        assert_eq!(used, allowed);
        // They are the stack's, whether it has a socket there or not.
        for port in 4000..=4011 {
            let frame = frames::tcp((SERVER, 80), (GATEWAY, port), SYN, b"");
            let silent = bench.send(Hook::TcIngress, &frame).verdict == Verdict::NoMapping;
            assert_eq!(silent, allowed.contains(&port), "{port}");
        }
    }
}

#[test]
fn rfc6888_req11_a_full_table_refuses_and_ends_nobody() {
    for hooks in BOTH {
        let mut bench = Bench::without_rules(32);
        bench.apply(INTERNET);
        let mut established = Vec::new();
        let mut full = 0;
        for port in 1..=100 {
            match bench.send(hooks.out, &from_port(port)).verdict {
                Verdict::TranslatedOut => established.push(port),
                verdict => {
                    assert_eq!(verdict, Verdict::TableFull);
                    full += 1;
                }
            }
        }
        assert!(full > 0 && established.len() <= 32, "{} sessions", established.len());
        assert_eq!(bench.claims(), bench.entries(), "a refused session left its claim");
        for port in established {
            assert_eq!(bench.send(hooks.out, &from_port(port)).verdict, Verdict::TranslatedOut);
        }
    }
}

/// With nobody to sweep, ended sessions are in nobody's way.
#[test]
fn the_data_path_takes_back_ports_of_ended_sessions() {
    for hooks in BOTH {
        let mut bench = Bench::new(&by_destination("4000-4099"));
        let opens = |bench: &Bench, client: u8, port| {
            let client = Ipv4Addr::new(10, 77, 0, client);
            let frame = frames::udp((client, port), (SERVER, 3478), b"x");
            bench.send(hooks.out, &frame).verdict
        };
        for round in [2, 9] {
            for port in 1..=100 {
                assert_eq!(opens(&bench, round, port), Verdict::TranslatedOut, "{round} {port}");
            }
            assert_eq!(opens(&bench, round, 101), Verdict::NoPort);
            assert_eq!((bench.entries(), bench.claims()), (100, 100));
            bench.advance(life(300) + LATE);
        }
    }
}

#[test]
fn rfc6056_ports_do_not_follow_from_each_other() {
    let bench = Bench::new(INTERNET);
    let mut ports = Vec::new();
    for port in 1..=400 {
        ports.push(frames::read(&bench.send(Hook::TcEgress, &from_port(port)).frame).source.1);
    }
    let steps: HashSet<_> = ports.windows(2).map(|w| w[1].wrapping_sub(w[0])).collect();
    assert!(steps.len() > 380, "only {} different steps", steps.len());
    let high = ports.iter().filter(|port| **port >= 33280).count();
    assert!((140..260).contains(&high), "{high} of 400 in the upper half of the range");
}
