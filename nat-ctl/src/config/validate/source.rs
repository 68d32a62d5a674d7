//! What only `snat` rules have: `source` and what belongs to it, and `ports`.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use toml::Spanned;

use super::prefix::parse_external_address;
use crate::config::ADDRESSES_MAX;
use crate::config::checked::{Mss, Snat, Source};
use crate::config::document::Span;
use crate::config::model::{self, List, PortsText, RuleTable, SourceTable};
use crate::config::report::Report;
use crate::output::text::excerpt;

/// An address of the documentation range (RFC 5737).
const EXAMPLE: &str = "`source = { addresses = [\"203.0.113.1\"] }`";

/// Resolves what the `snat` rule called `label` has of its own. None where the source is wrong.
pub(super) fn resolve(label: &str, rule: &RuleTable, report: &mut Report<'_>) -> Option<Snat> {
    let ports = resolve_ports(label, rule.ports.as_ref(), report);
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
    Some(Snat { source, sticky, on_address_removed, ports, mss: Mss::Off })
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

fn resolve_ports(
    label: &str,
    ports: Option<&Spanned<PortsText>>,
    report: &mut Report<'_>,
) -> RangeInclusive<u16> {
    let Some(ports) = ports else { return Snat::PORTS_DEFAULT };
    match parse_ports(&ports.get_ref().0) {
        Ok(range) => range,
        Err((problem, help)) => {
            let message = format!("`ports` in {label}: {problem}");
            report.error(&ports.span(), message, help);
            Snat::PORTS_DEFAULT
        }
    }
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, (String, String)> {
    let quoted = excerpt(text);
    let fix = "write the first and the last port, such as \"1024-65535\"";
    let port = |text: &str| {
        let digits = text.trim();
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u16>().map_err(|_| digits.to_owned()))
    };
    let (first, last) = match text.split_once('-').map(|(first, last)| (port(first), port(last))) {
        Some((Some(Ok(first)), Some(Ok(last)))) => (first, last),
        Some((Some(Err(big)), Some(_)) | (Some(_), Some(Err(big)))) => {
            return Err((format!("there is no port {}", excerpt(&big)), fix.to_owned()));
        }
        _ => return Err((format!("\"{quoted}\" is not a port range"), fix.to_owned())),
    };
    if first == 0 {
        return Err(("port 0 cannot be used".to_owned(), format!("write \"1-{}\"", last.max(1))));
    }
    if first > last {
        return Err((
            format!("{first} is greater than {last}"),
            format!("write \"{last}-{first}\""),
        ));
    }
    Ok(first..=last)
}
