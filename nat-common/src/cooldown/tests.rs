use proptest::prelude::*;

use super::*;
use crate::limits::COOLDOWN_MAX_MS;

const MS: u64 = 1_000_000;
const ALL: [Reason; Reason::COUNT] = [Reason::Rst, Reason::HalfOpen, Reason::Fin, Reason::UdpIcmp];

fn settings(wait_ms: [u64; Reason::COUNT]) -> Cooldown {
    let wait_ns = wait_ms.map(|ms| ms * MS);
    Cooldown { wait_ns, enabled: 1, scope: 0, pressure_reuse: 0, zero: [0; 5] }
}

fn all(wait_ms: u64) -> Cooldown {
    settings([wait_ms; Reason::COUNT])
}

#[test]
fn numbers_come_back_as_what_they_are() {
    for (number, reason) in (0..).zip(ALL) {
        assert_eq!((reason as u8, Reason::from_number(number)), (number, reason));
    }
    assert_eq!(Reason::from_number(200), Reason::Fin);
    for scope in [Scope::Destination, Scope::Port] {
        assert_eq!(Scope::from_number(scope as u8), scope);
    }
    assert_eq!(Scope::from_number(200), Scope::Port);
}

#[test]
fn the_wait_ends_to_the_nanosecond() {
    let closed = 5_000_000_123;
    for ms in [1, 1_000, 240_000, COOLDOWN_MAX_MS] {
        let wait = ms * MS;
        let cooldown = all(ms);
        for (after, left) in [(0, wait), (1, wait - 1), (wait - 1, 1), (wait, 0), (wait + 1, 0)] {
            let now = closed + after;
            assert_eq!(cooldown.remaining_ns(closed, Reason::Fin, now), left, "{ms} {after}");
            assert_eq!(cooldown.reusable(closed, Reason::Fin, now), left == 0, "{ms} {after}");
        }
    }
}

#[test]
fn the_longest_wait_that_can_be_set_is_27_8_hours() {
    assert_eq!(COOLDOWN_MAX_NS, 100_000_000 * MS);
    let cooldown = all(COOLDOWN_MAX_MS);
    assert!(!cooldown.reusable(0, Reason::Fin, COOLDOWN_MAX_NS - 1));
    assert!(cooldown.reusable(0, Reason::Fin, COOLDOWN_MAX_NS));
}

/// Also where the end is still ahead.
#[test]
fn without_a_wait_a_tuple_is_free_at_once() {
    let off = Cooldown { enabled: 0, ..all(COOLDOWN_MAX_MS) };
    for closed in [0, 1, 1_000_000_000, u64::MAX] {
        for now in [closed.wrapping_sub(1), closed, closed.wrapping_add(1)] {
            for reason in ALL {
                assert!(all(0).reusable(closed, reason, now), "{closed} {now}");
                assert!(off.reusable(closed, reason, now), "{closed} {now}");
            }
        }
    }
}

#[test]
fn each_reason_has_its_own_wait() {
    let cooldown = settings([4, 3, 2, 1]);
    let waits = ALL.map(|reason| cooldown.remaining_ns(0, reason, 0));
    assert_eq!(waits, [4, 3, 2, 1].map(|ms| ms * MS));
}

#[test]
fn rfc6888_req8_new_settings_hold_at_once() {
    let (long, short, off) = (all(240_000), all(1_000), Cooldown { enabled: 0, ..all(240_000) });
    let (closed, now) = (7, 7 + 2_000 * MS);
    assert_eq!(long.remaining_ns(closed, Reason::Fin, now), 238_000 * MS);
    assert!(short.reusable(closed, Reason::Fin, now), "shorter: free at once");
    assert!(!long.reusable(closed, Reason::Fin, now), "longer again: rests again");
    assert!(off.reusable(closed, Reason::Fin, now), "switched off: free at once");
}

#[test]
fn kb2596065_how_a_connection_ended_decides() {
    use crate::flow::Direction::{Inbound, Outbound};
    const SYN: tcp::Flags = tcp::Flags::SYN;
    const FIN: tcp::Flags = tcp::Flags::FIN;
    const RST: tcp::Flags = tcp::Flags::RST;
    let after = |segments: &[(_, tcp::Flags)]| {
        let connection = segments
            .iter()
            .fold(tcp::Connection::NEW, |now, (direction, flags)| now.after(*direction, *flags));
        Reason::of(Protocol::Tcp, connection)
    };
    let answer = (Inbound, SYN);
    assert_eq!(after(&[]), Reason::HalfOpen, "unanswered");
    assert_eq!(after(&[(Inbound, RST)]), Reason::Rst, "refused");
    assert_eq!(after(&[answer, (Inbound, RST)]), Reason::Rst, "answered, then reset");
    assert_eq!(after(&[answer]), Reason::Fin, "silent too long");
    assert_eq!(after(&[answer, (Outbound, FIN)]), Reason::Fin, "half-closed and silent too long");
    for (first, second) in [(Inbound, Outbound), (Outbound, Inbound)] {
        assert_eq!(after(&[answer, (first, FIN), (second, FIN)]), Reason::Fin);
        let reset = [answer, (first, FIN), (second, FIN), (second, RST)];
        assert_eq!(after(&reset), Reason::Fin, "RFC 1337: TIME_WAIT stays");
    }
    for protocol in [Protocol::Udp, Protocol::Icmp] {
        assert_eq!(Reason::of(protocol, tcp::Connection::NEW), Reason::UdpIcmp);
    }
}

