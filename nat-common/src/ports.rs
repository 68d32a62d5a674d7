//! The external ports of a rule: a range with gaps, for the ports that the gateway's own services
//! need (RFC 6056 section 3.2).
//!
//! Allowed ports are numbered from 0 without gaps, so that whoever draws a number draws every
//! allowed port with the same probability. Trying again after a port that is excluded would not: what
//! follows a gap would be drawn more often (RFC 6056 section 3.3.1).
use crate::{addr::Port, limits::PORT_GAPS_MAX, port::PortRange};

/// Allowed ports.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// The first one.
    min: u16,
    /// How many there are.
    count: u16,
    /// In rising order.
    gaps: [Gap; PORT_GAPS_MAX as usize],
}

/// Ports that are left out between two that are allowed.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Gap {
    /// Number of the allowed port behind it.
    before: u16,
    /// Ports in it.
    length: u16,
}

impl Gap {
    /// No number is so high: there is no port 0.
    const NONE: Self = Self { before: u16::MAX, length: 0 };
}

impl Ports {
    /// No port.
    pub const NONE: Self = Self { min: 0, count: 0, gaps: [Gap::NONE; PORT_GAPS_MAX as usize] };

    /// Allowed ranges in rising order, apart from each other and without port 0. Of more than one
    /// and [`PORT_GAPS_MAX`], the rest is left out.
    #[must_use]
    pub fn new(ranges: &[PortRange]) -> Self {
        let mut ports = Self::NONE;
        let Some((first, others)) = ranges.split_first() else { return ports };
        (ports.min, ports.count) = (first.min, first.size());
        let mut last = first.max;
        for (gap, range) in ports.gaps.iter_mut().zip(others) {
            let length = range.min.saturating_sub(last).saturating_sub(1);
            *gap = Gap { before: ports.count, length };
            ports.count = ports.count.saturating_add(range.size());
            last = range.max;
        }
        ports
    }

    /// How many there are.
    #[inline(always)]
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count as u32
    }

    /// The port of a number below [`Ports::count`].
    ///
    /// Without a branch: the verifier walks it once, whatever number and gaps are.
    #[inline(always)]
    #[must_use]
    pub const fn at(&self, number: u32) -> Port {
        let mut port = self.min as u32 + number;
        let mut index = 0;
        while index < self.gaps.len() {
            let Gap { before, length } = self.gaps[index];
            // All ones if the number is lower: then the port stands in front of the gap.
            let in_front = (number.wrapping_sub(before as u32) as i32 >> 31) as u32;
            port += length as u32 & !in_front;
            index += 1;
        }
        Port::new(port as u16)
    }

    /// The first and the last one.
    #[inline(always)]
    #[must_use]
    pub const fn ends(&self) -> (u32, u32) {
        (self.min as u32, self.at((self.count as u32).saturating_sub(1)).number() as u32)
    }

    /// Which of the 64 ports from `first` on are allowed: one bit each, the lowest for the first.
    ///
    /// Without a branch, as [`Ports::at`].
    #[inline(always)]
    #[must_use]
    pub const fn among(&self, first: u32) -> u64 {
        let (min, last) = self.ends();
        let mut bits = span(first, min, last + 1);
        let mut start = min;
        let mut index = 0;
        while index < self.gaps.len() {
            let Gap { before, length } = self.gaps[index];
            let gap = start + before as u32;
            bits &= !span(first, gap, gap + length as u32);
            start += length as u32;
            index += 1;
        }
        bits
    }

    /// Whether a port is allowed. Without a branch, as [`Ports::at`].
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, port: Port) -> bool {
        let port = port.number() as u32;
        self.among(port - port % 64) >> (port % 64) & 1 == 1
    }

    /// The number of a port, if it is allowed.
    #[must_use]
    pub fn number(&self, port: u16) -> Option<u32> {
        let mut number = u32::from(port.checked_sub(self.min)?);
        for gap in self.gaps {
            if number >= u32::from(gap.before) {
                number = number.saturating_sub(u32::from(gap.length)).max(gap.before.into());
            }
        }
        (number < self.count() && self.at(number).number() == port).then_some(number)
    }
}

