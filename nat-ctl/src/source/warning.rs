//! What is worth a second look in an answer.
use std::net::IpAddr;

use super::{
    Error, Explanation, Flag, Host, Model, PrivateScope, Query, Rule, TieBreak, lookup,
    scope::Scope, select::has,
};
use crate::config::Pooling;

/// A sentence each.
pub(super) fn all(host: &Host, query: &Query, told: &Explanation) -> Vec<String> {
    let mut warnings = Vec::new();
    match told.outcome {
        Ok((source, rule)) => {
            warnings.extend(poor(told, source));
            warnings.extend(spoofed(host, told, source, rule));
            warnings.extend(undecided(told, rule));
            warnings.extend(pooled(query, rule));
        }
        Err(Error::NoRoute) => warnings.extend(confined(host, query)),
        Err(Error::AddressNotOnEgress) => warnings.extend(elsewhere(host, query, told)),
        Err(_) => {}
    }
    warnings
}

/// A source that hardly anybody can answer.
fn poor(told: &Explanation, source: IpAddr) -> Vec<String> {
    let mut warnings = Vec::new();
    let of_link = |ip| Scope::of(ip, PrivateScope::Global) == Scope::LINK_LOCAL;
    if source.is_loopback() {
        warnings.push(format!("{source} is a loopback address: no answer can reach it"));
    } else if of_link(source) && !of_link(told.destination) {
        warnings.push(format!("{source} is link-local: no router forwards answers to it"));
    }
    let chosen = told.candidates.iter().find(|judged| judged.address == source);
    if chosen.is_some_and(|chosen| chosen.flags.contains(Flag::Deprecated)) {
        warnings.push(format!("{source} is deprecated: its preferred lifetime is over"));
    }
    warnings
}

/// A weak host's packet with another interface's address (KB175396).
fn spoofed(host: &Host, told: &Explanation, source: IpAddr, rule: Rule) -> Option<String> {
    let dev = told.dev()?;
    let on_dev = host.interface(dev).is_some_and(|interface| has(interface, source));
    (rule == Rule::Bound && !on_dev).then(|| {
        format!(
            "{source} is not an address of {dev}, which the packet leaves by: upstream firewalls \
             will call it spoofed"
        )
    })
}

/// A choice that only the order made.
fn undecided(told: &Explanation, rule: Rule) -> Option<String> {
    let by = match told.options.tie_break {
        TieBreak::First => "is configured first: another order, and the source is another",
        TieBreak::Lowest => "is the lowest: a lower address that is added may become the source",
    };
    let source = told.source().filter(|_| rule == Rule::Tie)?;
    Some(format!("no rule decided: {source} was taken because it {by}"))
}

/// A choice that depends on more than was asked.
fn pooled(query: &Query, rule: Rule) -> Option<String> {
    if rule != Rule::Pool || query.named.len() < 2 {
        return None;
    }
    match (query.pooling, query.client) {
        (Pooling::Random, _) => {
            Some("each session gets any address of the pool: this is one of them".to_owned())
        }
        (Pooling::Paired, None) => {
            Some("each client has its own address of the pool: name the client".to_owned())
        }
        (Pooling::Paired, Some(_)) => None,
    }
}

/// A strong host's bound packet that would find a way by another interface.
fn confined(host: &Host, query: &Query) -> Option<String> {
    let bind = query.bind.filter(|_| query.model.routes_by_source())?;
    let other = lookup(host, query.destination, |_| true)?;
    Some(format!(
        "only routes of the interface that has {bind} count for a packet bound to it; without, it \
         would leave by {}",
        other.interface.name
    ))
}

/// Where the named addresses are that are not where they should be.
fn elsewhere(host: &Host, query: &Query, told: &Explanation) -> Vec<String> {
    let Some(egress) = told.dev().and_then(|dev| host.interface(dev)) else { return Vec::new() };
    let counted = if query.model == Model::Specified { 1 } else { usize::MAX };
    let missing = query.named.iter().take(counted).filter(|ip| !has(egress, **ip));
    missing
        .map(|ip| {
            let owner = host.interfaces.iter().find(|interface| has(interface, *ip));
            let place = match owner {
                Some(owner) => format!("is on {}", owner.name),
                None => "is on no interface".to_owned(),
            };
            let destination = query.destination;
            format!("{ip} {place}, but packets to {destination} leave by {}", egress.name)
        })
        .collect()
}
