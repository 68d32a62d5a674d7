use proptest::prelude::*;

use super::*;

const MS: u64 = NS_PER_MS;
const SECOND: u64 = 1000 * MS;

fn limits(sessions: u32, half_open: u32, new_per_second: u32) -> ClientLimits {
    ClientLimits { sessions, half_open, new_per_second, zero: 0 }
}

fn rate(new_per_second: u32) -> ClientLimits {
    limits(0, 0, new_per_second)
}

/// What can happen to a client's sessions.
#[derive(Clone, Copy, Debug)]
enum Event {
    Open { half_open: bool },
    Answered,
    Reopened,
    Ended { half_open: bool },
}

const EVENTS: [Event; 6] = [
    Event::Open { half_open: true },
    Event::Open { half_open: false },
    Event::Answered,
    Event::Reopened,
    Event::Ended { half_open: true },
    Event::Ended { half_open: false },
];

/// The sessions one by one: whether each is half-open. None where the event is not possible.
fn naive(sessions: &[bool], event: Event, limits: &ClientLimits) -> Option<Vec<bool>> {
    let mut sessions = sessions.to_vec();
    let find = |wanted: bool| sessions.iter().position(|half_open| *half_open == wanted);
    match event {
        Event::Open { half_open } => {
            let openings = sessions.iter().filter(|half_open| **half_open).count();
            let room = |limit: u32, count: usize| limit == 0 || count < limit as usize;
            let fits = room(limits.sessions, sessions.len())
                && (!half_open || room(limits.half_open, openings));
            if fits {
                sessions.push(half_open);
            }
        }
        Event::Answered => {
            let index = find(true)?;
            sessions[index] = false;
        }
        Event::Reopened => {
            let index = find(false)?;
            sessions[index] = true;
        }
        Event::Ended { half_open } => {
            let index = find(half_open)?;
            sessions.remove(index);
        }
    }
    Some(sessions)
}

fn apply(counts: Counts, event: Event, limits: &ClientLimits) -> Counts {
    match event {
        Event::Open { half_open } => counts.open(half_open, limits).unwrap_or(counts),
        Event::Answered => counts.answered(),
        Event::Reopened => counts.reopened(),
        Event::Ended { half_open } => counts.ended(half_open),
    }
}

/// Every history of seven events, under every small limit. Returns how many were looked at.
fn every_history(sessions: &[bool], counts: Counts, limits: &ClientLimits, events: u32) -> u64 {
    let openings = sessions.iter().filter(|half_open| **half_open).count();
    assert_eq!(
        (counts.sessions() as usize, counts.half_open() as usize),
        (sessions.len(), openings)
    );
    if events == 0 {
        return 1;
    }
    let next = EVENTS.into_iter().filter_map(|event| {
        let after = naive(sessions, event, limits)?;
        Some(every_history(&after, apply(counts, event, limits), limits, events - 1))
    });
    next.sum()
}

#[test]
fn rfc6888_req4_counts_are_those_of_a_list_of_sessions() {
    for sessions in 0..4 {
        for half_open in 0..3 {
            let limits = limits(sessions, half_open, 0);
            assert!(every_history(&[], Counts(0), &limits, 7) > 1000, "{limits:?}");
        }
    }
}

#[test]
fn rfc6888_req4_the_limit_that_refuses_is_named() {
    let full = Counts::of(2, 1);
    assert_eq!(full.open(false, &limits(2, 0, 0)), Err(Exceeded::Sessions));
    assert_eq!(full.open(true, &limits(2, 1, 0)), Err(Exceeded::Sessions), "the wider one first");
    assert_eq!(full.open(true, &limits(3, 1, 0)), Err(Exceeded::HalfOpen));
    assert_eq!(full.open(false, &limits(3, 1, 0)), Ok(Counts::of(3, 1)));
    // A limit that is lowered below what is there refuses new sessions and ends none.
    assert_eq!(full.open(false, &limits(1, 0, 0)), Err(Exceeded::Sessions));
    assert_eq!(full.ended(true).open(true, &limits(2, 1, 0)), Ok(full));
}

#[test]
fn counts_stop_at_their_ends() {
    let most = Counts(u64::MAX);
    assert_eq!(most.open(true, &limits(0, 0, 0)), Ok(most));
    assert_eq!(most.open(true, &limits(u32::MAX, 0, 0)), Err(Exceeded::Sessions));
    assert_eq!(most.reopened(), most);
    assert_eq!(Counts(0).ended(true), Counts(0));
    assert_eq!(Counts(0).ended(false), Counts(0));
    assert_eq!(Counts(0).answered(), Counts(0));
    assert_eq!(Counts::of(5, 0).answered(), Counts::of(5, 0), "never from the other half");
    assert_eq!(Counts::of(0, 5).ended(false), Counts::of(0, 5));
}

