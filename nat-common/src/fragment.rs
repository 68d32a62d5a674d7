//! Fragments: which packet they belong to, and which part of it they are.
//!
//! Only the first fragment of a packet has ports. What it is translated to is noted for the others
//! (RFC 4787 REQ-14), together with the parts that have passed: a part that comes twice, or over
//! another one, is what overlapping attacks are made of (RFC 1858, RFC 3128, RFC 5722).
//!
//! Parts are counted in units of 8 bytes, as the offset in the IPv4 header counts them (RFC 791
//! section 3.1).
use crate::{
    addr::Ipv4,
    flow::Direction,
    limits::{ATTENDED_NS, HELD_BYTES_MAX},
};

/// Bytes of a unit.
pub const UNIT_BYTES: usize = 8;
/// Units of the longest packet.
pub const UNITS_MAX: usize = (u16::MAX as usize).div_ceil(UNIT_BYTES);
/// Units in a word of [`Datagram::seen`].
pub const WORD_UNITS: u32 = u64::BITS;
/// Words of [`Datagram::seen`].
pub const WORDS: usize = UNITS_MAX.div_ceil(WORD_UNITS as usize);

/// The more-fragments flag and the offset: what the IPv4 header says of a packet's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part(u16);

impl Part {
    /// A packet that is not in fragments.
    pub const WHOLE: Self = Self(0);

    const MORE: u16 = 0x2000;
    const OFFSET: u16 = 0x1fff;

    /// From the header's field, bytes as they stand in it.
    #[inline(always)]
    #[must_use]
    pub const fn of(field: [u8; 2]) -> Self {
        Self(u16::from_be_bytes(field) & (Self::MORE | Self::OFFSET))
    }

    /// Whether it is a part only.
    #[inline(always)]
    #[must_use]
    pub const fn is_fragment(self) -> bool {
        self.0 != 0
    }

    /// Whether it is a part without the transport header.
    #[inline(always)]
    #[must_use]
    pub const fn is_later(self) -> bool {
        self.0 & Self::OFFSET != 0
    }

    /// Whether it is the part with the transport header.
    #[inline(always)]
    #[must_use]
    pub const fn is_first(self) -> bool {
        self.is_fragment() && !self.is_later()
    }

    /// Whether nothing of the packet comes behind it.
    #[inline(always)]
    #[must_use]
    pub const fn is_last(self) -> bool {
        self.0 & Self::MORE == 0
    }

    /// Whether it starts where the flags of a TCP header stand (RFC 3128).
    #[inline(always)]
    #[must_use]
    pub const fn is_in_tcp_header(self) -> bool {
        self.0 & Self::OFFSET == 1
    }

    /// The units of a fragment with so many bytes behind its IPv4 header, itself of `header` bytes.
    /// Nothing if it is no part of any packet: empty, longer than packets are, or with something
    /// behind it that has no place.
    #[inline(always)]
    #[must_use]
    pub const fn units(self, header: usize, bytes: usize) -> Option<Units> {
        let from = (self.0 & Self::OFFSET) as usize;
        let uneven = !self.is_last() && !bytes.is_multiple_of(UNIT_BYTES);
        if bytes == 0 || uneven || header + from * UNIT_BYTES + bytes > u16::MAX as usize {
            return None;
        }
        let to = from + bytes.div_ceil(UNIT_BYTES);
        Some(Units { from: from as u32, to: to as u32 })
    }
}

/// The units from the first of them to before the second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Units {
    pub from: u32,
    pub to: u32,
}

impl Units {
    /// How many they are.
    #[inline(always)]
    #[must_use]
    pub const fn count(self) -> u32 {
        self.to.wrapping_sub(self.from)
    }

    /// Those of them that a word of [`Datagram::seen`] holds, one bit each.
    #[inline(always)]
    #[must_use]
    pub const fn in_word(self, word: u32) -> u64 {
        let start = word * WORD_UNITS;
        let end = start + WORD_UNITS;
        let from = if self.from > start { self.from } else { start };
        let to = if self.to < end { self.to } else { end };
        if from >= to {
            return 0;
        }
        (u64::MAX >> (WORD_UNITS - (to - from))) << (from - start)
    }
}

