//! `nat-ctl explain`
mod asked;
mod bits;
mod text;

use std::net::IpAddr;

use serde::Serialize;

use self::asked::Asked;
use crate::{
    cli::{ExplainArgs, Global},
    config::{Filtering, Mapping, Pooling, Protocol},
    exit::{Exit, Failure},
    output::Out,
    source::{
        Eliminated, Error, Explanation, Host, Model, Options, Query, Rule, Vector, lookup, select,
    },
};

/// The rule that a packet matches, as far as its source is concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matched {
    /// None where none covers it.
    pub name: Option<String>,
    pub action: Action,
}

/// What a rule does with a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Gives it another source.
    Snat {
        model: Model,
        options: Options,
        /// Where the rule names them.
        addresses: Vec<IpAddr>,
        pooling: Pooling,
        /// What a new session gets, of the protocols that are asked about and that the rule covers.
        behaviour: Vec<Behaviour>,
    },
    /// Leaves it as it is.
    Route,
    Drop,
}

impl Action {
    /// The word, as in the configuration file.
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Snat { .. } => "snat",
            Self::Route => "route",
            Self::Drop => "drop",
        }
    }
}

/// How a rule maps and filters a protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Behaviour {
    proto: Protocol,
    mapping: Mapping,
    filtering: Filtering,
}