/// What is left, in numbers wide enough for anything.
fn naive(wait_ns: u64, closed: i128, now: i128) -> i128 {
    if wait_ns == 0 { 0 } else { (closed + i128::from(wait_ns) - now).max(0) }
}

fn wait_ns() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), 0..COOLDOWN_MAX_NS, Just(COOLDOWN_MAX_NS)]
}

/// Nearly 30 years on both sides of the boot.
fn moment() -> impl Strategy<Value = i64> {
    prop_oneof![-10_i64..10, -1_000_000_000_000_000_000_i64..1_000_000_000_000_000_000]
}

proptest! {
    #[test]
    fn what_remains_is_what_arithmetic_says(
        wait in wait_ns(),
        closed in moment(),
        after in prop_oneof![-9_i64..9, 0..3 * COOLDOWN_MAX_NS as i64],
    ) {
        let cooldown = Cooldown { wait_ns: [wait; 4], ..all(0) };
        let now = closed + after;
        let left = cooldown.remaining_ns(closed as u64, Reason::Rst, now as u64);
        prop_assert_eq!(i128::from(left), naive(wait, closed.into(), now.into()));
        // What a listing promises holds.
        let free = now + left as i64;
        prop_assert!(cooldown.reusable(closed as u64, Reason::Rst, free as u64));
        prop_assert!(left == 0 || !cooldown.reusable(closed as u64, Reason::Rst, (free - 1) as u64));
    }

    /// Save, lose the power for a while, boot with a clock that starts anew, restore.
    #[test]
    fn rfc6888_req8_a_wait_outlives_a_boot(
        wait in wait_ns(),
        closed in 0_u64..COOLDOWN_MAX_NS,
        to_save in 0..2 * COOLDOWN_MAX_NS,
        downtime in 0..2 * COOLDOWN_MAX_NS,
        uptime in 0..1_000 * MS,
        after in 0..2 * COOLDOWN_MAX_NS,
    ) {
        let cooldown = Cooldown { wait_ns: [wait; 4], ..all(0) };
        let wall = 1_700_000_000_000_000_000;
        let saved = Clocks { monotonic_ns: closed + to_save, wall_ns: wall }.to_wall(closed);
        let booted = Clocks { monotonic_ns: uptime, wall_ns: wall + downtime };
        let restored = booted.from_wall(saved);
        let left = cooldown.remaining_ns(restored, Reason::Fin, uptime + after);
        let elapsed = i128::from(to_save) + i128::from(downtime) + i128::from(after);
        prop_assert_eq!(i128::from(left), naive(wait, 0, elapsed));
    }

    /// Whatever the file says: not ahead of now, and not earlier than the wall clock says.
    #[test]
    fn a_restored_time_is_never_earlier_and_never_ahead(
        monotonic_ns in 0_u64..1 << 62, wall_ns: u64, closed: u64,
    ) {
        let clocks = Clocks { monotonic_ns, wall_ns };
        let elapsed = elapsed_ns(clocks.from_wall(closed), monotonic_ns);
        prop_assert!(elapsed >= 0 && elapsed as u64 <= COOLDOWN_MAX_NS);
        prop_assert!(i128::from(elapsed) <= (i128::from(wall_ns) - i128::from(closed)).max(0));
    }
}

#[test]
fn a_wall_clock_that_was_set_back_never_frees_early() {
    let hour = 3_600_000 * MS;
    let clocks = Clocks { monotonic_ns: 10 * hour, wall_ns: 1_000 * hour };
    let saved = clocks.to_wall(10 * hour - 5);
    let back = Clocks { wall_ns: clocks.wall_ns - hour, ..clocks };
    assert_eq!(back.from_wall(saved), 10 * hour, "as if it had ended now");
    let unset = Clocks { monotonic_ns: 10 * hour, wall_ns: 3 };
    assert_eq!(unset.to_wall(0), 0, "as far back as a wall clock goes");
    assert_eq!(unset.from_wall(saved), 10 * hour);
}

#[test]
fn what_ended_before_the_boot_keeps_its_age() {
    let clocks = Clocks { monotonic_ns: 5, wall_ns: 1_000_000_000_000 };
    let restored = clocks.from_wall(1_000_000_000_000 - 200_000 * MS);
    assert_eq!(all(240_000).remaining_ns(restored, Reason::Fin, 5), 40_000 * MS);
    assert!(all(240_000).reusable(restored, Reason::Fin, 5 + 40_000 * MS));
    assert!(elapsed_ns(restored, 5) > elapsed_ns(0, 5), "older than anything of this boot");
}

/// Restored or not makes no difference where neither clock was touched.
#[test]
fn the_same_clocks_give_the_same_time_back() {
    let clocks = Clocks { monotonic_ns: COOLDOWN_MAX_NS * 2, wall_ns: 1_700_000_000_000_000_000 };
    for elapsed in [0, 1, 240_000 * MS, COOLDOWN_MAX_NS - 1, COOLDOWN_MAX_NS] {
        let closed = clocks.monotonic_ns - elapsed;
        assert_eq!(clocks.from_wall(clocks.to_wall(closed)), closed, "{elapsed}");
    }
    let ahead = clocks.monotonic_ns + 3;
    assert_eq!(clocks.to_wall(ahead), clocks.wall_ns + 3, "another CPU has read the clock");
    let older = clocks.monotonic_ns - COOLDOWN_MAX_NS - 1;
    assert_eq!(clocks.from_wall(clocks.to_wall(older)), older + 1, "free under any settings");
}
