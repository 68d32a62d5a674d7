//! What is remembered of the ports toward a busy destination, so that a free one is found without
//! trying all that are taken.
//!
//! A destination is a remote endpoint as seen from one external address ([`destination`]). What
//! stands here are hints: whether a port is free is decided by the claim itself, and by what rests.
//! A hint may call a taken port free, at the price of a try; it must not call a free one taken, or
//! the port would be lost. So a hint that a port is taken is written before anything can end its
//! session, and one that it has ended after the claim is gone. Besides, a hint that a port is taken
//! holds no longer than the session's deadline, as it was when the hint was written: then the port
//! is tried again, whether or not somebody has told of the session's end.
//!
//! What is known outlives a new rule table, unless that makes some rest or timeout shorter, or allows
//! other ports: [`Owner::mark`] and [`When`] say by which numbers that is told. They are never used for
//! anything else later, because of ends that come meanwhile these hints are not told.
//!
//! Times are ticks of [`TICK_NS`], by the data path's clock.
use crate::{flow::FlowKey, limits::TUPLES_PER_HINTS};

/// About a millisecond: finer than the data path's clock is on most kernels.
pub const TICK_NS: u64 = 1 << 20;

/// Ports that are looked at together: those of a [`Chunk`].
pub const CHUNK_PORTS: u32 = 64;

/// Chunks of all ports.
pub const CHUNKS: u32 = 65_536 / CHUNK_PORTS;

/// Destinations that share a set: one more in the same set takes the place of the one that was
/// longest not asked for.
pub const WAYS: u32 = 8;

/// Sets for an instance with room for so many sessions and resting tuples.
#[must_use]
pub const fn sets(sessions: u32, cooling: u32) -> u32 {
    let tuples = sessions as u64 + cooling as u64;
    let places = tuples.div_ceil(TUPLES_PER_HINTS as u64);
    places.div_ceil(WAYS as u64) as u32
}

/// Memory for a destination: an element of the map of sets is [`WAYS`] of these.
///
/// The upper 48 bits are those of the destination's number, the lower 16 count the destinations
/// that had this place; without the upper ones it is nobody's.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner(pub u64);

const TERM_BITS: u32 = 16;
const TERM_MASK: u64 = (1 << TERM_BITS) - 1;

impl Owner {
    pub const NOBODY: Self = Self(0);

    /// Whether the place is this destination's.
    #[inline(always)]
    #[must_use]
    pub const fn is(self, destination: u64) -> bool {
        (self.0 ^ destination) & !TERM_MASK == 0
    }

    /// Whether it is nobody's.
    #[inline(always)]
    #[must_use]
    pub const fn is_nobody(self) -> bool {
        self.0 & !TERM_MASK == 0
    }

    /// What its hints are marked with: they hold for one set of settings, which is known by
    /// [`crate::settings::Settings::hints_since`].
    #[inline(always)]
    #[must_use]
    pub const fn mark(self, since: u32) -> u64 {
        self.0 ^ (since as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Nobody, after this one: while the place is made ready for the next one.
    #[inline(always)]
    #[must_use]
    pub const fn none_next(self) -> Self {
        Self(self.0.wrapping_add(1) & TERM_MASK)
    }

    /// The place is this destination's now.
    #[inline(always)]
    #[must_use]
    pub const fn then(self, destination: u64) -> Self {
        Self(destination & !TERM_MASK | self.0 & TERM_MASK)
    }
}

/// 64 well-mixed bits of a destination: the upper ones tell it from others, of which the highest is set,
/// and the lower ones give its set. Of an inbound key all but the local port counts.
#[inline(always)]
#[must_use]
pub const fn destination(claim: &FlowKey) -> u64 {
    let addresses = (claim.local.to_be32() as u64) << 32 | claim.remote.to_be32() as u64;
    let rest = (claim.remote_port.to_be16() as u64) << 8 | claim.protocol as u64;
    // Odd constants from the fractional parts of the golden ratio and of √2, as in fingerprints.
    let mixed = addresses.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_add(rest).wrapping_mul(0x6a09_e667_f3bc_c909);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 31) | 1 << 63
}

/// What is known of one port: the tick from which on it is worth a try, modulo 2^32. That is 52 days:
/// a port that has not been tried for 26 of them may be passed over for as long once more.
///
/// For a session that lives, that is its deadline when the hint was written; for one that has ended,
/// the end of its rest.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hint(pub u32);

/// Nothing is put off for longer: 12 days.
const FURTHEST_TICKS: u64 = 1 << 30;

/// How long a port is left alone that a socket of this machine has.
const HELD_NS: u64 = 1_000_000_000;

impl Hint {
    /// Nothing is known: worth a try.
    pub const UNKNOWN: Self = Self(0);

    /// A session has the port, until its deadline at least.
    #[inline(always)]
    #[must_use]
    pub const fn taken(deadline_ns: u64, now_ns: u64) -> Self {
        Self::after(deadline_ns.saturating_sub(now_ns), now_ns)
    }

    /// The port's last session has ended; its tuple rests for so long.
    #[inline(always)]
    #[must_use]
    pub const fn rests(remaining_ns: u64, now_ns: u64) -> Self {
        Self::after(remaining_ns, now_ns)
    }

    /// A socket of this machine has the port.
    #[inline(always)]
    #[must_use]
    pub const fn held(now_ns: u64) -> Self {
        Self::after(HELD_NS, now_ns)
    }

