//! Which ports of this machine's addresses belong to translation, and to which rule. What comes for one
//! of them from outside and has neither a session nor a socket is nobody's, and gets no answer (RFC 5382
//! REQ-4); what the gateway itself sends from one takes part in translation.
use crate::{addr::Ipv4, limits::EXTERNAL_RANGES_MAX, port::PortRange};

/// Key of the external endpoints in force.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ExternalKey {
    /// The rule table's generation ([`crate::settings::Control::generation`]).
    pub generation: u32,
    pub address: Ipv4,
    /// IANA number.
    pub protocol: u32,
}

/// Ports, and the first rule that may use them.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExternalRange {
    pub ports: PortRange,
    /// The rule's position in the table.
    pub rule: u32,
}

/// The ports that rules may use on an address; of ICMP the identifiers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExternalPorts {
    /// Those beyond the last are empty: their `min` is greater than their `max`.
    ranges: [ExternalRange; EXTERNAL_RANGES_MAX as usize],
}

impl ExternalPorts {
    const EMPTY: ExternalRange = ExternalRange { ports: PortRange { min: 1, max: 0 }, rule: 0 };

    /// Ranges beyond the most that there is room for are left out.
    #[must_use]
    pub fn new(ranges: &[ExternalRange]) -> Self {
        let mut all = [Self::EMPTY; EXTERNAL_RANGES_MAX as usize];
        all.iter_mut().zip(ranges).for_each(|(entry, range)| *entry = *range);
        Self { ranges: all }
    }

    /// Whether a port is in one of the ranges.
    #[inline(always)]
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        // Leaves at the first that holds it: what the verifier has to follow then is a line.
        self.rule(port).is_some()
    }

    /// The position of the first rule that may use a port.
    #[inline(always)]
    #[must_use]
    pub fn rule(&self, port: u16) -> Option<u32> {
        let has = |range: &&ExternalRange| range.ports.min <= port && port <= range.ports.max;
        self.ranges.iter().find(has).map(|range| range.rule)
    }
}

/// Addresses from the least to the greatest of those in a map: most packets are for none of them, and
/// need not be looked up.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// In host byte order. Greater than `greatest` if there are none.
    pub least: u32,
    pub greatest: u32,
}

impl Span {
    /// Of any addresses.
    #[must_use]
    pub fn of(addresses: impl Iterator<Item = Ipv4>) -> Self {
        addresses.map(|address| u32::from_be_bytes(address.octets())).fold(
            Self { least: u32::MAX, greatest: 0 },
            |span, bits| Self { least: span.least.min(bits), greatest: span.greatest.max(bits) },
        )
    }

    /// Whether an address may be one of them.
    #[inline(always)]
    #[must_use]
    pub const fn holds(self, address: Ipv4) -> bool {
        let bits = u32::from_be_bytes(address.octets());
        self.least <= bits && bits <= self.greatest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_holds_what_it_is_of_and_nothing_beyond() {
        let address = |last| Ipv4::new([203, 0, 113, last]);
        let of = |all: &[u8]| Span::of(all.iter().map(|last| address(*last)));
        assert!((0..=255).all(|last| !of(&[]).holds(address(last))));
        for last in 0..=255 {
            assert_eq!(of(&[7]).holds(address(last)), last == 7, "{last}");
            assert_eq!(of(&[9, 7, 200]).holds(address(last)), (7..=200).contains(&last), "{last}");
        }
        assert!(!of(&[7]).holds(Ipv4::new([7, 113, 0, 203])));
    }

    #[test]
    fn every_port_belongs_to_the_first_rule_that_has_it_and_no_other_to_any() {
        let ranges = [(1, 1, 0), (1024, 1030, 2), (40_000, 65_535, 1), (1020, 1026, 3)];
        let ports = ExternalPorts::new(
            &ranges.map(|(min, max, rule)| ExternalRange { ports: PortRange { min, max }, rule }),
        );
        for port in 0..=u16::MAX {
            let expected = match port {
                1 => Some(0),
                1024..=1030 => Some(2),
                40_000.. => Some(1),
                1020..=1023 => Some(3),
                _ => None,
            };
            assert_eq!(ports.rule(port), expected, "{port}");
            assert_eq!(ports.contains(port), expected.is_some(), "{port}");
            assert!(!ExternalPorts::new(&[]).contains(port));
        }
    }
}
