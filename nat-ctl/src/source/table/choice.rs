//! What a table says of a destination, and who decides that.
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// What packets to a destination are translated to, or why they are not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Choice {
    Source(Ipv4Addr),
    NoRoute,
    /// The egress interface has no address that may be a source.
    NoSource,
    /// A multicast or broadcast destination.
    NotUnicast,
}

/// A source model on one egress interface, its addresses given. Pure, and cheap: the compiler asks
/// some hundred times for each address of the interface.
pub trait Chooser {
    /// For a destination whose route leads to a next hop; on-link that is the destination itself.
    fn choose(&self, next_hop: Ipv4Addr, destination: Ipv4Addr) -> Choice;

    /// For a destination without a route: [`Choice::NoRoute`] or [`Choice::NotUnicast`].
    fn unrouted(&self, destination: Ipv4Addr) -> Choice;

    /// Every prefix where the answer may change with the destination: for all destinations in a
    /// prefix that strictly contains none of these, on-link routes give one answer, no route gives
    /// one answer, and each gateway gives one answer. For rules 8a and 8 these are the candidate
    /// addresses themselves: outside `S/32` the bits that `S` has in common with the destinations
    /// of a prefix are the same for all of them.
    fn points(&self) -> Vec<Ipv4Net>;

    /// Whether a destination for which this source is in force keeps it, whatever
    /// [`Chooser::choose`] says now (the option `sticky`): the address is still a candidate. A
    /// destination that is not unicast keeps nothing; one without a route does, so that a route
    /// that goes and comes back is no reason for another source.
    fn keeps(&self, _source: Ipv4Addr) -> bool {
        false
    }
}
