//! `[[rules]]`

use std::collections::BTreeSet;

use toml::Spanned;

use super::networks::Networks;
use super::prefix::{looks_like_address, parse_prefix};
use super::{names, reach, sharing, source};
use crate::config::checked::{Action, Protocol, ProtocolSet, Rule, Selector};
use crate::config::document::Span;
use crate::config::model::{List, RuleTable};
use crate::config::report::Report;
use crate::config::suggest::nearest;
use crate::config::words::ActionWord;
use crate::config::{EXTERNAL, LOCAL_HOST, RULES_MAX};
use crate::output::text::excerpt;

pub(super) fn resolve(
    tables: Vec<Spanned<RuleTable>>,
    networks: &Networks,
    report: &mut Report<'_>,
) -> Vec<Rule> {
    if let Some(surplus) = tables.get(RULES_MAX) {
        let message = format!("{} rules, more than {RULES_MAX}", tables.len());
        report.error(&surplus.span(), message, "combine rules: `from` and `to` are lists");
    }
    if tables.is_empty() {
        let help = "add [[rules]] with `action = \"snat\"`";
        report.warn_in_file("no [[rules]]: nothing is translated", help);
    }
    let mut rules = Vec::new();
    let mut places = Vec::new();
    let mut known_names = BTreeSet::new();
    for (index, table) in tables.iter().take(RULES_MAX).enumerate() {
        let at = table.span();
        let written = table.get_ref();
        let name = names::resolve("rule", written.name.as_ref(), index, &at, report);
        if let (Some(name), Some(place)) = (&name, &written.name)
            && !known_names.insert(name.clone())
        {
            let message = format!("two rules are called `{name}`");
            report.error(&place.span(), message, "rename one: counters go by name");
        }
        let rule = resolve_rule(written, index, &at, networks, report);
        if let (Some(name), Some(rule)) = (name, rule) {
            rules.push(Rule { name, ..rule });
            places.push(at);
        }
    }
    // With errors the places of rules and rules would not fit; nor would the advice.
    if !report.has_errors() {
        sharing::refuse(&rules, &places, report);
        reach::warn(&rules, &places, networks.as_slice(), report);
    }
    rules
}

/// Everything but the name.
fn resolve_rule(
    table: &RuleTable,
    index: usize,
    at: &Span,
    networks: &Networks,
    report: &mut Report<'_>,
) -> Option<Rule> {
    let label = names::label("rule", table.name.as_ref(), index);
    let from = resolve_selectors(&label, "from", &table.from, at, networks, report);
    let to = resolve_selectors(&label, "to", &table.to, at, networks, report);
    let Some(action) = &table.action else {
        let message = format!("{label} has no `action`");
        let help = "add `action = \"snat\"`, `\"route\"` (leave as it is) or `\"drop\"`";
        report.error(at, message, help);
        return None;
    };
    let (protocols, action) = match *action.get_ref() {
        ActionWord::Snat => {
            let protocols = resolve_protocols(&label, &table.protocols, report);
            (protocols, Action::Snat(source::resolve(&label, table, protocols, report)?))
        }
        word @ (ActionWord::Route | ActionWord::Drop) => {
            refuse_snat_keys(&label, word, table, report);
            let action = if word == ActionWord::Route { Action::Route } else { Action::Drop };
            (ProtocolSet::EVERY, action)
        }
    };
    Some(Rule { name: String::new(), from, to, protocols, action })
}

/// Keys that mean nothing without translation.
fn refuse_snat_keys(label: &str, action: ActionWord, table: &RuleTable, report: &mut Report<'_>) {
    for (key, span) in [
        ("protocols", table.protocols.as_ref().map(Spanned::span)),
        ("source", table.source.as_ref().map(Spanned::span)),
        ("ports", table.ports.as_ref().map(Spanned::span)),
        ("sticky", table.sticky.as_ref().map(Spanned::span)),
        ("on_address_removed", table.on_address_removed.as_ref().map(Spanned::span)),
        ("exclude_ports", table.exclude_ports.as_ref().map(Spanned::span)),
        ("mapping", table.mapping.as_ref().map(Spanned::span)),
        ("filtering", table.filtering.as_ref().map(Spanned::span)),
        ("spill", table.spill.as_ref().map(Spanned::span)),
        ("mss", table.mss.as_ref().map(Spanned::span)),
    ] {
        if let Some(span) = span {
            let message = format!("`{key}` in {label}, whose action is \"{action}\"");
            let help = "only \"snat\" rules have it: remove the line";
            report.error_at_key(&span, message, help);
        }
    }
}

fn resolve_protocols(
    label: &str,
    protocols: &List<Protocol>,
    report: &mut Report<'_>,
) -> ProtocolSet {
    let Some(list) = protocols else { return ProtocolSet::TRANSLATABLE };
    if list.get_ref().is_empty() {
        let help = "remove the line to cover tcp, udp and icmp";
        report.error(&list.span(), format!("`protocols` in {label} is empty"), help);
    }
    list.get_ref().iter().map(|protocol| *protocol.get_ref()).collect()
}

fn resolve_selectors(
    label: &str,
    key: &str,
    list: &List<String>,
    rule: &Span,
    networks: &Networks,
    report: &mut Report<'_>,
) -> Vec<Selector> {
    let list = match list {
        Some(list) if !list.get_ref().is_empty() => list,
        other => {
            let at = other.as_ref().map_or(rule.clone(), Spanned::span);
            let problem = if other.is_some() { "an empty" } else { "no" };
            let help = format!("name networks or prefixes, such as `{key} = [\"10.0.0.0/8\"]`");
            report.error(&at, format!("{label} has {problem} `{key}`"), help);
            return Vec::new();
        }
    };
    let mut selectors = Vec::new();
    for text in list.get_ref() {
        match resolve_selector(text.get_ref(), networks) {
            Ok(selector) => selectors.push(selector),
            Err((problem, help)) => {
                report.error(&text.span(), format!("`{key}` in {label}: {problem}"), help);
            }
        }
    }
    selectors
}

fn resolve_selector(text: &str, networks: &Networks) -> Result<Selector, (String, String)> {
    if text == EXTERNAL {
        return Ok(Selector::External);
    }
    if text == LOCAL_HOST {
        return Ok(Selector::LocalHost);
    }
    if let Some(index) = networks.index_of(text) {
        return Ok(Selector::Network(index));
    }
    if looks_like_address(text) || text.contains('/') {
        return parse_prefix(text)
            .map(Selector::Prefix)
            .map_err(|problem| (problem.message, problem.help));
    }
    let known = networks.names().chain([EXTERNAL, LOCAL_HOST]);
    let help = match nearest(text, known) {
        Some(name) => format!("did you mean `{}`?", excerpt(name)),
        None => "name a network of [[networks]], `external`, `local-host`, or a prefix".to_owned(),
    };
    Err((format!("no network is called `{}`", excerpt(text)), help))
}
