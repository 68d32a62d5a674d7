//! Rules that would use the same external ports in ways that exclude each other.

use crate::config::checked::{Action, Mapping, Protocol, Rule, Snat};
use crate::config::document::Span;
use crate::config::report::Report;

const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp];

/// Refuses each rule that maps a protocol otherwise than one before it, with ports of which some, and
/// not all, are the same, and addresses that may be. `places` are those of the rules.
pub(super) fn refuse(rules: &[Rule], places: &[Span], report: &mut Report<'_>) {
    for (position, (rule, place)) in rules.iter().zip(places).enumerate() {
        let before = rules.iter().take(position);
        let Some((other, conflict)) =
            before.filter_map(|other| Some((other, conflict(other, rule)?))).next()
        else {
            continue;
        };
        let (one, other) = (&other.name, &rule.name);
        let (message, same) = match conflict {
            Conflict::Mapping(protocol) => (
                format!(
                    "rule `{one}` and rule `{other}` may use the same ports of the same address for \
                     {protocol}, but map differently: with `mapping` \"endpoint-independent\" a port \
                     is one client's alone",
                ),
                "`mapping`, `ports` and `exclude_ports`",
            ),
            Conflict::Ports(protocol) => (
                format!(
                    "rule `{one}` and rule `{other}` may use the same address for {protocol}, with \
                     ports of which some, but not all, are the same: with `mapping` \
                     \"endpoint-independent\" a client's port has one external port under both",
                ),
                "`ports` and `exclude_ports`",
            ),
        };
        let help = format!(
            "give them the same {same}, or `ports` with nothing in common, such as \"1024-32767\" \
             and \"32768-65535\""
        );
        report.error(place, message, help);
    }
}

/// What two rules are at odds about, and for which protocol.
enum Conflict {
    Mapping(Protocol),
    /// Both map endpoint-independently.
    Ports(Protocol),
}

fn conflict(one: &Rule, other: &Rule) -> Option<Conflict> {
    let (Action::Snat(a), Action::Snat(b)) = (&one.action, &other.action) else { return None };
    if !may_share_an_address(a, b) || !overlap(a, b) {
        return None;
    }
    let same_ports = a.ports == b.ports && a.exclude_ports == b.exclude_ports;
    PROTOCOLS.into_iter().find_map(|protocol| {
        if !one.protocols.contains(protocol) || !other.protocols.contains(protocol) {
            return None;
        }
        let kinds = (a.mapping.get(protocol), b.mapping.get(protocol));
        match kinds {
            (Mapping::EndpointIndependent, Mapping::EndpointIndependent) => {
                (!same_ports).then_some(Conflict::Ports(protocol))
            }
            (a, b) => (a != b).then_some(Conflict::Mapping(protocol)),
        }
    })
}

/// A source model may choose any address.
fn may_share_an_address(a: &Snat, b: &Snat) -> bool {
    let (a, b) = (a.source.addresses(), b.source.addresses());
    a.is_empty() || b.is_empty() || a.iter().any(|address| b.contains(address))
}

fn overlap(a: &Snat, b: &Snat) -> bool {
    a.ports.start() <= b.ports.end() && b.ports.start() <= a.ports.end()
}
