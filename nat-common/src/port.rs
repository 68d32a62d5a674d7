//! Which external ports a new session tries, and in which order.
use crate::addr::Port;

/// The ports of a rule, both ends included; `min <= max`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortRange {
    pub min: u16,
    pub max: u16,
}

/// A walk over a port range from a random start in random steps.
///
/// Neither the port nor its successor follows from ports already seen (RFC 6056 section 3.3.5,
/// random increments). A walk visits few ports twice: the step is smaller than the range, and the
/// caller takes at most [`crate::limits::PORT_TRIES_MAX`] of them.
#[derive(Clone, Copy, Debug)]
pub struct Candidates {
    min: u32,
    size: u32,
    at: u32,
    step: u32,
}

impl Candidates {
    /// A walk over `range`, decided by 32 random bits.
    #[inline(always)]
    #[must_use]
    pub const fn new(range: PortRange, random: u32) -> Self {
        let size = range.max as u32 - range.min as u32 + 1;
        let at = ((random >> 16) * size) >> 16;
        // Odd, so that the walk does not come back after a few steps in the usual ranges, whose
        // size is a multiple of a power of two. Less than the size, or 1.
        let step = (((random & 0xffff) * (size - 1)) >> 16) | 1;
        Self { min: range.min as u32, size, at, step }
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
        fn a_range_of_two_or_more_offers_more_than_one_port(min in 1_u16..65535, random: u32) {
            let range = PortRange { min, max: min + 1 };
            let mut walk = Candidates::new(range, random);
            prop_assert_ne!(walk.next_port(), walk.next_port());
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
