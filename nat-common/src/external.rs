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

#[cfg(test)]
mod tests {
    use super::*;

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
