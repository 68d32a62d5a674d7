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
        let Some((other, protocol)) =
            before.filter_map(|other| Some((other, conflict(other, rule)?))).next()
        else {
            continue;
        };
        let message = format!(
            "rule `{}` and rule `{}` may use the same ports of the same address for {protocol}, but \
             map differently: with `mapping` \"endpoint-independent\" a port is one client's alone",
            other.name, rule.name,
        );
        let help = "give them the same `mapping` and `ports`, or `ports` with nothing in common, such \
                    as \"1024-32767\" and \"32768-65535\"";
        report.error(place, message, help);
    }
}

/// The protocol over which two rules are at odds.
fn conflict(one: &Rule, other: &Rule) -> Option<Protocol> {
    let (Action::Snat(a), Action::Snat(b)) = (&one.action, &other.action) else { return None };
    if !may_share_an_address(a, b) || !overlap(a, b) {
        return None;
    }
    PROTOCOLS.into_iter().find(|protocol| {
        let both = one.protocols.contains(*protocol) && other.protocols.contains(*protocol);
        let (a_kind, b_kind) = (a.mapping.get(*protocol), b.mapping.get(*protocol));
        let alone = [a_kind, b_kind].contains(&Mapping::EndpointIndependent);
        both && (a_kind != b_kind || alone && a.ports != b.ports)
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
