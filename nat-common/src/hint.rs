//! What is remembered of the ports toward a busy destination, so that a free one is found without
//! trying all that are taken.
//!
//! A destination is a remote endpoint as seen from one external address ([`destination`]). What
//! stands here are hints: whether a port is free is decided by the claim itself, and by what rests.
//! A hint may call a taken port free, at the price of a try; it must not call a free one taken for
//! longer than a moment, or the port would be lost. So a hint that a port is taken is written
//! before anything can end its session, and one that it has ended after the claim is gone.
//!
//! Times are ticks of [`TICK_NS`], by the data path's clock.
use crate::{
    cooldown::{Cooldown, Reason},
    flow::FlowKey,
    limits::{COOLDOWN_MAX_NS, TUPLES_PER_HINTS},
    port::PortRange,
};

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
/// that had this place; 0 is nobody's.
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
        self.0 != 0 && (self.0 ^ destination) & !TERM_MASK == 0
    }

    /// The next owner of the place.
    #[inline(always)]
    #[must_use]
    pub const fn next(self, destination: u64) -> Self {
        let term = self.0.wrapping_add(1) & TERM_MASK;
        let term = if term == 0 { 1 } else { term };
        Self(destination & !TERM_MASK | term)
    }
}

/// 64 well-mixed bits of a destination: the upper ones tell it from others, the lower ones give its
/// set. Of an inbound key all but the local port counts.
#[inline(always)]
#[must_use]
pub const fn destination(claim: &FlowKey) -> u64 {
    let addresses = (claim.local.to_be32() as u64) << 32 | claim.remote.to_be32() as u64;
    let rest = (claim.remote_port.to_be16() as u64) << 8 | claim.protocol as u64;
    // Odd constants from the fractional parts of the golden ratio and of √2, as in fingerprints.
    let mixed = addresses.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_add(rest).wrapping_mul(0x6a09_e667_f3bc_c909);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 31)
}

/// What is known of one port.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hint(pub u32);

/// Why a port is not free, in the lower bits of a hint: a [`Reason`] and one, or this.
const HELD: u32 = 5;
const WHY_BITS: u32 = 3;

/// How many there can be.
pub const WHYS: usize = 1 << WHY_BITS;

const TICKS_MASK: u64 = (1 << (32 - WHY_BITS)) - 1;

/// How far ahead of a clock another CPU's can be, at the very most: what seems to lie ahead by more
/// is long past. The numbers come round after 6.5 days: a port that has not been asked for since
/// may then be passed over once more for its time.
const AHEAD_TICKS: u64 = 1 << 10;

/// How long a port rests that a socket of this machine has, until it is looked at again.
const HELD_TICKS: u32 = (1_000_000_000 / TICK_NS) as u32;

impl Hint {
    /// Nothing is known: worth a try.
    pub const UNKNOWN: Self = Self(0);

    /// A session has the port.
    pub const TAKEN: Self = Self(u32::MAX);

    /// The port's last session has ended.
    #[inline(always)]
    #[must_use]
    pub const fn ended(closed_ns: u64, reason: Reason) -> Self {
        Self::at(closed_ns, reason as u32 + 1)
    }

    /// A socket of this machine has the port.
    #[inline(always)]
    #[must_use]
    pub const fn held(now_ns: u64) -> Self {
        Self::at(now_ns, HELD)
    }

    #[inline(always)]
    const fn at(ns: u64, why: u32) -> Self {
        // Upwards: a port is never thought to be free before it is.
        let ticks = ns.div_ceil(TICK_NS);
        Self(((ticks & TICKS_MASK) as u32) << WHY_BITS | why)
    }

    /// Where this port stands among all: less is better. Nothing for a taken one.
    #[inline(always)]
    #[must_use]
    pub const fn rank(self, waits: &Waits, now: u64) -> Option<Rank> {
        if self.0 == Self::TAKEN.0 {
            return None;
        }
        if self.0 == Self::UNKNOWN.0 {
            return Some(Rank(0));
        }
        let elapsed = now.wrapping_sub((self.0 >> WHY_BITS) as u64) & TICKS_MASK;
        let ahead = TICKS_MASK + 1 - elapsed;
        let (elapsed, ahead) = if ahead <= AHEAD_TICKS { (0, ahead) } else { (elapsed, 0) };
        let wait = waits.0[self.0 as usize % WHYS] as u64;
        let left = if wait == 0 { 0 } else { (wait + ahead).saturating_sub(elapsed) };
        Some(Rank(left << LEFT_SHIFT | (TICKS_MASK - elapsed) << AGE_SHIFT))
    }
}

