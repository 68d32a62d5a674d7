//! When sessions end: never early, and without anybody's help.
use std::time::Duration;

use nat_common::{stats::Hook, verdict::Verdict};
use nat_ctl::datapath::State;

use super::{
    bench::{BOTH, Bench, Hooks, INTERNET},
    frames::{self, CLIENT, GATEWAY, SERVER},
    lifetime::{LATE, grace, life},
};

const SECOND: Duration = Duration::from_secs(1);

fn request(port: u16) -> Vec<u8> {
    frames::udp((CLIENT, 5000), (SERVER, port), b"x")
}

fn open(bench: &Bench, hooks: Hooks, port: u16) -> u16 {
    let seen = bench.send(hooks.out, &request(port));
    assert_eq!(seen.verdict, Verdict::TranslatedOut);
    frames::read(&seen.frame).source.1
}

/// Whether an answer to external port `external` still finds its session.
fn answered(bench: &Bench, hooks: Hooks, port: u16, external: u16) -> bool {
    let answer = frames::udp((SERVER, port), (GATEWAY, external), b"y");
    bench.send(hooks.inbound, &answer).verdict == Verdict::TranslatedIn
}

#[test]
fn rfc4787_req5_udp_lives_its_time_and_little_more() {
    for hooks in BOTH {
        for (port, timeout) in [(3478, 300), (53, 20)] {
            let mut bench = Bench::new(INTERNET);
            let external = open(&bench, hooks, port);
            bench.advance(Duration::from_secs(timeout));
            assert!(answered(&bench, hooks, port, external), "ended early");
            bench.advance(grace(timeout));
            assert!(!answered(&bench, hooks, port, external), "still there");
            assert_eq!(bench.sessions(), []);
        }
    }
}

/// A packet does not move the deadline if another one has moved it just now. It keeps the session open
/// for all of its time nevertheless.
#[test]
fn rfc4787_req6_every_packet_from_inside_keeps_the_session_for_its_whole_time() {
    for hooks in BOTH {
        for (port, timeout) in [(3478, 300), (53, 20)] {
            for after in [grace(timeout) / 2, grace(timeout) - LATE, grace(timeout)] {
                let mut bench = Bench::new(INTERNET);
                let external = open(&bench, hooks, port);
                bench.advance(after);
                assert_eq!(open(&bench, hooks, port), external);
                bench.advance(Duration::from_secs(timeout) - Duration::from_nanos(1));
                assert!(answered(&bench, hooks, port, external), "ended early: {after:?}");
                bench.advance(grace(timeout) + Duration::from_nanos(1));
                assert!(!answered(&bench, hooks, port, external), "still there: {after:?}");
            }
        }
    }
}

#[test]
fn rfc4787_req6_outbound_packets_keep_udp_alive_and_inbound_ones_do_not() {
    for hooks in BOTH {
        let mut bench = Bench::new(INTERNET);
        let external = open(&bench, hooks, 3478);
        for _ in 0..4 {
            bench.advance(SECOND * 200);
            assert_eq!(open(&bench, hooks, 3478), external);
        }
        // From here on only the server talks.
        bench.advance(SECOND * 200);
        assert!(answered(&bench, hooks, 3478, external));
        bench.advance(life(300) - SECOND * 200);
        assert!(!answered(&bench, hooks, 3478, external));
    }
}

#[test]
fn rfc5508_req2_an_echo_lives_its_time() {
    for hooks in BOTH {
        let mut bench = Bench::new(INTERNET);
        let out = bench.send(hooks.out, &frames::echo(true, CLIENT, SERVER, 7));
        let reply = frames::echo(false, SERVER, GATEWAY, frames::read(&out.frame).source.1);
        bench.advance(SECOND * 60);
        assert_eq!(bench.send(hooks.inbound, &reply).verdict, Verdict::TranslatedIn);
        bench.advance(grace(60));
        assert_ne!(bench.send(hooks.inbound, &reply).verdict, Verdict::TranslatedIn);
    }
}

#[test]
fn a_flow_that_comes_back_late_gets_a_new_session() {
    for hooks in BOTH {
        let mut bench = Bench::new(INTERNET);
        let before = open(&bench, hooks, 3478);
        bench.advance(SECOND * 1000);
        let after = open(&bench, hooks, 3478);
        assert_eq!((bench.entries(), bench.claims()), (1, 1), "the old one is gone");
        assert!(answered(&bench, hooks, 3478, after));
        assert!(before == after || !answered(&bench, hooks, 3478, before));
        assert_eq!(bench.sessions()[0].age_s, 0);
    }
}

#[test]
fn timeouts_follow_the_configuration() {
    let mut bench = Bench::new(&format!("[timeouts]\nudp = \"5s\"\n{INTERNET}"));
    let external = open(&bench, BOTH[0], 3478);
    bench.advance(life(5));
    assert!(!answered(&bench, BOTH[0], 3478, external));
}

#[test]
fn the_sweep_removes_what_has_ended_and_nothing_else() {
    let mut bench = Bench::new(INTERNET);
    for port in 1..=150 {
        open(&bench, BOTH[0], port);
    }
    bench.advance(SECOND * 200);
    for port in 101..=150 {
        open(&bench, BOTH[0], port);
    }
    assert_eq!(bench.sweep(), 1, "DNS only");
    bench.advance(life(300) - SECOND * 200);
    assert_eq!(bench.sweep(), 99);
    assert_eq!((bench.entries(), bench.claims()), (50, 50));
    assert_eq!(bench.sweep(), 0);
    // What the ended ones have carried is kept with their rule.
    let rule = bench.state().rules().unwrap().remove(0).counters;
    assert_eq!((rule.sessions, rule.ended_packets_out), (150, 100));
}

/// Keys that the controller read a while ago: the decision is the program's.
#[test]
fn the_sweep_looks_again_before_it_removes() {
    let mut bench = Bench::new(INTERNET);
    let external = open(&bench, BOTH[0], 3478);
    bench.advance(SECOND * 250);
    open(&bench, BOTH[0], 3478);
    bench.advance(SECOND * 250);
    // 500 s after the first packet, 250 s after the last.
    assert_eq!(bench.sweep(), 0);
    assert!(answered(&bench, BOTH[0], 3478, external));
}

/// An outbound entry that has been silent while the other direction went on.
#[test]
fn a_download_keeps_the_uploading_half_alive() {
    let mut bench = Bench::new(INTERNET);
    let syn = frames::tcp((CLIENT, 5000), (SERVER, 80), frames::SYN, b"");
    let external = frames::read(&bench.send(Hook::TcEgress, &syn).frame).source.1;
    let answer = |flags| frames::tcp((SERVER, 80), (GATEWAY, external), flags, b"data");
    assert_eq!(
        bench.send(Hook::TcIngress, &answer(frames::SYN | frames::ACK)).verdict,
        Verdict::TranslatedIn
    );
    for _ in 0..3 {
        bench.advance(SECOND * 7000);
        let seen = bench.send(Hook::TcIngress, &answer(frames::ACK));
        assert_eq!(seen.verdict, Verdict::TranslatedIn);
    }
    let late = frames::tcp((CLIENT, 5000), (SERVER, 80), frames::ACK, b"still here");
    let seen = bench.send(Hook::TcEgress, &late);
    assert_eq!(seen.verdict, Verdict::TranslatedOut);
    assert_eq!(frames::read(&seen.frame).source.1, external);
    assert_eq!(bench.sweep(), 0);
}
