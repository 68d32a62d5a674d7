//! Against forged sources: where a network names its interfaces, its packets arrive there and
//! nowhere else, and what arrives there is from where the routing table would send the answer.
use crate::{addr::Ipv4, limits::GUARD_INTERFACES_MAX};

/// What is asked of packets from a prefix. One entry stands for every source in no such network.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guard {
    /// Whether the prefix belongs to a network that names its interfaces. 0 or 1.
    pub named: u32,
    /// Indexes: the network's interfaces, or those that any network names; then zeros.
    pub interfaces: [u32; GUARD_INTERFACES_MAX as usize],
}

/// What is known of a packet by its source and the interface by which it arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// There is nothing to ask.
    Free,
    /// The way back to its source must be the interface by which it arrived.
    Guarded,
    /// Its network's packets do not arrive here.
    Elsewhere,
}

impl Guard {
    /// Of interfaces beyond the most that there is room for, nothing arrives.
    #[must_use]
    pub fn new(named: bool, indexes: &[u32]) -> Self {
        let mut interfaces = [0; GUARD_INTERFACES_MAX as usize];
        interfaces.iter_mut().zip(indexes).for_each(|(entry, index)| *entry = *index);
        Self { named: named.into(), interfaces }
    }

    /// Judges a packet that arrived by an interface.
    #[inline(always)]
    #[must_use]
    pub fn arrival(&self, ifindex: u32) -> Arrival {
        match (self.lists(ifindex), self.named != 0) {
            (true, _) => Arrival::Guarded,
            (false, true) => Arrival::Elsewhere,
            (false, false) => Arrival::Free,
        }
    }

    /// Whether the packets of a network that names its interfaces may arrive by this one.
    #[inline(always)]
    #[must_use]
    pub fn names(&self, ifindex: u32) -> bool {
        self.named != 0 && self.lists(ifindex)
    }

    #[inline(always)]
    fn lists(&self, ifindex: u32) -> bool {
        // Without branches, of which the verifier would follow each: the difference is below zero
        // only for an equal one.
        let equal = |one: u32| u64::from(one ^ ifindex).wrapping_sub(1) >> 63;
        self.interfaces.iter().fold(0, |here, one| here | equal(*one)) != 0
    }
}

/// Key of this machine's addresses by interface.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LocalKey {
    /// The rule table's generation ([`crate::settings::Control::generation`]).
    pub generation: u32,
    /// The interface that has the address; 0 asks whether any has it.
    pub ifindex: u32,
    pub address: Ipv4,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_a_network_arrive_where_it_says() {
        let network = Guard::new(true, &[3, 4]);
        assert_eq!(network.arrival(4), Arrival::Guarded);
        assert_eq!(network.arrival(5), Arrival::Elsewhere);
        assert!(network.names(3) && !network.names(5));
        assert!(!Guard::new(false, &[3]).names(3));
    }

    #[test]
    fn other_packets_are_looked_at_only_where_a_network_is_at_home() {
        let others = Guard::new(false, &[3, 4]);
        assert_eq!(others.arrival(3), Arrival::Guarded);
        assert_eq!(others.arrival(5), Arrival::Free);
    }
}
