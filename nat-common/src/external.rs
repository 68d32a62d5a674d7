//! Which ports of this machine's addresses belong to translation. What comes for one of them from
//! outside and has neither a session nor a socket is nobody's, and gets no answer (RFC 5382 REQ-4).
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

/// The ports that rules may use on an address; of ICMP the identifiers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExternalPorts {
    /// Those beyond the last are empty: their `min` is greater than their `max`.
    ranges: [PortRange; EXTERNAL_RANGES_MAX as usize],
}

impl ExternalPorts {
    const EMPTY: PortRange = PortRange { min: 1, max: 0 };

    /// Ranges beyond the most that there is room for are left out.
    #[must_use]
    pub fn new(ranges: &[PortRange]) -> Self {
        let mut all = [Self::EMPTY; EXTERNAL_RANGES_MAX as usize];
        all.iter_mut().zip(ranges).for_each(|(entry, range)| *entry = *range);
        Self { ranges: all }
    }

    /// Whether a port is in one of the ranges.
    #[inline(always)]
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        // Leaves at the first that holds it: what the verifier has to follow then is a line.
        self.ranges.iter().any(|range| range.min <= port && port <= range.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_is_in_its_ranges_and_in_no_other() {
        let ranges = [(1, 1), (1024, 1030), (40_000, 65_535)];
        let ports = ExternalPorts::new(&ranges.map(|(min, max)| PortRange { min, max }));
        for port in 0..=u16::MAX {
            let expected = ranges.iter().any(|(min, max)| (min..=max).contains(&&port));
            assert_eq!(ports.contains(port), expected, "{port}");
            assert!(!ExternalPorts::new(&[]).contains(port));
        }
    }
}
