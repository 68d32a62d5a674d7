//! The strong-host model of an interface with a few addresses, as far as the benchmark needs it.
use std::{cmp::Reverse, net::Ipv4Addr};

use ipnet::Ipv4Net;
use nat_ctl::source::table::{Choice, Chooser};

/// Rules 8a and 8, then the first configured.
#[derive(Clone)]
pub struct Addresses(pub Vec<Ipv4Net>);

impl Addresses {
    fn is_unicast(&self, destination: Ipv4Addr) -> bool {
        destination.octets()[0] < 224 && self.0.iter().all(|net| net.broadcast() != destination)
    }
}

impl Chooser for Addresses {
    fn choose(&self, next_hop: Ipv4Addr, destination: Ipv4Addr) -> Choice {
        if !self.is_unicast(destination) {
            return Choice::NotUnicast;
        }
        let common = |a: Ipv4Addr, b: Ipv4Addr| (a.to_bits() ^ b.to_bits()).leading_zeros();
        let rank = |net: &&Ipv4Net| {
            Reverse((common(net.addr(), next_hop), common(net.addr(), destination)))
        };
        self.0.iter().min_by_key(rank).map_or(Choice::NoSource, |net| Choice::Source(net.addr()))
    }

    fn unrouted(&self, destination: Ipv4Addr) -> Choice {
        if self.is_unicast(destination) { Choice::NoRoute } else { Choice::NotUnicast }
    }

    fn points(&self) -> Vec<Ipv4Net> {
        let multicast_and_beyond = Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 3);
        let addresses = self.0.iter().flat_map(|net| [net.addr(), net.broadcast()]);
        addresses.map(Ipv4Net::from).chain([multicast_and_beyond]).collect()
    }
}