/// How many ticks a port rests, by what its hint says. Of nothing: none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waits(pub [u32; WHYS]);

const _: () = assert!(COOLDOWN_MAX_NS / TICK_NS < 1 << (64 - LEFT_SHIFT));

impl Waits {
    #[inline(always)]
    #[must_use]
    pub const fn new(cooldown: &Cooldown) -> Self {
        let mut waits = [0; WHYS];
        waits[Reason::Fin as usize + 1] = ticks(cooldown.wait_ns(Reason::Fin));
        waits[Reason::Rst as usize + 1] = ticks(cooldown.wait_ns(Reason::Rst));
        waits[Reason::HalfOpen as usize + 1] = ticks(cooldown.wait_ns(Reason::HalfOpen));
        waits[Reason::UdpIcmp as usize + 1] = ticks(cooldown.wait_ns(Reason::UdpIcmp));
        waits[HELD as usize] = HELD_TICKS;
        Self(waits)
    }

    /// When a port of this hint is free: a tick.
    #[inline(always)]
    #[must_use]
    pub const fn release(&self, hint: Hint, now: u64) -> u64 {
        match hint.rank(self, now) {
            Some(rank) => now + rank.left(),
            None => NEVER,
        }
    }
}

const fn ticks(ns: u64) -> u32 {
    let bounded = if ns < COOLDOWN_MAX_NS { ns } else { COOLDOWN_MAX_NS };
    bounded.div_ceil(TICK_NS) as u32
}

/// How good a port is: first what is free sooner, then what has been free for longer. The lowest
/// bits are the port's own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank(pub u64);

const AGE_SHIFT: u32 = 6;
const LEFT_SHIFT: u32 = AGE_SHIFT + (32 - WHY_BITS);

impl Rank {
    /// Worse than any port.
    pub const NONE: Self = Self(u64::MAX);

    /// The rank of the port at `index` of a chunk. Equal ones are told apart by `turn`, so that
    /// nobody knows which is taken first.
    #[inline(always)]
    #[must_use]
    pub const fn of(self, index: u32, turn: u32) -> Self {
        Self(self.0 | ((index ^ turn) % CHUNK_PORTS) as u64)
    }

    /// The index again.
    #[inline(always)]
    #[must_use]
    pub const fn index(self, turn: u32) -> u32 {
        (self.0 as u32 ^ turn) % CHUNK_PORTS
    }

    /// Ticks until the port is free.
    #[inline(always)]
    #[must_use]
    pub const fn left(self) -> u64 {
        self.0 >> LEFT_SHIFT
    }
}

/// A tick that does not come.
pub const NEVER: u64 = (1 << WHEN_BITS) - 1;

const WHEN_BITS: u32 = 40;
const STAMP_BITS: u32 = 14;
const WHEN_MASK: u64 = (1 << WHEN_BITS) - 1;
const STAMP_MASK: u64 = (1 << STAMP_BITS) - 1;
const COUNT_UNIT: u64 = 1 << (WHEN_BITS + STAMP_BITS);

/// From when on it is worth looking at a chunk, or at a destination at all. Holds for one set of
/// ports and one table of settings, whose number is its stamp.
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

/// The number of a set of ports and a table of settings, for one owner of a place.
#[inline(always)]
#[must_use]
pub const fn stamp(generation: u32, rule: u32, owner: Owner) -> u64 {
    let mixed = ((generation as u64) << 32 | (rule as u64) << 16 | owner.0 & TERM_MASK)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed >> (64 - STAMP_BITS)
}

/// Hints of [`CHUNK_PORTS`] ports.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Whose they are; anybody else's say nothing.
    pub owner: Owner,
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

/// Which ports of a chunk are in a range: one bit each.
#[inline(always)]
#[must_use]
pub const fn allowed(range: PortRange, chunk: u32) -> u64 {
    let first = chunk * CHUNK_PORTS;
    let last = first + CHUNK_PORTS - 1;
    let (min, max) = (range.min as u32, range.max as u32);
    if max < first || min > last {
        return 0;
    }
    let from = min.saturating_sub(first);
    let to = if max < last { max - first } else { CHUNK_PORTS - 1 };
    (u64::MAX << from) & (u64::MAX >> (CHUNK_PORTS - 1 - to))
}

#[cfg(test)]
mod tests;
