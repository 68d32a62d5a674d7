//! Prefixes as the trie walks them.
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// A prefix of up to 32 bits; those beyond `len` are 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    pub bits: u32,
    pub len: u8,
}

impl Prefix {
    pub const ROOT: Self = Self { bits: 0, len: 0 };

    /// One half, the upper one if `side` is 1. Only of prefixes shorter than 32.
    pub const fn half(self, side: u32) -> Self {
        let len = self.len + 1;
        Self { bits: self.bits | (side << (32 - len)), len }
    }

    /// The half of a containing prefix of length `len` that this one lies in: 0 or 1.
    pub const fn side(self, len: u8) -> u32 {
        (self.bits >> (31 - len)) & 1
    }

    /// The first `len` bits.
    pub const fn shortened(self, len: u8) -> Self {
        let mask = if len == 0 { 0 } else { u32::MAX << (32 - len) };
        Self { bits: self.bits & mask, len }
    }

    /// The last address.
    pub const fn last(self) -> u32 {
        if self.len == 32 { self.bits } else { self.bits | (u32::MAX >> self.len) }
    }

    pub const fn contains(self, other: Self) -> bool {
        self.len <= other.len && other.shortened(self.len).bits == self.bits
    }

    pub const fn address(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.bits)
    }
}

impl From<Ipv4Net> for Prefix {
    fn from(net: Ipv4Net) -> Self {
        Self { bits: net.network().to_bits(), len: net.prefix_len() }
    }
}

impl From<Prefix> for Ipv4Net {
    fn from(prefix: Prefix) -> Self {
        Self::new_assert(prefix.address(), prefix.len)
    }
}
