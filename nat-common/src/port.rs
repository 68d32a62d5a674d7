//! Which external ports a new session tries, and in which order.
use crate::addr::Port;

/// The ports of a rule, both ends included; `min <= max`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortRange {
    pub min: u16,
    pub max: u16,
}

impl PortRange {
    /// Ports in the range, at least 1.
    #[inline(always)]
    const fn size(self) -> u32 {
        (self.max as u32).saturating_sub(self.min as u32) + 1
    }

    /// The remainder of a division by the size.
    #[inline(always)]
    const fn modulo(self, number: u32) -> u32 {
        match number.checked_rem(self.size()) {
            Some(remainder) => remainder,
            None => 0,
        }
    }
}

/// A walk over a port range: from a random start in steps of one of a few lengths. Visits every
/// port of the range before any of them again.
#[derive(Clone, Copy, Debug)]
pub struct Candidates {
    min: u32,
    size: u32,
    at: u32,
    step: u32,
}

/// Primes greater than the size of any port range, hence without a factor in common with it:
/// steps of such a length, modulo the size, come round only after all ports.
const STEPS: [u32; 8] = [65_537, 65_539, 65_543, 65_551, 65_557, 65_563, 65_579, 65_581];

impl Candidates {
    /// A walk over `range`, decided by 32 random bits.
    #[inline(always)]
    #[must_use]
    pub const fn new(range: PortRange, random: u32) -> Self {
        let size = range.size();
        let at = ((random >> 16) * size) >> 16;
        let prime = match random & 7 {
            0 => STEPS[0],
            1 => STEPS[1],
            2 => STEPS[2],
            3 => STEPS[3],
            4 => STEPS[4],
            5 => STEPS[5],
            6 => STEPS[6],
            _ => STEPS[7],
        };
        Self { min: range.min as u32, size, at, step: range.modulo(prime) }
    }

    /// The next port to try.
    #[inline(always)]
    pub const fn next_port(&mut self) -> Port {
        let port = Port::new((self.min + self.at) as u16);
        self.at += self.step;
        if self.at >= self.size {
            self.at -= self.size;
        }
        port
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_candidate_is_in_range(a in 1_u16.., b in 1_u16.., random: u32) {
            let range = PortRange { min: a.min(b), max: a.max(b) };
            let mut walk = Candidates::new(range, random);
            for _ in 0..64 {
                let port = walk.next_port().number();
                prop_assert!(range.min <= port && port <= range.max);
            }
        }

        #[test]
        fn no_port_comes_again_before_all_have_come(
            min in 1_u16..60_000, size in 1_u16..2000, random: u32,
        ) {
            let mut walk = Candidates::new(PortRange { min, max: min + size - 1 }, random);
            let mut seen = std::collections::HashSet::new();
            for _ in 0..size {
                prop_assert!(seen.insert(walk.next_port()));
            }
        }
    }

    #[test]
    fn a_range_of_one_offers_it() {
        let mut walk = Candidates::new(PortRange { min: 7, max: 7 }, u32::MAX);
        assert_eq!([walk.next_port(), walk.next_port()].map(Port::number), [7, 7]);
    }

    #[test]
    fn first_ports_reach_the_whole_range_evenly() {
        let mut buckets = [0_u32; 16];
        for n in 0..65_536_u32 {
            let random = n.wrapping_mul(0x9e37_79b9);
            let port = Candidates::new(PortRange { min: 1024, max: 65535 }, random).next_port();
            buckets[usize::from((port.number() - 1024) / 4032)] += 1;
        }
        assert!(buckets.iter().all(|&n| (3900..4300).contains(&n)), "{buckets:?}");
    }
}
