//! Rules as the data path sees them, and the decision which one matches.
//!
//! The controller gives every rule a position, the first rule position 0, and compiles the rules'
//! prefixes to two longest-prefix tries, one for sources and one for destinations. Each trie entry
//! holds a set of positions, one bit each: the rules that a packet with this longest prefix
//! satisfies. A packet's rules are the intersection of its source's set, its destination's set and
//! its protocol's set, and the lowest bit of that is the first match (the bit-vector scheme of
//! Lakshman and Stiliadis, SIGCOMM 1998). The cost does not depend on the number of rules.
//!
//! Rule tables carry a generation: the controller writes the new table beside the old one and then
//! switches ([`crate::settings::Control`]), so that no packet sees half a table.
use crate::{
    addr::{Ipv4, Port},
    flow::Protocol,
    limits::RULES_MAX,
    mapping::Behaviour,
    ports::Ports,
    verdict::Verdict,
};

/// What a rule does with a packet.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Leave the packet as it is.
    Route = 0,
    /// Discard the packet.
    Drop = 1,
    /// Translate the source.
    Snat = 2,
}

impl Action {
    /// The action of a stored number. An unknown number can only come from a damaged map, and
    /// discards the packet.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Route,
            2 => Self::Snat,
            _ => Self::Drop,
        }
    }
}

/// A rule in the rule map, at its position.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Identity, below [`crate::limits::RULE_IDS_MAX`]; the same for as long as the rule's name is.
    pub id: u32,
    /// External ports of `snat`.
    pub ports: Ports,
    /// An [`Action`].
    pub action: u8,
    /// A [`crate::pool::Pooling`].
    pub pooling: u8,
    /// What TCP segments of the rule's connections are limited to, bytes ([`crate::mss`]); 0 for no
    /// limit.
    pub mss: u16,
    /// How `snat` maps and filters.
    pub behaviour: Behaviour,
    /// Number of its ports, by which what is known of them ([`crate::hint`]) is told from what is known
    /// of other ones: the same as long as they are, and since the same
    /// [`crate::settings::Settings::hints_since`].
    pub port_set: u16,
    /// The first port of the range in which they are, used or excluded: what rules that share an address
    /// have in common ([`crate::mapping::key`]).
    pub range: Port,
    pub zero: [u8; 2],
}

const _: () = assert!(size_of::<Rule>() == 80);

/// Data of a trie key: the bits after the prefix length.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PrefixKey {
    /// Matched whole, so that the tries of two generations live in one map.
    pub generation: u32,
    pub address: Ipv4,
}

impl PrefixKey {
    /// Bits of the generation, which every key's prefix length includes.
    pub const GENERATION_BITS: u32 = 32;
    /// Prefix length of a look-up.
    pub const BITS: u32 = Self::GENERATION_BITS + 32;
}

/// Words in a [`RuleBits`].
pub const RULE_WORDS: usize = RULES_MAX as usize / 64;

/// A set of rule positions: position `n` is bit `n % 64` of word `n / 64`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleBits(pub [u64; RULE_WORDS]);

impl RuleBits {
    pub const EMPTY: Self = Self([0; RULE_WORDS]);

    /// Adds a position; one beyond the last is ignored.
    pub fn insert(&mut self, position: u32) {
        if let Some(word) = self.0.get_mut((position / 64) as usize) {
            *word |= 1 << (position % 64);
        }
    }

    /// Whether a position is in the set.
    #[must_use]
    pub fn contains(&self, position: u32) -> bool {
        self.0.get((position / 64) as usize).is_some_and(|word| word >> (position % 64) & 1 != 0)
    }
}

/// Sets of rules that do not depend on addresses, by index in a table's part of the subset map.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subset {
    /// Rules for TCP.
    Tcp = 0,
    Udp = 1,
    Icmp = 2,
    /// Rules for every other protocol: `route` and `drop` rules. What cannot be translated is no
    /// match for a `snat` rule.
    Other = 3,
    /// `snat` rules, whatever their protocols.
    Snat = 4,
}

impl Subset {
    /// How many there are in a rule table.
    pub const COUNT: u32 = 5;

    /// The rules that apply to an IANA protocol number.
    #[inline(always)]
    #[must_use]
    pub const fn of_protocol(number: u8) -> Self {
        match Protocol::from_number(number) {
            Some(Protocol::Tcp) => Self::Tcp,
            Some(Protocol::Udp) => Self::Udp,
            Some(Protocol::Icmp) => Self::Icmp,
            None => Self::Other,
        }
    }
}

/// What the rules say about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Match {
    /// The rule at this position.
    Rule(u32),
    /// No rule, but a `snat` rule covers source and destination: this packet must not leave
    /// untranslated, and cannot be translated because of its protocol.
    OnlyProtocolDiffers,
    /// No rule.
    None,
}

/// The first rule of a packet, from the sets of its source, destination and protocol.
#[inline(always)]
#[must_use]
pub fn first_match(
    source: &RuleBits,
    destination: &RuleBits,
    protocol: &RuleBits,
    snat: &RuleBits,
) -> Match {
    let mut covered = 0;
    let sets = source.0.iter().zip(&destination.0).zip(&protocol.0).zip(&snat.0);
    for (word, (((source, destination), protocol), snat)) in sets.enumerate() {
        let both = source & destination;
        let matching = both & protocol;
        if matching != 0 {
            return Match::Rule(word as u32 * 64 + matching.trailing_zeros());
        }
        covered |= both & snat;
    }
    if covered == 0 { Match::None } else { Match::OnlyProtocolDiffers }
}

/// The verdict of a packet that no rule matches.
#[inline(always)]
#[must_use]
pub const fn unmatched(default: Action) -> Verdict {
    match default {
        Action::Route => Verdict::Unmatched,
        Action::Drop | Action::Snat => Verdict::UnmatchedDrop,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(positions: &[u32]) -> RuleBits {
        let mut bits = RuleBits::EMPTY;
        for &position in positions {
            bits.insert(position);
        }
        bits
    }

    fn positions() -> impl Strategy<Value = Vec<u32>> {
        proptest::collection::vec(0..RULES_MAX, 0..200)
    }

    proptest! {
        /// The definition: walk the rules in order.
        #[test]
        fn equals_the_walk_in_order(
            source in positions(), destination in positions(),
            protocol in positions(), snat in positions(),
        ) {
            let both = |n: &u32| source.contains(n) && destination.contains(n);
            let expected = match (0..RULES_MAX).find(|n| both(n) && protocol.contains(n)) {
                Some(position) => Match::Rule(position),
                None if (0..RULES_MAX).any(|n| both(&n) && snat.contains(&n)) => {
                    Match::OnlyProtocolDiffers
                }
                None => Match::None,
            };
            let got = first_match(&set(&source), &set(&destination), &set(&protocol), &set(&snat));
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_position_beyond_the_last_is_in_no_set() {
        assert_eq!(set(&[RULES_MAX]), RuleBits::EMPTY);
    }
}
