use proptest::prelude::*;

use super::*;
use crate::{
    addr::{Ipv4, Port},
    flow::Protocol,
};

const MS: u64 = 1_000_000;

fn cooldown(wait_ms: u64) -> Cooldown {
    Cooldown {
        wait_ns: [wait_ms * MS; Reason::COUNT],
        enabled: 1,
        scope: 0,
        pressure_reuse: 0,
        zero: [0; 5],
    }
}

fn now(ns: u64) -> u64 {
    ns / TICK_NS
}

proptest! {
    #[test]
    fn a_port_is_never_thought_free_early_and_at_most_two_ticks_late(
        closed_ns in 0..u64::MAX / 4,
        wait_ms in 0_u64..=100_000_000,
        reason in 0..Reason::COUNT as u8,
    ) {
        let (cooldown, reason) = (cooldown(wait_ms), Reason::from_number(reason));
        let waits = Waits::new(&cooldown);
        let hint = Hint::ended(closed_ns, reason);
        let free_ns = closed_ns + wait_ms * MS;
        let left = |ns| hint.rank(&waits, now(ns)).map(Rank::left);
        if wait_ms > 0 {
            prop_assert_ne!(left(free_ns - 1), Some(0));
        }
        prop_assert_eq!(left(free_ns + 2 * TICK_NS), Some(0));
        let release = waits.release(hint, now(closed_ns));
        prop_assert!(release * TICK_NS >= free_ns && release * TICK_NS <= free_ns + 2 * TICK_NS);
    }

    #[test]
    fn what_has_been_free_for_longer_goes_first(
        a_ns in 0..1_u64 << 50, b_ns in 0..1_u64 << 50, turn: u32, i in 0..64_u32, j in 0..64_u32,
    ) {
        let waits = Waits::new(&cooldown(0));
        let now = now(1 << 50) + 4;
        let rank = |ns| Hint::ended(ns, Reason::Fin).rank(&waits, now).unwrap();
        prop_assume!(a_ns / TICK_NS < b_ns / TICK_NS);
        prop_assert!(rank(a_ns).of(i, turn) < rank(b_ns).of(j, turn));
        prop_assert_eq!(rank(a_ns).of(i, turn).index(turn), i);
    }

    #[test]
    fn the_allowed_ports_are_those_of_the_range(a in 1_u16.., b in 1_u16.., chunk in 0..CHUNKS) {
        let range = PortRange { min: a.min(b), max: a.max(b) };
        let allowed = allowed(range, chunk);
        for index in 0..CHUNK_PORTS {
            let port = chunk * CHUNK_PORTS + index;
            let inside = u32::from(range.min) <= port && port <= u32::from(range.max);
            prop_assert_eq!(allowed >> index & 1 == 1, inside, "{}", port);
        }
    }

    #[test]
    fn a_look_is_lost_where_something_has_ended_meanwhile(
        word: u64, stamp: u64, tick in 0..NEVER, seen in 0..NEVER,
    ) {
        let before = When(word).looked(stamp, seen);
        prop_assert_eq!(before.tick(stamp), seen);
        prop_assert_eq!(before.tick(stamp ^ 1), 0, "other ports or settings");
        let after = before.lowered(tick);
        prop_assert_ne!(after, before);
        prop_assert_eq!(after.tick(stamp), tick.min(seen));
    }
}

#[test]
fn a_taken_port_is_never_free_and_an_unknown_one_goes_first() {
    let waits = Waits::new(&cooldown(240_000));
    assert_eq!(Hint::TAKEN.rank(&waits, 77), None);
    assert_eq!(waits.release(Hint::TAKEN, 77), NEVER);
    let unknown = Hint::UNKNOWN.rank(&waits, 77).unwrap();
    assert_eq!(unknown.left(), 0);
    let long_ago = Hint::ended(0, Reason::Fin).rank(&waits, 1_000_000).unwrap();
    assert!(unknown.of(63, 0) < long_ago.of(0, 0));
}

#[test]
fn a_held_port_is_looked_at_again_after_a_second_whatever_the_cooldown() {
    let waits = Waits::new(&cooldown(0));
    let hint = Hint::held(0);
    assert_ne!(hint.rank(&waits, now(999 * MS)).unwrap().left(), 0);
    assert_eq!(hint.rank(&waits, now(1008 * MS)).unwrap().left(), 0);
}

#[test]
fn a_clock_a_little_behind_sees_no_port_as_free() {
    let waits = Waits::new(&cooldown(1000));
    let hint = Hint::ended(1 << 40, Reason::Rst);
    assert_ne!(hint.rank(&waits, now((1 << 40) - 50 * MS)).unwrap().left(), 0);
}

#[test]
fn no_hint_of_an_end_is_that_of_another_kind() {
    for reason in (0..Reason::COUNT as u8).map(Reason::from_number) {
        for ticks in [0, 1, TICKS_MASK - 1, TICKS_MASK] {
            let hint = Hint::ended(ticks * TICK_NS, reason);
            assert!(hint != Hint::UNKNOWN && hint != Hint::TAKEN, "{hint:?}");
        }
    }
}

#[test]
fn a_place_changes_hands() {
    let (a, b) = (0x1234_5678_9abc_0000, 0x1234_5678_9abd_ffff);
    let first = Owner::NOBODY.next(a);
    assert!(first.is(a) && !first.is(b) && !Owner::NOBODY.is(0));
    let second = first.next(b);
    assert!(second.is(b) && !second.is(a));
    let third = second.next(a);
    assert!(third.is(a) && third != first, "what the first knew is not known");
    assert_ne!(Owner(a | TERM_MASK).next(0), Owner::NOBODY);
    assert_ne!(stamp(1, 2, first), stamp(1, 2, third));
    assert_ne!(stamp(1, 2, first), stamp(2, 2, first));
    assert_ne!(stamp(1, 2, first), stamp(1, 3, first));
}

#[test]
fn destinations_differ_in_all_but_the_local_port() {
    let key = |protocol, local: u8, local_port, remote: u8, remote_port| {
        FlowKey::new(
            protocol,
            (Ipv4::new([203, 0, 113, local]), Port::new(local_port)),
            (Ipv4::new([198, 51, 100, remote]), Port::new(remote_port)),
        )
    };
    let base = destination(&key(Protocol::Tcp, 1, 4000, 9, 443));
    assert_eq!(destination(&key(Protocol::Tcp, 1, 4001, 9, 443)), base);
    let mut seen = std::collections::HashSet::from([base >> TERM_BITS]);
    for other in [
        key(Protocol::Udp, 1, 4000, 9, 443),
        key(Protocol::Tcp, 2, 4000, 9, 443),
        key(Protocol::Tcp, 1, 4000, 8, 443),
        key(Protocol::Tcp, 1, 4000, 9, 444),
    ] {
        assert!(seen.insert(destination(&other) >> TERM_BITS), "{other:?}");
    }
    // They spread over the sets, too.
    let mut sets = [0_u32; 8];
    for port in 1..=8000 {
        sets[destination(&key(Protocol::Tcp, 1, 1, 9, port)) as usize % 8] += 1;
    }
    assert!(sets.iter().all(|&n| (850..1150).contains(&n)), "{sets:?}");
}