/// What a fragment's units are to those that have passed already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coverage {
    /// None of them has.
    New,
    /// All of them have: the network has sent it twice.
    Repeated,
    /// Some have.
    Overlap,
}

impl Coverage {
    /// Of so many units, of which `new` have not passed before.
    #[inline(always)]
    #[must_use]
    pub const fn of(units: Units, new: u32) -> Self {
        if new == units.count() {
            Self::New
        } else if new == 0 {
            Self::Repeated
        } else {
            Self::Overlap
        }
    }
}

/// Whether a fragment can be a part of a packet of which the last fragment has said where it ends.
/// `total` is 0 before that.
#[inline(always)]
#[must_use]
pub const fn fits(units: Units, last: bool, total: u32) -> bool {
    match total {
        0 => true,
        total if last => units.to == total,
        total => units.to < total,
    }
}

/// Key of the maps of fragments: what the fragments of a packet have in common (RFC 791 section
/// 2.3), as they arrive.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FragmentKey {
    pub source: Ipv4,
    pub destination: Ipv4,
    /// Bytes of the identification field.
    pub id: [u8; 2],
    /// IANA number.
    pub protocol: u8,
    /// 0 outbound, 1 inbound.
    direction: u8,
}

const _: () = assert!(size_of::<FragmentKey>() == 12);

impl FragmentKey {
    #[inline(always)]
    #[must_use]
    pub const fn new(
        direction: Direction,
        (source, destination): (Ipv4, Ipv4),
        id: [u8; 2],
        protocol: u8,
    ) -> Self {
        let direction = match direction {
            Direction::Outbound => 0,
            Direction::Inbound => 1,
        };
        Self { source, destination, id, protocol, direction }
    }

    /// The direction in which the packet goes.
    #[inline(always)]
    #[must_use]
    pub const fn direction(&self) -> Direction {
        match self.direction {
            0 => Direction::Outbound,
            _ => Direction::Inbound,
        }
    }

    /// As [`crate::flow::FlowKey::fingerprint`].
    #[inline(always)]
    #[must_use]
    pub const fn fingerprint(&self) -> u32 {
        let addresses = (self.source.to_be32() as u64) << 32 | self.destination.to_be32() as u64;
        let [high, low] = self.id;
        let rest = u32::from_ne_bytes([high, low, self.protocol, self.direction]) as u64;
        let mixed = addresses
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(rest)
            .wrapping_mul(0x6a09_e667_f3bc_c909);
        (mixed ^ (mixed >> 32)) as u32
    }
}

/// Value of the map of packets in fragments, of which the first has passed.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// [`FragmentKey::fingerprint`], for the same reason as [`crate::session::Session::check`].
    pub check: u32,
    /// What the local address becomes.
    pub address: Ipv4,
    /// Until when further fragments are taken, by the data path's clock.
    pub deadline_ns: u64,
    /// Units that have passed.
    pub units: u64,
    /// Units of the whole packet; 0 until its last fragment has passed.
    pub total: u32,
    /// Not 0 when fragments have overlapped: nothing more of it passes.
    pub refused: u32,
    /// The units that have passed, one bit each.
    pub seen: [u64; WORDS],
}

const _: () = assert!(size_of::<Datagram>() == 32 + 8 * WORDS);

/// A fragment that came before the first one of its packet, for the controller to hold. The other
/// record in the same ring is a [`FragmentKey`]: the first one has come.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct HeldFrame {
    pub key: FragmentKey,
    /// The interface at which it was seen.
    pub ifindex: u32,
    /// Of the frame; what stands behind it means nothing.
    pub length: u32,
    pub frame: [u8; HELD_BYTES_MAX],
}

const _: () = assert!(size_of::<HeldFrame>() == 20 + HELD_BYTES_MAX);

/// Mark of the socket by which the controller gives a fragment from outside back. An unprivileged
/// process cannot set it.
pub const RETURNED_MARK: u32 = 0x6e61_7446;

/// Whether there is a controller to hold fragments: one that has not said good-bye, and was seen
/// lately.
#[inline(always)]
#[must_use]
pub const fn is_attended(controller_pid: u32, heartbeat_ns: u64, now_ns: u64) -> bool {
    controller_pid != 0 && now_ns < heartbeat_ns.saturating_add(ATTENDED_NS)
}

#[cfg(test)]
mod tests;
