//! The models, one file each.
pub mod linux;
pub mod lowest;
pub mod nat;
pub mod policy;
pub mod rfc6724;
pub mod strong;
pub mod weak;

use std::net::{IpAddr, Ipv4Addr};

use super::{
    Error, Model, Options, Rule,
    candidates::{Candidate, is_of_the_link},
    contest::contest,
    rules::Terms,
};

/// What a packet brings along, and what its route and its NAT rule say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'q> {
    pub destination: IpAddr,
    pub next_hop: IpAddr,
    /// Linux: the route's `src`.
    pub route_source: Option<IpAddr>,
    /// The addresses that the NAT rule names.
    pub named: &'q [IpAddr],
    /// Whose address of several it is.
    pub client: Ipv4Addr,
}

/// The chosen candidate's index and the rule that decided, by the model alone.
///
/// `candidates` are those of the egress interface, then others. `removed` has a place for each, and
/// None in it at the start; each loser's rule is put there.
pub(super) fn decide(
    model: Model,
    options: &Options,
    candidates: &[Candidate],
    question: &Question<'_>,
    removed: &mut [Option<Rule>],
) -> Result<(usize, Rule), Error> {
    let Question { destination, next_hop, named, client, .. } = *question;
    let (winner, rule) = match model {
        Model::Weak | Model::IsaFirst | Model::WebProxy => weak::choose(candidates),
        Model::TmgDefault => lowest::choose(candidates),
        Model::Specified => nat::specified(candidates, named),
        Model::Multiple => nat::pooled(candidates, named, client),
        Model::Linux if destination.is_ipv4() => {
            linux::choose(candidates, question.route_source, destination, next_hop)
        }
        Model::LinuxMasquerade if destination.is_ipv4() => {
            linux::choose(candidates, None, destination, next_hop)
        }
        Model::Strong | Model::Rfc6724 | Model::Linux | Model::LinuxMasquerade => {
            return by_contest(model, options, candidates, question, removed);
        }
    }?;
    for (index, why) in removed.iter_mut().enumerate() {
        *why = (index != winner).then_some(rule);
    }
    Ok((winner, rule))
}

fn by_contest(
    model: Model,
    options: &Options,
    candidates: &[Candidate],
    question: &Question<'_>,
    removed: &mut [Option<Rule>],
) -> Result<(usize, Rule), Error> {
    let terms = terms(model, options, question);
    let rules: &[Rule] = rules(model);
    if is_of_the_link(question.destination) {
        let of_the_link = candidates.partition_point(|candidate| candidate.on_egress);
        let (candidates, removed) = (&candidates[..of_the_link], &mut removed[..of_the_link]);
        return contest(rules, &terms, options.tie_break, candidates, removed);
    }
    contest(rules, &terms, options.tie_break, candidates, removed)
}

/// The rules of a model that has a contest, in order.
pub(super) fn rules(model: Model) -> &'static [Rule] {
    match model {
        Model::Strong => &strong::RULES,
        Model::Rfc6724 => &rfc6724::RULES,
        Model::Linux | Model::LinuxMasquerade => &linux::IPV6_RULES,
        _ => &[],
    }
}

/// What a model's rules go by.
pub(super) fn terms(model: Model, options: &Options, question: &Question<'_>) -> Terms {
    let linux = model.is_linux();
    Terms {
        destination: question.destination,
        next_hop: question.next_hop,
        private_scope: options.private_scope,
        cap: options.caps_common_prefix(model, question.destination),
        // Linux: unless use_tempaddr is 2, which it is not by itself.
        prefer_temporary: options.prefer_temporary && !linux,
        labels: if linux { &policy::LINUX } else { &policy::RFC6724 },
    }
}
