//! Whether external ports toward one server came again too soon, and whether a connection was refused
//! although one of them was free: by what went over the wire outside.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    ops::RangeInclusive,
    time::Duration,
};

/// A client's attempt to open a connection.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Just before its SYN was sent, inside.
    pub sent: Duration,
    /// What came of it; `None` if nothing came out.
    pub opened: Option<Opened>,
}

/// A connection as it was seen outside. Times are since 1970, as all here.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    pub port: u16,
    /// Of its SYN.
    pub syn: Duration,
    /// Of its last packet in either direction.
    pub last: Duration,
}

/// What is right.
#[derive(Clone, Debug)]
pub struct Law {
    pub ports: RangeInclusive<u16>,
    /// From the last packet of a connection to the SYN of the next one with its port.
    pub cooldown: Duration,
    /// By which both kinds of times may be wrong.
    pub tolerance: Duration,
}

/// What was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    pub opened: usize,
    /// Of those: while at most one port in 20 was free.
    pub opened_when_full: usize,
    pub reuses: usize,
    /// Reuses within the cooldown.
    pub too_soon: usize,
    /// From a connection's last packet to the next SYN, at least.
    pub soonest: Option<Duration>,
    pub refused: usize,
    /// Refusals while a port was free.
    pub wrongly_refused: usize,
    /// For how long a port had been free when a connection was refused, at most.
    pub refused_after: Duration,
}

/// A port's last connection ends in the future, as long as it lives.
struct Ports {
    last: HashMap<u16, Duration>,
    /// When each is free, the first one first.
    release: BTreeSet<(Duration, u16)>,
    /// The same of those that are not free yet.
    busy: BinaryHeap<Reverse<(Duration, u16)>>,
    free: usize,
}

impl Ports {
    /// Lets time pass.
    fn advance(&mut self, now: Duration) {
        while let Some(&Reverse(entry)) = self.busy.peek()
            && entry.0 <= now
        {
            self.busy.pop();
            self.free += usize::from(self.release.contains(&entry));
        }
    }

    /// Returns how long the port was left alone.
    fn take(&mut self, opened: Opened, now: Duration, cooldown: Duration) -> Option<Duration> {
        let before = self.last.insert(opened.port, opened.last);
        let old = (before.map_or(Duration::ZERO, |last| last + cooldown), opened.port);
        self.release.remove(&old);
        self.free -= usize::from(old.0 <= now);
        let entry = (opened.last + cooldown, opened.port);
        self.release.insert(entry);
        self.busy.push(Reverse(entry));
        before.map(|last| opened.syn.saturating_sub(last))
    }
}

/// Judges attempts, in the order in which they were made. The gateway must have seen them in this order,
/// too.
#[must_use]
pub fn judge(attempts: &[Attempt], law: &Law) -> Judgement {
    let mut ports = Ports {
        last: HashMap::new(),
        release: law.ports.clone().map(|port| (Duration::ZERO, port)).collect(),
        busy: BinaryHeap::new(),
        free: law.ports.len(),
    };
    let mut judgement = Judgement::default();
    for attempt in attempts {
        ports.advance(attempt.sent);
        match attempt.opened {
            Some(opened) => {
                judgement.opened += 1;
                judgement.opened_when_full += usize::from(ports.free * 20 <= law.ports.len());
                if let Some(rest) = ports.take(opened, attempt.sent, law.cooldown) {
                    judgement.reuses += 1;
                    judgement.too_soon += usize::from(rest + law.tolerance < law.cooldown);
                    let soonest = judgement.soonest.map_or(rest, |soonest| soonest.min(rest));
                    judgement.soonest = Some(soonest);
                }
            }
            None => {
                judgement.refused += 1;
                let first = ports.release.first().map_or(Duration::MAX, |(release, _)| *release);
                let after = attempt.sent.saturating_sub(first);
                judgement.refused_after = judgement.refused_after.max(after);
                judgement.wrongly_refused += usize::from(after > law.tolerance);
            }
        }
    }
    judgement
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAW: Law = Law {
        ports: 10..=11,
        cooldown: Duration::from_millis(2000),
        tolerance: Duration::from_millis(10),
    };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn opened(sent: u64, port: u16, last: u64) -> Attempt {
        let opened = Opened { port, syn: ms(sent), last: ms(last) };
        Attempt { sent: ms(sent), opened: Some(opened) }
    }

    fn refused(sent: u64) -> Attempt {
        Attempt { sent: ms(sent), opened: None }
    }

    #[test]
    fn what_is_right_is_found_right() {
        let attempts = [
            opened(100_000, 10, 100_100),
            opened(100_001, 11, 100_200),
            refused(100_002),
            // Within the tolerance, of both kinds.
            refused(102_110),
            opened(102_111, 10, 102_200),
            opened(102_191, 11, 102_300),
        ];
        let judgement = judge(&attempts, &LAW);
        assert_eq!((judgement.opened, judgement.reuses, judgement.refused), (4, 2, 2));
        assert_eq!((judgement.too_soon, judgement.wrongly_refused), (0, 0));
        assert_eq!((judgement.soonest, judgement.refused_after), (Some(ms(1991)), ms(10)));
        assert_eq!(judgement.opened_when_full, 1, "at 102.191, port 11 is not free yet");
    }

    #[test]
    fn a_port_that_comes_too_soon_is_seen() {
        let attempts = [opened(100_000, 10, 100_100), opened(102_089, 10, 102_100)];
        assert_eq!(judge(&attempts, &LAW).too_soon, 1);
        let alive = [opened(100_000, 10, 100_100), opened(100_050, 10, 100_060)];
        assert_eq!(judge(&alive, &LAW).too_soon, 1);
    }

    #[test]
    fn a_refusal_while_a_port_is_free_is_seen() {
        assert_eq!(judge(&[refused(100_000)], &LAW).wrongly_refused, 1, "none was ever used");
        let one_left = [opened(100_000, 10, 100_100), refused(100_001)];
        assert_eq!(judge(&one_left, &LAW).wrongly_refused, 1);
        let rested = [opened(100_000, 10, 100_100), opened(100_000, 11, 200_000), refused(102_111)];
        let judgement = judge(&rested, &LAW);
        assert_eq!((judgement.wrongly_refused, judgement.refused_after), (1, ms(11)));
        let taken_again =
            [&rested[..2], &[opened(102_105, 10, 102_106), refused(102_111)]].concat();
        assert_eq!(judge(&taken_again, &LAW).wrongly_refused, 0);
    }
}