/// Of the 64 ports from `first` on those from `from` on, and before `to`.
#[inline(always)]
const fn span(first: u32, from: u32, to: u32) -> u64 {
    below(to.wrapping_sub(first)) & !below(from.wrapping_sub(first))
}

/// As many low bits as an offset says: none if it is negative, 64 at most.
#[inline(always)]
const fn below(offset: u32) -> u64 {
    let positive = !((offset as i32 >> 31) as u64);
    // All ones from 64 on: 63 less the offset is negative.
    let all = (63_u32.wrapping_sub(offset) as i32 >> 31) as u64;
    ((1_u64 << (offset % 64)).wrapping_sub(1) | all) & positive
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The allowed ranges of a set of ports.
    fn ranges(ports: &BTreeSet<u16>) -> Vec<PortRange> {
        let mut ranges: Vec<PortRange> = Vec::new();
        for &port in ports {
            match ranges.last_mut() {
                Some(last) if last.max + 1 == port => last.max = port,
                _ => ranges.push(PortRange { min: port, max: port }),
            }
        }
        ranges
    }

    fn allowed(ports: &Ports) -> Vec<u16> {
        (0..ports.count()).map(|number| ports.at(number).number()).collect()
    }

    proptest! {
        #[test]
        fn the_bits_of_64_ports_are_those_that_are_allowed(
            members in prop::collection::btree_set(prop_oneof![1_u16.., 960_u16..1100], 1..12),
            chunk in prop_oneof![0_u32..1024, 14_u32..18],
        ) {
            let ports = Ports::new(&ranges(&members));
            let first = chunk * 64;
            let bits = ports.among(first);
            for index in 0..64 {
                let member = u16::try_from(first + index).is_ok_and(|port| members.contains(&port));
                prop_assert_eq!(bits >> index & 1 == 1, member, "{}", first + index);
            }
        }

        #[test]
        fn numbers_go_through_the_allowed_ports_and_no_others(
            first in 1_u16..65_000,
            lengths in proptest::collection::vec((1_u16..20, 1_u16..20), 1..=16),
        ) {
            let (mut at, mut set) = (first, BTreeSet::new());
            for (length, gap) in lengths {
                set.extend((at..=u16::MAX).take(length.into()));
                at = at.saturating_add(length + gap);
            }
            let ports = Ports::new(&ranges(&set));
            let set: Vec<u16> = set.into_iter().collect();
            prop_assert_eq!(allowed(&ports), set.as_slice());
            for port in first.saturating_sub(3)..=at {
                let position = set.binary_search(&port).ok();
                prop_assert_eq!(ports.number(port), position.map(|at| at as u32), "{}", port);
                prop_assert_eq!(ports.has(Port::new(port)), position.is_some(), "{}", port);
            }
        }
    }

    #[test]
    fn all_ports_there_are() {
        let ports = Ports::new(&[PortRange { min: 1, max: u16::MAX }]);
        assert_eq!(ports.count(), 65_535);
        assert_eq!((ports.at(0).number(), ports.at(65_534).number()), (1, 65_535));
        assert_eq!((ports.number(0), ports.number(65_535)), (None, Some(65_534)));
        assert_eq!((Ports::NONE.count(), Ports::NONE.number(0)), (0, None));
    }

    /// A port that cannot be represented is not used, rather than one that is excluded.
    #[test]
    fn ranges_beyond_the_most_are_left_out() {
        let set: BTreeSet<u16> = (0..20).map(|n| 1000 + 10 * n).collect();
        let ports = Ports::new(&ranges(&set));
        assert_eq!(allowed(&ports), set.iter().copied().take(16).collect::<Vec<_>>());
    }
}
