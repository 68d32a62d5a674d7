use proptest::prelude::*;

use super::*;
use crate::{
    addr::{Ipv4, Port},
    flow::Protocol,
};

fn left(hint: Hint, ns: u64) -> u64 {
    hint.rank(ns / TICK_NS).left()
}

proptest! {
    #[test]
    fn a_port_is_never_thought_free_early_and_at_most_two_ticks_late(
        now_ns in 0..u64::MAX / 4, ns in 1..1_u64 << 49, later in 0..1_u64 << 49,
    ) {
        for hint in [Hint::taken(now_ns + ns, now_ns), Hint::rests(ns, now_ns)] {
            if later < ns {
                prop_assert_ne!(left(hint, now_ns + later), 0);
            } else if later >= ns + 2 * TICK_NS {
                prop_assert_eq!(left(hint, now_ns + later), 0);
            }
        }
    }

    #[test]
    fn what_is_further_ahead_than_can_be_told_is_tried_again_in_between(
        now_ns in 0..u64::MAX / 4, deadline_ns: u64,
    ) {
        let hint = Hint::taken(deadline_ns, now_ns);
        prop_assert_eq!(left(hint, now_ns + (FURTHEST_TICKS + 1) * TICK_NS), 0);
    }

    #[test]
    fn what_has_been_free_for_longer_goes_first(
        a in 1..1_u64 << 30, b in 1..1_u64 << 30, turn: u32, i in 0..64_u32, j in 0..64_u32,
    ) {
        prop_assume!(a < b);
        let rank = |tick: u64| Hint::rests(0, tick * TICK_NS).rank(1 << 30);
        prop_assert!(rank(a).of(i, turn) < rank(b).of(j, turn));
        prop_assert_eq!(rank(a).of(i, turn).index(turn), i);
    }

    #[test]
    fn a_look_is_lost_where_something_has_ended_meanwhile(
        word: u64, stamp: u64, other: u64, tick in 0..NEVER, seen in 0..NEVER,
    ) {
        let (stamp, other) = (stamp & STAMP_MASK, other & STAMP_MASK);
        prop_assume!(stamp != other);
        let before = When(word).looked(stamp, seen);
        prop_assert_eq!(before.tick(stamp), seen);
        prop_assert_eq!(before.tick(other), 0, "other ports");
        let after = before.lowered(tick);
        prop_assert_ne!(after, before);
        prop_assert_eq!(after.tick(stamp), tick.min(seen));
    }
}

#[test]
fn one_that_is_not_known_goes_first() {
    let long_ago = Hint::rests(0, 0).rank(1_000_000);
    assert_eq!(long_ago.left(), 0);
    assert!(Hint::UNKNOWN.rank(1_000_000).of(63, 0) < long_ago.of(0, 0));
    assert!(Hint::UNKNOWN.rank(1_000_000).of(63, 0).is_unknown());
    assert!(!long_ago.of(0, 0).is_unknown());
    assert!(!Hint::UNKNOWN.rank(1_000_000).of(0, 0).if_allowed(!1, 0).is_unknown());
    assert_ne!(Hint::rests(0, (1 << 32) * TICK_NS), Hint::UNKNOWN);
}

#[test]
fn without_a_rest_a_port_is_free_at_once() {
    for ns in [0, 1, TICK_NS - 1, TICK_NS, 77 * TICK_NS + 5] {
        assert!(ns < TICK_NS || left(Hint::rests(0, ns), ns) == 0, "{ns}");
    }
}

#[test]
fn a_held_port_is_looked_at_again_after_a_second() {
    assert_ne!(left(Hint::held(0), 999_000_000), 0);
    assert_eq!(left(Hint::held(0), 1_000_000_000 + 2 * TICK_NS), 0);
}

#[test]
fn a_place_changes_hands() {
    let (a, b) = (0x1234_5678_9abc_0000, 0x1234_5678_9abd_ffff);
    let next = |owner: Owner, destination| owner.none_next().then(destination);
    let first = next(Owner::NOBODY, a);
    assert!(first.is(a) && !first.is(b) && !first.is_nobody());
    let between = first.none_next();
    assert!(between.is_nobody() && !between.is(a) && !between.is(b) && between != first);
    let second = between.then(b);
    assert!(second.is(b) && !second.is(a));
    let third = next(second, a);
    assert!(third.is(a) && third != first, "what the first knew is not known");
    assert_ne!(third.mark(1), first.mark(1));
    assert_ne!(first.mark(1), first.mark(2));
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
