//! What one client may have: sessions, half-open ones among them, and new ones in a second
//! (RFC 6888 REQ-4). A client is an inside address.
//!
//! A client's state is two words. Each is changed by compare-and-swap, so that CPUs which open
//! sessions of one client at once cannot pass a limit together. There is one while the client has
//! sessions, or has opened some lately: whoever counts down to nothing, and finds the bucket full,
//! swaps [`Counts::GONE`] in and removes it. Take from the bucket first and
//! count last: then nothing is to be undone when a limit refuses, and whoever is refused has still
//! spent the attempt.
use crate::{addr::Ipv4, limits::NEW_PER_SECOND_MAX, verdict::Verdict};

/// The settings, as the data path reads them. 0 is no limit.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientLimits {
    /// Sessions at a time.
    pub sessions: u32,
    /// Half-open ones at a time.
    pub half_open: u32,
    /// New ones in a second; at most [`NEW_PER_SECOND_MAX`].
    pub new_per_second: u32,
    pub zero: u32,
}

impl ClientLimits {
    /// No limit.
    pub const NONE: Self = Self { sessions: 0, half_open: 0, new_per_second: 0, zero: 0 };
}

/// A client's state, by its address.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client {
    pub counts: Counts,
    pub bucket: Bucket,
    /// The key again: map elements are recycled at once, as those of
    /// [sessions](crate::session::Session::check).
    pub address: Ipv4,
    pub zero: u32,
}

impl Client {
    /// A client that opens its first session, which no limit refuses.
    #[inline(always)]
    #[must_use]
    pub const fn first(address: Ipv4, half_open: bool, limits: &ClientLimits, now_ns: u64) -> Self {
        let bucket = match Bucket(0).take(limits, now_ns) {
            Ok(bucket) => bucket,
            Err(_) => Bucket(0),
        };
        Self { counts: Counts::of(1, half_open as u32), bucket, address, zero: 0 }
    }
}

/// Which limit refuses a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exceeded {
    Sessions,
    HalfOpen,
    Rate,
}

impl Exceeded {
    #[inline(always)]
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Sessions => Verdict::ClientSessions,
            Self::HalfOpen => Verdict::ClientHalfOpen,
            Self::Rate => Verdict::ClientRate,
        }
    }
}

/// Sessions of a client: all in the lower half, half-open ones among them in the upper half.
///
/// Half-open is a TCP session that is still [opening](crate::tcp::State::Opening): what a flood of
/// SYNs consists of. UDP and ICMP cannot tell an opening from a conversation.
///
/// Numbers stop at their ends: one that was counted twice, or never, must not let a limit wrap
/// around.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts(pub u64);

impl Counts {
    /// Of a client that somebody is about to remove. More than can ever be counted.
    pub const GONE: Self = Self(u64::MAX);

    /// Whether the client is being removed.
    #[inline(always)]
    #[must_use]
    pub const fn gone(self) -> bool {
        self.0 == Self::GONE.0
    }

    #[inline(always)]
    #[must_use]
    const fn of(sessions: u32, half_open: u32) -> Self {
        Self((half_open as u64) << 32 | sessions as u64)
    }

    /// All sessions.
    #[inline(always)]
    #[must_use]
    pub const fn sessions(self) -> u32 {
        self.0 as u32
    }

