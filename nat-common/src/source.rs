//! The external address that a source model has chosen, by destination.
//!
//! The controller computes the choice for every destination, by its next hop and the addresses of
//! the interface by which it leaves, and compiles it to the fewest prefixes. A table belongs to one
//! model and one outside interface; rules share it. It is changed in place, one prefix at a time,
//! in an order in which every destination has its old or its new answer at every moment.
use crate::{addr::Ipv4, verdict::Verdict};

/// Key of the choices, for a longest-prefix trie: the table's bits always count in full.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChoiceKey {
    /// Number of the table ([`crate::pool::Pool::table`]), not 0.
    pub table: u32,
    pub destination: Ipv4,
}

impl ChoiceKey {
    /// Bits before the destination's.
    pub const TABLE_BITS: u32 = 32;
    /// Bits of the whole key.
    pub const BITS: u32 = Self::TABLE_BITS + 32;
}

/// What packets to a destination are sent from.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// Unspecified where there is none.
    pub address: Ipv4,
    /// Number of the [`Verdict`] where there is no address.
    pub verdict: u8,
    pub zero: [u8; 3],
}

impl Choice {
    /// An address.
    #[must_use]
    pub const fn chosen(address: Ipv4) -> Self {
        Self { address, verdict: 0, zero: [0; 3] }
    }

    /// No address, and what becomes of the packet.
    #[must_use]
    pub const fn refused(verdict: Verdict) -> Self {
        Self { address: Ipv4::UNSPECIFIED, verdict: verdict as u8, zero: [0; 3] }
    }

    /// The address, or what becomes of the packet.
    ///
    /// # Errors
    /// The verdict of a packet for which there is no address.
    #[inline(always)]
    pub const fn address(self) -> Result<Ipv4, Verdict> {
        if self.address.to_be32() == 0 {
            return Err(Verdict::from_number(self.verdict));
        }
        Ok(self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_a_reason() {
        let address = Ipv4::new([203, 0, 113, 7]);
        assert_eq!(Choice::chosen(address).address(), Ok(address));
        assert_eq!(Choice::refused(Verdict::NoSource).address(), Err(Verdict::NoSource));
    }
}
