//! The choice for one way out, prepared once and asked often.
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::Ipv4Net;

use super::{
    Error, Host, Model, Options, PrivateScope, Rule,
    candidates::{Candidate, entries},
    lookup::broadcasts,
    models::{Question, decide},
    prefix::common_prefix,
};

/// Candidates for which a choice allocates nothing.
const FEW: usize = 64;

/// What decides the source of IPv4 packets that leave by one interface, for the models whose answer
/// follows from host, next hop and destination. (A route's `src` and addresses that a NAT rule
/// names are for [`select`](super::select).)
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Egress {
    model: Model,
    options: Options,
    /// The interface's own first.
    candidates: Vec<Candidate>,
    /// The same, in the same order.
    addresses: Vec<Ipv4Addr>,
    /// Directed broadcasts of the host, sorted.
    broadcasts: Vec<Ipv4Addr>,
}

impl Egress {
    /// For an interface of `host`; without candidates if there is none of that name.
    pub fn new(host: &Host, interface: &str, model: Model, options: &Options) -> Self {
        let mut candidates = Vec::new();
        let mut addresses = Vec::new();
        if let Some(egress) = host.interface(interface) {
            let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            for entry in entries(host, egress, model, options, any) {
                if let (None, IpAddr::V4(ip)) = (entry.kept_out, entry.candidate.ip) {
                    candidates.push(entry.candidate);
                    addresses.push(ip);
                }
            }
        }
        let mut broadcasts: Vec<_> = broadcasts(host).collect();
        broadcasts.sort_unstable();
        broadcasts.dedup();
        Self { model, options: *options, candidates, addresses, broadcasts }
    }

    /// The candidates, the interface's own first, in configured order.
    pub fn addresses(&self) -> &[Ipv4Addr] {
        &self.addresses
    }

    /// The source of packets to `destination` by the way of `next_hop`, which for destinations on
    /// the link is the destination.
    pub fn choose(
        &self,
        next_hop: Ipv4Addr,
        destination: Ipv4Addr,
    ) -> Result<(Ipv4Addr, Rule), Error> {
        let limited = destination.is_multicast() || destination.is_broadcast();
        if limited || self.broadcasts.binary_search(&destination).is_ok() {
            return Err(Error::NotUnicast);
        }
        let question = Question {
            destination: destination.into(),
            next_hop: next_hop.into(),
            route_source: None,
            named: &[],
            client: Ipv4Addr::UNSPECIFIED,
        };
        let (mut few, mut many) = ([None; FEW], Vec::new());
        let removed = match few.get_mut(..self.candidates.len()) {
            Some(few) => few,
            None => {
                many.resize(self.candidates.len(), None);
                &mut many[..]
            }
        };
        let (winner, rule) =
            decide(self.model, &self.options, &self.candidates, &question, removed)?;
        let source = self.addresses.get(winner).ok_or(Error::NoSource)?;
        Ok((*source, rule))
    }

    /// Every prefix at which the answer may change with the destination, where the next hop stays
    /// the same or is the destination: two destinations that are in the same ones of these have the
    /// same answer. Sorted; twice the number of candidates, and a few.
    pub fn points(&self) -> impl Iterator<Item = Ipv4Net> {
        let mut points: BTreeSet<_> = self.broadcasts.iter().copied().map(Ipv4Net::from).collect();
        points.extend([MULTICAST, LIMITED_BROADCAST]);
        match self.model {
            Model::Strong | Model::Rfc6724 => {
                points.extend(self.scopes());
                points.extend(self.matches());
            }
            Model::Linux | Model::LinuxMasquerade => {
                points.insert(LOOPBACK);
                points.extend(self.subnets());
            }
            _ => {}
        }
        points.into_iter()
    }

    /// Where the destination's scope changes.
    fn scopes(&self) -> impl Iterator<Item = Ipv4Net> {
        let private: &[Ipv4Net] = match self.options.private_scope {
            PrivateScope::SiteLocal => &PRIVATE,
            PrivateScope::Global => &[],
        };
        [LINK_LOCAL, LOOPBACK].into_iter().chain(private.iter().copied())
    }

    /// Where the destination's match with one candidate becomes longer than that with another (rules
    /// 8 and 8a), or complete (rule 1).
    fn matches(&self) -> impl Iterator<Item = Ipv4Net> {
        let mut sorted = self.addresses.clone();
        sorted.sort_unstable();
        // What any two share ends where two neighbours part.
        let parting = sorted.windows(2).flat_map(|pair| {
            let [one, other] = pair else { return [None, None] };
            let len = common_prefix((*one).into(), (*other).into()) + 1;
            [first_bits(*one, len), first_bits(*other, len)]
        });
        let mut points: Vec<_> = parting.flatten().collect();
        points.extend(sorted.iter().copied().map(Ipv4Net::from));
        if self.caps() {
            // Behind the end of one candidate's subnet only others still gain.
            let ends: BTreeSet<_> = self.candidates.iter().map(|one| one.prefix_len + 1).collect();
            points.extend(
                sorted.iter().flat_map(|ip| ends.iter().filter_map(|end| first_bits(*ip, *end))),
            );
        }
        points.into_iter()
    }

    fn caps(&self) -> bool {
        self.options.caps_common_prefix(self.model, IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    fn subnets(&self) -> impl Iterator<Item = Ipv4Net> {
        self.addresses
            .iter()
            .zip(&self.candidates)
            .filter_map(|(ip, candidate)| first_bits(*ip, candidate.prefix_len))
    }
}

const MULTICAST: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4);
const LIMITED_BROADCAST: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::BROADCAST, 32);
const LINK_LOCAL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16);
const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
const PRIVATE: [Ipv4Net; 3] = [
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// The prefix of a length that an address is in, if there is such a length.
fn first_bits(ip: Ipv4Addr, len: u8) -> Option<Ipv4Net> {
    Ipv4Net::new(ip, len).ok().map(|net| net.trunc())
}

#[cfg(test)]
mod tests;
