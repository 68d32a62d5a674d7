//! One question, answered with everything that led to the answer.
use std::net::{IpAddr, Ipv4Addr};

use super::{
    Error, Explanation, Host, Interface, Judged, Model, Options, Rule,
    candidates::{Candidate, Entry, entries, entry},
    explanation::Eliminated,
    lookup::{Found, is_not_unicast, lookup},
    models::{Question, decide, terms},
    reason::reason,
    rules::Terms,
    warning,
};
use crate::config::Pooling;

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    pub destination: IpAddr,
    pub model: Model,
    pub options: Options,
    /// The source that the sender asks for.
    pub bind: Option<IpAddr>,
    /// The addresses that the NAT rule names; for the models `specified` and `multiple`.
    pub named: Vec<IpAddr>,
    pub pooling: Pooling,
    /// Whose packet it is, where that decides.
    pub client: Option<Ipv4Addr>,
}

impl Query {
    /// To `destination`, by the model's own options.
    pub fn new(destination: IpAddr, model: Model) -> Self {
        Self {
            destination,
            model,
            options: Options::default(),
            bind: None,
            named: Vec::new(),
            pooling: Pooling::Paired,
            client: None,
        }
    }
}

/// The source of a packet, or why there is none, and how that came about.
pub fn select(host: &Host, query: &Query) -> Explanation {
    let mut told = Explanation {
        model: query.model,
        options: query.options,
        destination: query.destination,
        bind: query.bind,
        route: None,
        next_hop: None,
        candidates: Vec::new(),
        outcome: Err(Error::NoRoute),
        warnings: Vec::new(),
    };
    match way(host, query) {
        Ok(found) => {
            told.route = Some(found.route.clone());
            told.next_hop = Some(found.next_hop);
            (told.outcome, told.candidates) = source(host, query, &found);
        }
        Err(error) => told.outcome = Err(error),
    }
    told.warnings = warning::all(host, query, &told);
    told
}

/// The packet's way, which is decided before its source (RFC 6724 section 7).
fn way<'h>(host: &'h Host, query: &Query) -> Result<Found<'h>, Error> {
    if is_not_unicast(host, query.destination) {
        return Err(Error::NotUnicast);
    }
    let usable = match query.bind {
        Some(bind) if !host.interfaces.iter().any(|interface| has(interface, bind)) => {
            return Err(Error::NotLocal);
        }
        Some(bind) if bind.is_ipv4() != query.destination.is_ipv4() => return Err(Error::NoSource),
        bind => bind.filter(|_| query.model.routes_by_source()),
    };
    let found =
        lookup(host, query.destination, |interface| usable.is_none_or(|bind| has(interface, bind)));
    found.ok_or(Error::NoRoute)
}

/// Whether an address is configured on an interface, in whatever state.
pub(super) fn has(interface: &Interface, ip: IpAddr) -> bool {
    interface.addresses.iter().any(|address| address.ip == ip)
}

type Outcome = Result<(IpAddr, Rule), Error>;

fn source(host: &Host, query: &Query, found: &Found<'_>) -> (Outcome, Vec<Judged>) {
    let Query { destination, model, options, .. } = query;
    let entries = entries(host, found.interface, *model, options, *destination);
    let question = Question {
        destination: *destination,
        next_hop: found.next_hop,
        route_source: found.route.src,
        named: &query.named,
        client: query.client.unwrap_or(Ipv4Addr::UNSPECIFIED),
    };
    let terms = terms(*model, options, &question);
    match query.bind {
        Some(bind) => {
            let entries = with(host, query, found, entries, bind);
            (Ok((bind, Rule::Bound)), bound(&terms, &entries, bind))
        }
        None => contested(query, &terms, entries, &question),
    }
}

/// The entries and that of the bound address, which a weak host takes from any interface.
fn with<'h>(
    host: &'h Host,
    query: &Query,
    found: &Found<'h>,
    mut entries: Vec<Entry<'h>>,
    bind: IpAddr,
) -> Vec<Entry<'h>> {
    if !entries.iter().any(|entry| entry.candidate.ip == bind) {
        let all = host.interfaces.iter().flat_map(|interface| {
            interface.addresses.iter().map(move |address| (interface, address))
        });
        let mut of_bind = all.filter(|(_, address)| address.ip == bind);
        entries.extend(of_bind.next().map(|(interface, address)| {
            entry(interface, address, found.interface, query.model, &query.options)
        }));
    }
    entries
}

/// All but the bound address are out.
fn bound(terms: &Terms, entries: &[Entry<'_>], bind: IpAddr) -> Vec<Judged> {
    let by = |entry: &Entry<'_>| {
        let out = entry.candidate.ip != bind;
        out.then(|| entry.kept_out.map_or(Eliminated::Rule(Rule::Bound), Eliminated::KeptOut))
    };
    entries.iter().map(|entry| judged(terms, entry, by(entry), None)).collect()
}

fn contested(
    query: &Query,
    terms: &Terms,
    mut entries: Vec<Entry<'_>>,
    question: &Question<'_>,
) -> (Outcome, Vec<Judged>) {
    let candidates: Vec<_> = entries
        .iter()
        .filter(|entry| entry.kept_out.is_none())
        .map(|entry| entry.candidate)
        .collect();
    let mut removed = vec![None; candidates.len()];
    let decided = decide(query.model, &query.options, &candidates, question, &mut removed);
    let winner = decided.ok().and_then(|(index, _)| candidates.get(index));
    let outcome = match (decided, winner) {
        (Ok((_, rule)), Some(winner)) => Ok((winner.ip, rule)),
        (Err(error), _) => Err(error),
        (Ok(_), None) => Err(Error::NoSource),
    };
    let mut removed = removed.into_iter();
    let mut by: Vec<_> = entries
        .iter()
        .map(|entry| match entry.kept_out {
            Some(why) => Some(Eliminated::KeptOut(why)),
            None => removed.next().flatten().map(Eliminated::Rule),
        })
        .collect();
    if query.model.by_primary(query.destination) && winner.is_some_and(|winner| winner.on_egress) {
        // Nobody asked the other interfaces.
        entries.retain(|entry| entry.candidate.on_egress);
        by.truncate(entries.len());
    }
    let judge = |(entry, by)| judged(terms, entry, by, winner);
    (outcome, entries.iter().zip(by).map(judge).collect())
}

fn judged(
    terms: &Terms,
    entry: &Entry<'_>,
    eliminated_by: Option<Eliminated>,
    winner: Option<&Candidate>,
) -> Judged {
    let candidate = &entry.candidate;
    let reason = match eliminated_by {
        Some(Eliminated::KeptOut(why)) => why.reason().to_owned(),
        Some(Eliminated::Rule(rule)) => reason(terms, rule, entry, winner),
        None => String::new(),
    };
    Judged {
        address: candidate.ip,
        dev: entry.interface.name.clone(),
        flags: candidate.flags,
        eliminated_by,
        reason,
        common_prefix_next_hop: terms.match_length(candidate, terms.next_hop),
        common_prefix_destination: terms.match_length(candidate, terms.destination),
    }
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod literal;
#[cfg(test)]
mod tests;
