//! TMG's Enhanced NAT with addresses named by the rule, which have to be on the interface that
//! leads to the destination.
use std::net::{IpAddr, Ipv4Addr};

use nat_common::{addr::Ipv4, pool::rendezvous_weight};

use super::super::{Error, Rule, candidates::Candidate};

/// The specified address.
pub fn specified(candidates: &[Candidate], named: &[IpAddr]) -> Result<(usize, Rule), Error> {
    let ip = named.first().ok_or(Error::EmptyPool)?;
    Ok((place(candidates, *ip)?, Rule::Specified))
}

/// The client's address of several: the same choice as the data path's
/// ([`nat_common::pool::choose`]).
pub fn pooled(
    candidates: &[Candidate],
    named: &[IpAddr],
    client: Ipv4Addr,
) -> Result<(usize, Rule), Error> {
    let mut best: Option<(usize, u32)> = None;
    for ip in named {
        let (index, weight) = (place(candidates, *ip)?, weight(client, *ip));
        if best.is_none_or(|(_, greatest)| weight > greatest) {
            best = Some((index, weight));
        }
    }
    best.map(|(index, _)| (index, Rule::Pool)).ok_or(Error::EmptyPool)
}

fn place(candidates: &[Candidate], ip: IpAddr) -> Result<usize, Error> {
    let place = candidates.iter().position(|candidate| candidate.ip == ip);
    place.ok_or(Error::AddressNotOnEgress)
}

fn weight(client: Ipv4Addr, external: IpAddr) -> u32 {
    match external {
        IpAddr::V4(external) => {
            rendezvous_weight(Ipv4::new(client.octets()), Ipv4::new(external.octets()))
        }
        // The data path has no pools of IPv6: the first.
        IpAddr::V6(_) => 0,
    }
}
