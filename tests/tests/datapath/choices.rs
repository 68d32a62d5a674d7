//! The choice of a source model, as the programs look it up.
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nat_common::{source::Choice, verdict::Verdict};

use super::{
    bench::{BOTH, Bench, EXTERNAL2},
    frames::{self, CLIENT, GATEWAY, SERVER, SYN},
};

const MODEL: &str = r#"
[[rules]]
name = "internet"
from = ["10.77.0.0/24"]
to = ["0.0.0.0/0"]
action = "snat"
source = "strong-host"
"#;

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

fn chosen(address: impl Into<Ipv4Addr>) -> Choice {
    Choice::chosen(address.into().into())
}

#[test]
fn the_longest_prefix_decides() {
    for hooks in BOTH {
        let mut bench = Bench::new(MODEL);
        bench.apply_with(
            MODEL,
            vec![
                (net("0.0.0.0/0"), chosen(EXTERNAL2)),
                (net("203.0.113.0/24"), Choice::refused(Verdict::NoSource)),
                (net("203.0.113.10/32"), chosen(GATEWAY)),
            ],
        );
        let out = bench.send(hooks.out, &frames::tcp((CLIENT, 5000), (SERVER, 80), SYN, b""));
        assert_eq!(out.verdict, Verdict::TranslatedOut);
        assert_eq!(frames::read(&out.frame).source.0, GATEWAY);
    }
}

#[test]
fn a_destination_without_a_source_is_dropped_with_the_reason() {
    for hooks in BOTH {
        for (choices, verdict) in [
            (vec![], Verdict::NoRoute),
            (vec![(net("198.51.100.0/24"), chosen(GATEWAY))], Verdict::NoRoute),
            (vec![(net("0.0.0.0/0"), Choice::refused(Verdict::NoSource))], Verdict::NoSource),
            (
                vec![(net("203.0.113.10/32"), Choice::refused(Verdict::NotUnicast))],
                Verdict::NotUnicast,
            ),
        ] {
            let mut bench = Bench::new(MODEL);
            bench.apply_with(MODEL, choices);
            let out = bench.send(hooks.out, &frames::tcp((CLIENT, 5000), (SERVER, 80), SYN, b""));
            assert_eq!(out.verdict, verdict);
            assert_eq!(bench.entries() + bench.claims(), 0);
        }
    }
}

/// Rule tables come and go, and the choices of those that are not in force any more with them.
#[test]
fn choices_of_old_rule_tables_do_not_pile_up() {
    let mut bench = Bench::new(MODEL);
    let choices =
        || (0..=255).map(|n| (net(&format!("198.51.{n}.0/24")), chosen(GATEWAY))).collect();
    for _ in 0..5 {
        bench.apply_with(MODEL, choices());
    }
    // Those in force, and those before, which a packet may be looking at.
    assert!(bench.maps().choices.keys().count() <= 2 * 256);
}