/// Takes as many as there are.
fn drain(bucket: &mut Bucket, limits: &ClientLimits, now_ns: u64) -> u32 {
    let mut taken = 0;
    while let Ok(rest) = bucket.take(limits, now_ns) {
        *bucket = rest;
        taken += 1;
    }
    taken
}

#[test]
fn rfc6888_req4_one_seconds_worth_at_once_and_then_exactly_the_rate() {
    for new_per_second in [2, 3, 7, 30, 999, 1000, 1001, 2000, 44_100, NEW_PER_SECOND_MAX] {
        let limits = rate(new_per_second);
        let mut bucket = Bucket(0);
        let start = 123_456_789 * MS;
        assert_eq!(bucket.left(&limits, start), new_per_second);
        assert_eq!(drain(&mut bucket, &limits, start), new_per_second);
        assert_eq!(bucket.left(&limits, start), 0);
        // In steps that share no factor with a second, and are asked for before the bucket is full.
        let (step, steps) = (37 * MS, 1000);
        let taken: u32 = (1..=steps).map(|n| drain(&mut bucket, &limits, start + n * step)).sum();
        let expected = u64::from(new_per_second) * steps * 37 / 1000;
        assert_eq!(u64::from(taken), expected, "{new_per_second}");
    }
}

#[test]
fn the_boundary_is_a_tick_of_the_clock() {
    let limits = rate(10);
    let mut bucket = Bucket(0);
    let start = 5 * SECOND + 999_999;
    assert_eq!(drain(&mut bucket, &limits, start), 10);
    let tenth = 5 * SECOND + 100 * MS;
    assert_eq!(bucket.take(&limits, tenth - 1), Err(Exceeded::Rate));
    assert!(bucket.take(&limits, tenth).is_ok());
    assert_eq!(drain(&mut bucket, &limits, tenth), 1);
    assert_eq!(drain(&mut bucket, &limits, 1_000 * SECOND), 10, "never more than a second's worth");
}

#[test]
fn without_a_limit_nothing_is_counted() {
    let bucket = Bucket(77);
    assert_eq!(bucket.take(&rate(0), 5), Ok(bucket));
    assert_eq!(bucket.left(&rate(0), 5), u32::MAX);
}

#[test]
fn a_new_rate_holds_at_once() {
    let mut bucket = Bucket(0);
    assert_eq!(drain(&mut bucket, &rate(2000), SECOND), 2000);
    assert_eq!(bucket.left(&rate(10), SECOND), 0, "an empty bucket stays empty");
    assert_eq!(drain(&mut bucket, &rate(10), SECOND + 500 * MS), 5);
    assert_eq!(drain(&mut bucket, &rate(4000), SECOND + 750 * MS), 1000);
}

#[test]
fn what_no_take_has_written_is_no_more_than_an_empty_bucket() {
    let limits = rate(10);
    for (ahead_ms, fraction, left) in
        [(0_u64, 0, 10), (999, 9, 0), (1000, 0, 0), (1000, 9, 0), (1001, 0, 0), (900, 0, 1)]
    {
        let bucket = Bucket((5000 + ahead_ms) << FRACTION_BITS | fraction);
        assert_eq!(bucket.left(&limits, 5 * SECOND), left, "{ahead_ms} {fraction}");
    }
    // A fraction out of range: nearly one more millisecond.
    let bucket = |ahead_ms: u64| Bucket((5000 + ahead_ms) << FRACTION_BITS | FRACTION_MASK);
    assert_eq!(bucket(899).left(&limits, 5 * SECOND), 1);
    assert_eq!(bucket(900).left(&limits, 5 * SECOND), 0);
}

/// A bucket as it is told: so many parts of a session in it, more with each millisecond.
struct Told {
    parts: u64,
    at_ms: u64,
}

impl Told {
    fn take(&mut self, rate: u64, now_ms: u64) -> bool {
        self.parts = (self.parts + (now_ms - self.at_ms) * rate).min(1000 * rate);
        self.at_ms = now_ms;
        let there = self.parts >= 1000;
        self.parts -= if there { 1000 } else { 0 };
        there
    }
}