    /// Half-open ones.
    #[inline(always)]
    #[must_use]
    pub const fn half_open(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// One more session, half-open or not.
    #[inline(always)]
    pub const fn open(self, half_open: bool, limits: &ClientLimits) -> Result<Self, Exceeded> {
        if reached(self.sessions(), limits.sessions) {
            return Err(Exceeded::Sessions);
        }
        let sessions = self.sessions().saturating_add(1);
        if !half_open {
            return Ok(Self::of(sessions, self.half_open()));
        }
        if reached(self.half_open(), limits.half_open) {
            return Err(Exceeded::HalfOpen);
        }
        Ok(Self::of(sessions, self.half_open().saturating_add(1)))
    }

    /// What one session adds, half-open or not.
    #[inline(always)]
    #[must_use]
    pub const fn of_one(half_open: bool) -> Self {
        Self::of(1, half_open as u32)
    }

    /// What being half-open adds.
    pub const HALF_OPEN: Self = Self::of(0, 1);

    /// A half-open session is established, or reset.
    #[inline(always)]
    #[must_use]
    pub const fn answered(self) -> Self {
        Self::of(self.sessions(), self.half_open().saturating_sub(1))
    }

    /// A session that was not half-open is again: the client reuses its port. It has its place
    /// already, so it is not refused.
    #[inline(always)]
    #[must_use]
    pub const fn reopened(self) -> Self {
        Self::of(self.sessions(), self.half_open().saturating_add(1))
    }

    /// One session less.
    #[inline(always)]
    #[must_use]
    pub const fn ended(self, half_open: bool) -> Self {
        let rest = Self::of(self.sessions().saturating_sub(1), self.half_open());
        if half_open { rest.answered() } else { rest }
    }
}

const fn reached(count: u32, limit: u32) -> bool {
    limit != 0 && count >= limit
}

/// A bucket of new sessions that holds one second's worth and fills at the limit's rate.
///
/// It is kept as the moment at which it will be full again (the theoretical arrival time of the
/// generic cell rate algorithm, ITU-T I.371): nothing has to be done while time passes. In the
/// upper 44 bits milliseconds of the data path's clock, which ticks no finer (CLOCK_MONOTONIC_COARSE);
/// in the lower 20 bits a fraction of one, in parts of the rate. So a session takes 1000 parts of
/// the 1000 times the rate that a second has, without a remainder: whatever the rate, exactly so
/// many sessions are let through as it says, over any time.
///
/// 0, a new client's, is a full bucket. A clock that goes back makes nobody wait longer than by as
/// much, and lets nobody through that would otherwise have waited.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bucket(pub u64);

const FRACTION_BITS: u32 = 20;
const FRACTION_MASK: u64 = (1 << FRACTION_BITS) - 1;
const NS_PER_MS: u64 = 1_000_000;
/// The time that fills an empty bucket.
const FULL_MS: u64 = 1000;

const _: () = assert!((NEW_PER_SECOND_MAX as u64) <= FRACTION_MASK);

impl Bucket {
    /// What is left after one more session.
    #[inline(always)]
    pub const fn take(self, limits: &ClientLimits, now_ns: u64) -> Result<Self, Exceeded> {
        let rate = rate(limits);
        if rate == 0 {
            return Ok(self);
        }
        let now_ms = now_ns / NS_PER_MS;
        let (full_ms, fraction) = self.full_again(rate, now_ms);
        let fraction = fraction + FULL_MS % rate;
        let carried = fraction >= rate;
        let full_ms = full_ms + FULL_MS / rate + carried as u64;
        let fraction = if carried { fraction - rate } else { fraction };
        let ahead_ms = full_ms - now_ms;
        if ahead_ms > FULL_MS || (ahead_ms == FULL_MS && fraction != 0) {
            return Err(Exceeded::Rate);
        }
        Ok(Self(full_ms << FRACTION_BITS | fraction))
    }

    /// Whether nothing is missing: the client is as good as a new one.
    #[inline(always)]
    #[must_use]
    pub const fn is_full(self, now_ns: u64) -> bool {
        self.0 >> FRACTION_BITS < now_ns / NS_PER_MS
    }

    /// How many sessions would be let through now; without a limit [`u32::MAX`].
    #[must_use]
    pub const fn left(self, limits: &ClientLimits, now_ns: u64) -> u32 {
        let rate = rate(limits);
        if rate == 0 {
            return u32::MAX;
        }
        let now_ms = now_ns / NS_PER_MS;
        let (full_ms, fraction) = self.full_again(rate, now_ms);
        let ahead_ms = full_ms - now_ms;
        if ahead_ms >= FULL_MS {
            return 0;
        }
        let missing = ahead_ms * rate + fraction;
        ((FULL_MS * rate - missing) / FULL_MS) as u32
    }

    /// When the bucket is full again, not before now: milliseconds and parts of the rate. A
    /// fraction that was written under a greater rate is cut: less than a millisecond.
    #[inline(always)]
    const fn full_again(self, rate: u64, now_ms: u64) -> (u64, u64) {
        let (full_ms, fraction) = (self.0 >> FRACTION_BITS, self.0 & FRACTION_MASK);
        if full_ms < now_ms {
            (now_ms, 0)
        } else if fraction < rate {
            (full_ms, fraction)
        } else {
            (full_ms, rate - 1)
        }
    }
}

#[inline(always)]
const fn rate(limits: &ClientLimits) -> u64 {
    if limits.new_per_second < NEW_PER_SECOND_MAX {
        limits.new_per_second as u64
    } else {
        NEW_PER_SECOND_MAX as u64
    }
}

#[cfg(test)]
mod tests;