/// `explain -j`
#[derive(Serialize)]
struct View {
    schema: &'static str,
    version: &'static str,
    destination: IpAddr,
    /// None where no rules were looked at, or none matches.
    rule: Option<String>,
    action: Option<&'static str>,
    /// None where no source is chosen.
    model: Option<Model>,
    dev: Option<String>,
    next_hop: Option<IpAddr>,
    source: Option<IpAddr>,
    deciding_rule: Option<Rule>,
    candidates: Vec<Candidate>,
    /// Empty unless a rule translates.
    behaviour: Vec<Behaviour>,
    /// What the data path gives such packets now; None where no model's choice is in force.
    in_force: Option<IpAddr>,
    error: Option<Error>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Candidate {
    address: IpAddr,
    dev: String,
    eliminated_by: Option<Eliminated>,
    common_prefix_next_hop: u8,
    common_prefix_destination: u8,
}

/// What there is to say about a packet.
struct Answer {
    destination: IpAddr,
    rule: Option<Matched>,
    in_force: Option<IpAddr>,
    fate: Fate,
    /// For people.
    warnings: Vec<String>,
}

enum Fate {
    /// It gets a source, or has none.
    Chosen(Box<Explanation>),
    /// It leaves as it is: the interface and the next hop, where there is a way.
    Routed(Option<(String, IpAddr)>),
    Dropped,
}

/// Tells which source a packet leaves with, and why.
pub fn run(global: &Global, args: &ExplainArgs, out: Out) -> Result<Exit, Failure> {
    let answer = answer(args, asked::asked(global, args)?)?;
    let view = view(&answer);
    out.answer(&view, |_, style| text::render(&answer, style))?;
    Ok(if view.error.is_some() { Exit::Unhealthy } else { Exit::Ok })
}

fn answer(args: &ExplainArgs, asked: Asked) -> Result<Answer, Failure> {
    let Asked { host: asked, rule, in_force, mut warnings } = asked;
    let destination = args.destination.map(|target| target.address).or(asked.destination);
    let destination = destination.ok_or_else(|| {
        Failure::usage("there is no destination").with_help("nat-ctl explain 203.0.113.9")
    })?;
    let host = asked.host();
    let fate = match rule.as_ref().map(|rule| &rule.action) {
        None | Some(Action::Snat { .. }) => {
            let query = query(args, &asked, rule.as_ref(), destination)?;
            let told = select(&host, &query);
            warnings.splice(0..0, told.warnings.iter().cloned());
            // Another model, or another address, is not what is in force.
            let as_it_is = args.model.is_none() && args.bind.is_none();
            match in_force {
                Some(now) if as_it_is && told.source() != Some(now) => warnings.push(format!(
                    "{now} is in force: a sticky rule keeps it, or the change is on its way"
                )),
                _ => {}
            }
            Fate::Chosen(Box::new(told))
        }
        Some(Action::Route) => Fate::Routed(way(&host, destination)),
        Some(Action::Drop) => Fate::Dropped,
    };
    Ok(Answer { destination, rule, in_force, fate, warnings })
}

fn way(host: &Host, destination: IpAddr) -> Option<(String, IpAddr)> {
    let found = lookup(host, destination, |_| true)?;
    Some((found.interface.name.clone(), found.next_hop))
}

/// What is asked: by flags, else by the rule, else by the host's file.
fn query(
    args: &ExplainArgs,
    asked: &Vector,
    rule: Option<&Matched>,
    destination: IpAddr,
) -> Result<Query, Failure> {
    let (model, options, named, pooling) = match rule.map(|rule| &rule.action) {
        Some(Action::Snat { model, options, addresses, pooling, .. }) => {
            (Some(*model), *options, addresses.clone(), *pooling)
        }
        _ => {
            let (named, pooling) = match &asked.nat_rule {
                Some(rule) => (rule.addresses.clone(), rule.pooling),
                None => (Vec::new(), Pooling::Paired),
            };
            (asked.model(), asked.options.unwrap_or_default(), named, pooling)
        }
    };
    let client = match args.from {
        Some(IpAddr::V4(client)) => Some(client),
        _ => None,
    };
    // Windows' rules for IPv4 are no rules for IPv6.
    let by_default = if destination.is_ipv4() { Model::Strong } else { Model::Rfc6724 };
    let query = Query {
        destination,
        model: args.model.or(model).unwrap_or(by_default),
        options,
        bind: args.bind.or(asked.bind),
        named,
        pooling,
        client,
    };
    check(&query)?;
    Ok(query)
}

/// What cannot be meant.
fn check(query: &Query) -> Result<(), Failure> {
    let Query { destination, bind, model, named, .. } = query;
    match bind {
        Some(bind) if bind.is_ipv4() != destination.is_ipv4() => {
            return Err(Failure::usage(format!("{bind} cannot be the source to {destination}"))
                .with_help("take both from IPv4, or both from IPv6"));
        }
        _ => {}
    }
    if *model == Model::Specified && named.len() > 1 {
        return Err(Failure::usage(
            "the model `specified` takes one address, and several are named",
        )
        .with_help("--model multiple chooses among them"));
    }
    Ok(())
}

fn view(answer: &Answer) -> View {
    let blank = View {
        schema: "nat-ctl/explain/1",
        version: env!("CARGO_PKG_VERSION"),
        destination: answer.destination,
        rule: answer.rule.as_ref().and_then(|rule| rule.name.clone()),
        action: answer.rule.as_ref().map(|rule| rule.action.as_str()),
        model: None,
        dev: None,
        next_hop: None,
        source: None,
        deciding_rule: None,
        candidates: Vec::new(),
        behaviour: behaviour(answer.rule.as_ref()).to_vec(),
        in_force: answer.in_force,
        error: None,
        warnings: answer.warnings.clone(),
    };
    match &answer.fate {
        Fate::Chosen(told) => View {
            model: Some(told.model),
            dev: told.dev().map(str::to_owned),
            next_hop: told.next_hop,
            source: told.source(),
            deciding_rule: told.rule(),
            candidates: candidates(told),
            error: told.error(),
            ..blank
        },
        Fate::Routed(Some((dev, next_hop))) => {
            View { dev: Some(dev.clone()), next_hop: Some(*next_hop), ..blank }
        }
        Fate::Routed(None) => View { error: Some(Error::NoRoute), ..blank },
        Fate::Dropped => blank,
    }
}

/// How the rule maps and filters.
fn behaviour(rule: Option<&Matched>) -> &[Behaviour] {
    match rule.map(|rule| &rule.action) {
        Some(Action::Snat { behaviour, .. }) => behaviour,
        _ => &[],
    }
}

fn candidates(told: &Explanation) -> Vec<Candidate> {
    let candidates = told.candidates.iter().map(|judged| Candidate {
        address: judged.address,
        dev: judged.dev.clone(),
        eliminated_by: judged.eliminated_by,
        common_prefix_next_hop: judged.common_prefix_next_hop,
        common_prefix_destination: judged.common_prefix_destination,
    });
    candidates.collect()
}

#[cfg(test)]
mod tests;