fn any_rate() -> impl Strategy<Value = u32> {
    prop_oneof![1_u32..20, 1..3000_u32, 1..=NEW_PER_SECOND_MAX]
}

proptest! {
    #[test]
    fn a_bucket_lets_through_what_the_told_one_does(
        new_per_second in any_rate(),
        gaps in proptest::collection::vec(prop_oneof![Just(0), 0..3 * MS, 0..2 * SECOND], 1..100),
    ) {
        let limits = rate(new_per_second);
        let mut now = 1_000_000 * SECOND;
        let full = u64::from(new_per_second) * 1000;
        let mut told = Told { parts: full, at_ms: now / MS };
        let mut bucket = Bucket(0);
        for gap in gaps {
            now += gap;
            let left = bucket.left(&limits, now);
            let taken = bucket.take(&limits, now);
            prop_assert_eq!(taken.is_ok(), told.take(new_per_second.into(), now / MS));
            prop_assert_eq!(taken.is_ok(), left > 0);
            bucket = taken.unwrap_or(bucket);
            prop_assert_eq!(u64::from(bucket.left(&limits, now)), told.parts / 1000);
        }
    }

    /// Also by a clock that jumps back and forth: between any two sessions no more than the rate
    /// allows for the time to the latest moment between them, and a bucket full.
    #[test]
    fn no_interval_has_more_than_its_share(
        new_per_second in any_rate(),
        moments in proptest::collection::vec(
            prop_oneof![0..5_u64, 0..2000_u64].prop_map(|ms| ms * MS), 1..60,
        ),
    ) {
        let limits = rate(new_per_second);
        let mut bucket = Bucket(0);
        let mut admitted: Vec<u64> = Vec::new();
        for moment in moments {
            for _ in 0..20 {
                if let Ok(rest) = bucket.take(&limits, SECOND + moment) {
                    bucket = rest;
                    admitted.push(moment / MS);
                }
            }
        }
        for (index, first) in admitted.iter().enumerate() {
            let mut latest = *first;
            for (count, moment) in (1..).zip(&admitted[index..]) {
                latest = latest.max(*moment);
                let share = u64::from(new_per_second) * (1000 + latest - first);
                prop_assert!(count * 1000 <= share, "{count} in {} ms", latest - first);
            }
        }
    }

    /// Whatever the words hold: no overflow, and never more than a second's worth.
    #[test]
    fn any_state_is_taken(word: u64, sessions: u32, half_open: u32, new_per_second: u32, now: u64) {
        let limits = limits(sessions, half_open, new_per_second);
        let left = Bucket(word).left(&limits, now);
        prop_assert!(new_per_second == 0 || left <= new_per_second.min(NEW_PER_SECOND_MAX));
        prop_assert_eq!(Bucket(word).take(&limits, now).is_ok(), left > 0);
        for event in EVENTS {
            let after = apply(Counts(word), event, &limits);
            prop_assert!(after.sessions().abs_diff(Counts(word).sessions()) <= 1);
            prop_assert!(after.half_open().abs_diff(Counts(word).half_open()) <= 1);
        }
    }
}

#[test]
fn a_full_bucket_is_worth_nothing() {
    let limits = ClientLimits { new_per_second: 3, ..ClientLimits::NONE };
    let now_ns = 5_000_000_000;
    let Ok(one) = Bucket(0).take(&limits, now_ns) else { panic!("refused") };
    let full_after = (0..2000).find(|ms| one.is_full(now_ns + ms * 1_000_000)).unwrap();
    // A third of a second, and the rest of its last millisecond.
    assert_eq!(full_after, 334);
    assert_eq!(
        one.take(&limits, now_ns + 334_000_000),
        Bucket(0).take(&limits, now_ns + 334_000_000)
    );
}

#[test]
fn the_first_session_of_a_client_is_counted() {
    let limits = ClientLimits { sessions: 1, half_open: 1, new_per_second: 1, zero: 0 };
    let address = Ipv4::new([10, 0, 0, 1]);
    for half_open in [false, true] {
        let client = Client::first(address, half_open, &limits, 7_000_000_000);
        assert_eq!((client.counts.sessions(), client.counts.half_open()), (1, half_open.into()));
        assert_eq!(client.bucket.left(&limits, 7_000_000_000), 0);
        assert_eq!(client.counts.ended(half_open), Counts(0));
    }
    assert!(!Counts(0).gone() && Counts::GONE.gone());
}
