//! Which external ports a new session tries, and in which order.
use crate::{addr::Port, ports::Ports};

/// A range of ports, both ends included; `min <= max`, and `min` is not 0.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortRange {
    pub min: u16,
    pub max: u16,
}

impl PortRange {
    /// Ports in the range, at least 1.
    #[must_use]
    pub const fn size(self) -> u16 {
        self.max.saturating_sub(self.min).saturating_add(1)
    }
}

/// A walk over a rule's ports: from a random start in steps of one of a few lengths. Visits every
/// port before any of them again.
#[derive(Clone, Copy, Debug)]
pub struct Candidates {
    at: u32,
    step: u32,
}

/// Primes greater than the number of any rule's ports, hence without a factor in common with it:
/// steps of such a length, modulo the size, come round only after all ports.
const STEPS: [u32; 8] = [65_537, 65_539, 65_543, 65_551, 65_557, 65_563, 65_579, 65_581];

impl Candidates {
    /// A walk over `ports`, decided by 32 random bits.
    #[inline(always)]
    #[must_use]
    pub const fn new(ports: &Ports, random: u32) -> Self {
        let at = ((random >> 16) * ports.count()) >> 16;
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
        let step = match prime.checked_rem(ports.count()) {
            Some(step) => step,
            None => 0,
        };
        Self { at, step }
    }

    /// The next port to try of those that the walk is over.
    #[inline(always)]
    pub const fn next_port(&mut self, ports: &Ports) -> Port {
        let port = ports.at(self.at);
        self.at += self.step;
        if self.at >= ports.count() {
            self.at -= ports.count();
        }
        port
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ports(ranges: &[(u16, u16)]) -> Ports {
        let range = |&(min, max): &(u16, u16)| PortRange { min, max };
        Ports::new(&ranges.iter().map(range).collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn every_candidate_is_in_range(a in 1_u16.., b in 1_u16.., random: u32) {
            let (min, max) = (a.min(b), a.max(b));
            let ports = ports(&[(min, max)]);
            let mut walk = Candidates::new(&ports, random);
            for _ in 0..64 {
                let port = walk.next_port(&ports).number();
                prop_assert!(min <= port && port <= max);
            }
        }

        #[test]
        fn no_port_comes_again_before_all_have_come(
            min in 1_u16..60_000, sizes in [1_u16..1000, 1_u16..1000], random: u32,
        ) {
            let [low, high] = sizes;
            let above = min + low + 100;
            let ports = ports(&[(min, min + low - 1), (above, above + high - 1)]);
            let mut walk = Candidates::new(&ports, random);
            let mut seen = std::collections::HashSet::new();
            for _ in 0..low + high {
                let port = walk.next_port(&ports);
                prop_assert!(ports.number(port.number()).is_some());
                prop_assert!(seen.insert(port));
            }
        }
    }

    #[test]
    fn a_range_of_one_offers_it() {
        let ports = ports(&[(7, 7)]);
        let mut walk = Candidates::new(&ports, u32::MAX);
        assert_eq!([walk.next_port(&ports), walk.next_port(&ports)].map(Port::number), [7, 7]);
    }

    fn drawn(ports: &Ports) -> impl Iterator<Item = u16> {
        let first = |n: u32| Candidates::new(ports, n.wrapping_mul(0x9e37_79b9)).next_port(ports);
        (0..65_536_u32).map(move |n| first(n).number())
    }

    #[test]
    fn first_ports_reach_the_whole_range_evenly() {
        let mut buckets = [0_u32; 16];
        for port in drawn(&ports(&[(1024, 65_535)])) {
            buckets[usize::from((port - 1024) / 4032)] += 1;
        }
        assert!(buckets.iter().all(|&n| (3900..4300).contains(&n)), "{buckets:?}");
    }

    /// RFC 6056 section 3.3.1: drawing again, or walking on, from an excluded port would prefer what
    /// stands behind the gap.
    #[test]
    fn rfc6056_3_3_what_is_behind_a_gap_is_not_preferred() {
        let mut drawn_ports = [0_u32; 4];
        for port in drawn(&ports(&[(1024, 1025), (50_000, 50_001)])) {
            drawn_ports[usize::from(port % 2) + if port < 2000 { 0 } else { 2 }] += 1;
        }
        assert!(drawn_ports.iter().all(|&n| (16_000..16_800).contains(&n)), "{drawn_ports:?}");
    }
}
