//! Why a candidate lost, in words that can follow its address.
use std::net::IpAddr;

use super::{
    Flag, Rule,
    candidates::{Candidate, Entry},
    rules::Terms,
    scope::Scope,
};

/// Why `rule` removed a candidate that `winner` has outlived.
pub(super) fn reason(
    terms: &Terms,
    rule: Rule,
    loser: &Entry<'_>,
    winner: Option<&Candidate>,
) -> String {
    let candidate = &loser.candidate;
    let is = |flag| candidate.flags.contains(flag);
    let match_with = |what: &str, other: IpAddr| {
        let bits = terms.match_length(candidate, other);
        let best = winner.map_or(0, |winner| terms.match_length(winner, other));
        format!("shares {} with the {what} {other}, not {best}", counted(bits))
    };
    match rule {
        Rule::SameAddress => "is not the destination itself".to_owned(),
        Rule::Scope => {
            let scope = |ip| Scope::of(ip, terms.private_scope);
            let (own, wanted) = (scope(candidate.ip), scope(terms.destination));
            format!("has {own} scope, the destination has {wanted} scope")
        }
        Rule::Deprecated => "is deprecated".to_owned(),
        Rule::Home if is(Flag::CareOf) => "is only a care-of address".to_owned(),
        Rule::Home => "is not a home and care-of address at once".to_owned(),
        Rule::Outgoing => format!("is on {}", loser.interface.name),
        Rule::Advertised => match candidate.advertised_by {
            Some(router) => format!("has a prefix of {router}, not of the next hop"),
            None => "has no prefix of the next hop".to_owned(),
        },
        Rule::Label => {
            let (own, wanted) = (terms.label(candidate.ip), terms.label(terms.destination));
            format!("has label {own}, the destination has label {wanted}")
        }
        Rule::Temporary if is(Flag::Temporary) => "is temporary".to_owned(),
        Rule::Temporary => "is not temporary".to_owned(),
        Rule::Orchid => "is an overlay identifier, or the destination is one".to_owned(),
        Rule::NextHop => match_with("next hop", terms.next_hop),
        Rule::Longest => match_with("destination", terms.destination),
        Rule::Tie => "is as good by every rule, and loses the tie-break".to_owned(),
        Rule::Bound => "is not the address that was asked for".to_owned(),
        Rule::FirstConfigured => "is not the first in configured order".to_owned(),
        Rule::Smallest => "is not the lowest".to_owned(),
        Rule::Specified => "is not the specified address".to_owned(),
        Rule::Pool => "is not this client's address of the pool".to_owned(),
        Rule::OnlyCandidate => String::new(),
        _ if is(Flag::Secondary) => "is a secondary address".to_owned(),
        Rule::LinuxPrefsrc => "is not the `src` of the route".to_owned(),
        Rule::LinuxGatewaySubnet => "has not the next hop in its subnet".to_owned(),
        Rule::LinuxFirstPrimary => "is not the first primary address".to_owned(),
        Rule::LinuxFallback => "comes later, or does not leave its host".to_owned(),
    }
}

fn counted(bits: u8) -> String {
    if bits == 1 { "1 bit".to_owned() } else { format!("{bits} bits") }
}
