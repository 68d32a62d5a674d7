//! What one client may have: sessions, half-open ones among them, and new ones in a second.
//!
//! Sessions are not counted when they come and go but when somebody asks: so nothing can be counted
//! twice. New ones take from a bucket, which is full at first and again after a pause, and is filled
//! once in a millisecond of the clock.
use std::{collections::HashMap, net::Ipv4Addr};

use nat_common::verdict::Verdict;

use super::{Model, session::Phase};

/// `[limits]` of a client; 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub sessions: u32,
    pub half_open: u32,
    pub new_per_second: u32,
}

/// What a session takes from a bucket. As many units come back in a millisecond as sessions may be
/// opened in a second.
const UNITS: u64 = 1000;

/// What is missing in a client's bucket.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Units, at a time.
    missing: u64,
    at_ms: u64,
    /// Units that come back in a millisecond.
    rate: u64,
}

impl Bucket {
    /// What is missing now, if so many units come back. Where the rate has changed, the bucket is full
    /// at the same time as before, but for what comes back in a part of a millisecond.
    fn missing(&self, rate: u64, now_ms: u64) -> u64 {
        let missing = self.missing.saturating_sub((now_ms - self.at_ms) * self.rate);
        if rate == self.rate {
            return missing;
        }
        missing / self.rate * rate + (missing % self.rate).min(rate - 1)
    }
}

/// Buckets of those that have opened sessions.
#[derive(Debug, Default)]
pub(super) struct Buckets(HashMap<Ipv4Addr, Bucket>);

impl Buckets {
    fn missing(&self, client: Ipv4Addr, rate: u64, now_ms: u64) -> u64 {
        self.0.get(&client).map_or(0, |bucket| bucket.missing(rate, now_ms))
    }
}

impl Model {
    /// Whether a client may have one session more, half-open or not. Who is refused for what there is
    /// has taken from the bucket all the same. The gateway itself is nobody's client.
    pub(super) fn admit_client(
        &mut self,
        client: Ipv4Addr,
        half_open: bool,
        own: bool,
    ) -> Result<(), Verdict> {
        let limits = self.table.as_ref().ok_or(Verdict::NotConfigured)?.limits;
        if own {
            return Ok(());
        }
        let (rate, at_ms) = (u64::from(limits.new_per_second), self.now_ns / 1_000_000);
        if rate != 0 {
            let missing = self.buckets.missing(client, rate, at_ms) + UNITS;
            if missing > UNITS * rate {
                return Err(Verdict::ClientRate);
            }
            self.buckets.0.insert(client, Bucket { missing, at_ms, rate });
        }
        let (sessions, opening) = self.sessions_of(client);
        let reached = |count, limit| limit != 0 && count >= limit;
        if reached(sessions, limits.sessions) {
            Err(Verdict::ClientSessions)
        } else if half_open && reached(opening, limits.half_open) {
            Err(Verdict::ClientHalfOpen)
        } else {
            Ok(())
        }
    }

    /// An admitted session has not come to be. A client that has no other one is forgotten.
    pub(super) fn dismiss_client(&mut self, client: Ipv4Addr) {
        if self.sessions_of(client).0 == 0 {
            self.buckets.0.remove(&client);
        }
    }

    /// What a client has: sessions, and half-open ones among them.
    #[must_use]
    pub fn sessions_of(&self, client: Ipv4Addr) -> (u32, u32) {
        let phases = self.sessions.all().filter(|session| session.flow.local.0 == client);
        phases.fold((0, 0), |(sessions, opening), session| {
            (sessions + 1, opening + u32::from(session.phase == Phase::Opening))
        })
    }

    /// Whether there is a limit of new sessions.
    #[must_use]
    pub fn has_limited_rate(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.limits.new_per_second != 0)
    }

    /// Until when a client has to wait for its next session, as far as the bucket goes.
    #[must_use]
    pub fn waits_until_ns(&self, client: Ipv4Addr) -> u64 {
        let rate = self.table.as_ref().map_or(0, |table| u64::from(table.limits.new_per_second));
        if rate == 0 {
            return 0;
        }
        let now_ms = self.now_ns / 1_000_000;
        let missing = self.buckets.missing(client, rate, now_ms) + UNITS;
        let more = missing.saturating_sub(UNITS * rate);
        (now_ms + more.div_ceil(rate)) * 1_000_000
    }
}