    #[inline(always)]
    const fn after(ns: u64, now_ns: u64) -> Self {
        if ns == 0 {
            return Self::at(now_ns / TICK_NS);
        }
        // Upwards: a port is never thought to be free before it is.
        let tick = (now_ns + ns).div_ceil(TICK_NS);
        let furthest = now_ns / TICK_NS + FURTHEST_TICKS;
        Self::at(if tick < furthest { tick } else { furthest })
    }

    #[inline(always)]
    const fn at(tick: u64) -> Self {
        let tick = tick as u32;
        Self(if tick == Self::UNKNOWN.0 { 1 } else { tick })
    }

    /// Where this port stands among all: less is better. Without a branch: the verifier would walk
    /// every way through the 64 ports of a chunk.
    #[inline(always)]
    #[must_use]
    pub const fn rank(self, now: u64) -> Rank {
        // All ones, or zero of an unknown port.
        let known = ((self.0 | self.0.wrapping_neg()) as i32 >> 31) as u32;
        let since = self.0.wrapping_sub(now as u32).wrapping_add(NOW);
        Rank(((since & known) as u64) << INDEX_BITS)
    }
}

/// How good a port is: what is free sooner, or has been free for longer, goes first; what is not
/// known goes before all. The lowest bits are the port's own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank(pub u64);

const INDEX_BITS: u32 = 6;
/// The upper bits of a port that is free since this very tick.
const NOW: u32 = 1 << 31;

impl Rank {
    /// Worse than any port.
    pub const NONE: Self = Self(i64::MAX as u64);

    /// The rank of the port at `index` of a chunk. Equal ones are told apart by `turn`, so that
    /// nobody knows which is taken first.
    #[inline(always)]
    #[must_use]
    pub const fn of(self, index: u32, turn: u32) -> Self {
        Self(self.0 | ((index ^ turn) % CHUNK_PORTS) as u64)
    }

    /// The same if the port is one of those that may be used, else worse than any that is.
    #[inline(always)]
    #[must_use]
    pub const fn if_allowed(self, allowed: u64, index: u32) -> Self {
        Self(self.0 | (!allowed >> index & 1) << 62)
    }

    /// Whether there was no port at all.
    #[inline(always)]
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 >> 62 != 0
    }

    /// Whether nothing is known of the port: there is none that goes before it.
    #[inline(always)]
    #[must_use]
    pub const fn is_unknown(self) -> bool {
        self.0 >> INDEX_BITS == 0
    }

    /// The index again.
    #[inline(always)]
    #[must_use]
    pub const fn index(self, turn: u32) -> u32 {
        (self.0 as u32 ^ turn) % CHUNK_PORTS
    }

    /// Ticks until the port is worth a try.
    #[inline(always)]
    #[must_use]
    pub const fn left(self) -> u64 {
        (self.0 >> INDEX_BITS).saturating_sub(NOW as u64)
    }
}

/// A tick that does not come.
pub const NEVER: u64 = (1 << WHEN_BITS) - 1;

const WHEN_BITS: u32 = 40;
const STAMP_BITS: u32 = 14;
const WHEN_MASK: u64 = (1 << WHEN_BITS) - 1;
const STAMP_MASK: u64 = (1 << STAMP_BITS) - 1;
const COUNT_UNIT: u64 = 1 << (WHEN_BITS + STAMP_BITS);

/// From when on it is worth looking at a chunk, or at a destination at all. Holds for one set of ports,
/// whose number ([`crate::rule::Rule::port_set`]) is its stamp.
///
/// A look is slower than a word is changed: whoever has looked replaces the word that was there
/// before the look, and an end in between has changed it.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct When(pub u64);

impl When {
    /// The earliest tick at which something may be free.
    #[inline(always)]
    #[must_use]
    pub const fn tick(self, stamp: u64) -> u64 {
        if (self.0 >> WHEN_BITS ^ stamp) & STAMP_MASK == 0 { self.0 & WHEN_MASK } else { 0 }
    }

    /// After a look by these settings.
    #[inline(always)]
    #[must_use]
    pub const fn looked(self, stamp: u64, tick: u64) -> Self {
        let tick = if tick < NEVER { tick } else { NEVER };
        Self(self.counted() | (stamp & STAMP_MASK) << WHEN_BITS | tick)
    }

    /// After an end: something may be free from this tick on.
    #[inline(always)]
    #[must_use]
    pub const fn lowered(self, tick: u64) -> Self {
        let before = self.0 & WHEN_MASK;
        let tick = if tick < before { tick } else { before };
        Self(self.counted() | self.0 & STAMP_MASK << WHEN_BITS | tick)
    }

    /// The next count, and nothing else.
    #[inline(always)]
    const fn counted(self) -> u64 {
        self.0.wrapping_add(COUNT_UNIT) & !(COUNT_UNIT - 1)
    }
}

/// Numbers of sets of ports: from 1 to this one. One that has gone out of use is given to another set
/// when all others have had their turn.
pub const PORT_SETS: u16 = STAMP_MASK as u16;

/// Hints of [`CHUNK_PORTS`] ports.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Whose they are, by [`Owner::mark`]; anybody else's say nothing.
    pub mark: u64,
    pub hints: [Hint; CHUNK_PORTS as usize],
}

/// What is remembered of a destination as a whole.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// When it was asked for last: a tick.
    pub used: u64,
    /// Of all its ports.
    pub when: When,
    /// Of each chunk.
    pub chunks: [When; CHUNKS as usize],
}

#[cfg(test)]
mod tests;
