//! What only `snat` rules have: `source` and what belongs to it, and the rest from its own files.

use std::net::Ipv4Addr;

use toml::Spanned;

use super::prefix::parse_external_address;
use super::{behaviour, ports};
use crate::config::ADDRESSES_MAX;
use crate::config::checked::{ProtocolSet, Snat, Source};
use crate::config::document::Span;
use crate::config::model::{self, List, RuleTable, SourceTable};
use crate::config::report::Report;

/// An address of the documentation range (RFC 5737).
const EXAMPLE: &str = "`source = { addresses = [\"203.0.113.1\"] }`";

/// Resolves what the `snat` rule called `label` has of its own. None where the source is wrong.
pub(super) fn resolve(
    label: &str,
    rule: &RuleTable,
    protocols: ProtocolSet,
    report: &mut Report<'_>,
) -> Option<Snat> {
    let ports = ports::resolve(label, rule.ports.as_ref(), report);
    let exclude_ports = ports::resolve_excluded(label, &rule.exclude_ports, &ports, report);
    let of = behaviour::Of { label, protocols };
    let mapping = of.mapping(rule, report);
    let filtering = of.filtering(rule, mapping, report);
    let mss = of.mss(rule, report);
    let source = match &rule.source {
        None => Snat::SOURCE_DEFAULT,
        Some(source) => match source.get_ref() {
            model::Source::Model(model) => Source::Model(*model),
            model::Source::Table(SourceTable { addresses, pooling }) => Source::Addresses {
                addresses: resolve_addresses(label, addresses, &source.span(), report)?,
                pooling: pooling.unwrap_or(Snat::POOLING_DEFAULT),
            },
        },
    };
    let sticky = rule.sticky.as_ref().is_some_and(|sticky| *sticky.get_ref());
    // Not an error: what `sticky` promises holds, and whoever tries a list of addresses in place
    // of a model should not have to change two lines.
    if let (Source::Addresses { .. }, true, Some(written)) = (&source, sticky, &rule.sticky) {
        let message = format!(
            "`sticky` in {label} has no effect: it keeps what a source model has chosen, and this \
             source lists its addresses"
        );
        let help = "remove the line; a client keeps its address of the list with `pooling = \
                    \"paired\"`";
        report.warn(&written.span(), message, help);
    }
    let on_address_removed = rule
        .on_address_removed
        .as_ref()
        .map_or(Snat::ON_ADDRESS_REMOVED_DEFAULT, |written| *written.get_ref());
    let spill = of.spill(rule, &source, report);
    Some(Snat {
        source,
        sticky,
        on_address_removed,
        ports,
        exclude_ports,
        mapping,
        filtering,
        spill,
        mss,
    })
}

fn resolve_addresses(
    label: &str,
    addresses: &List<String>,
    source: &Span,
    report: &mut Report<'_>,
) -> Option<Vec<Ipv4Addr>> {
    let list = match addresses {
        Some(list) if !list.get_ref().is_empty() => list,
        other => {
            let at = other.as_ref().map_or(source.clone(), Spanned::span);
            let problem = if other.is_some() { "is empty" } else { "is missing" };
            let message = format!("`addresses` in the source of {label} {problem}");
            let help = format!("write {EXAMPLE}, or name a model: `source = \"strong-host\"`");
            report.error(&at, message, help);
            return None;
        }
    };
    if list.get_ref().len() > ADDRESSES_MAX {
        let count = list.get_ref().len();
        let message = format!("the source of {label} has {count} addresses");
        report.error(&list.span(), message, format!("a rule can use {ADDRESSES_MAX} at most"));
        return None;
    }
    let mut resolved = Vec::new();
    for text in list.get_ref() {
        let (message, help) = match parse_external_address(text.get_ref()) {
            Ok(address) if resolved.contains(&address) => {
                (format!("{address} is listed twice"), "remove one of them".to_owned())
            }
            Ok(address) => {
                resolved.push(address);
                continue;
            }
            Err(problem) => (problem.message, problem.help),
        };
        report.error(&text.span(), format!("the source of {label}: {message}"), help);
    }
    Some(resolved)
}
