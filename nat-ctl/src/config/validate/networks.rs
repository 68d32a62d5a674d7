//! `[[networks]]`

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use nat_common::limits::GUARD_INTERFACES_MAX;
use toml::Spanned;

use super::names;
use super::prefix::{looks_like_address, parse_prefix};
use crate::config::checked::{Interfaces, Network};
use crate::config::document::Span;
use crate::config::model::{List, NetworkTable};
use crate::config::report::Report;
use crate::config::suggest::nearest;
use crate::config::{EXTERNAL, LOCAL_HOST};
use crate::output::text::excerpt;

/// The networks, found by name.
pub(super) struct Networks {
    list: Vec<Network>,
    by_name: BTreeMap<String, usize>,
}

impl Networks {
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    pub fn as_slice(&self) -> &[Network] {
        &self.list
    }

    pub fn into_networks(self) -> Vec<Network> {
        self.list
    }
}

pub(super) fn resolve(
    tables: Vec<Spanned<NetworkTable>>,
    interfaces: Option<&Interfaces>,
    report: &mut Report<'_>,
) -> Networks {
    // Without any there is nothing to compare with, and that has been reported.
    let interfaces = interfaces.filter(|interfaces| !interfaces.inside.is_empty());
    let mut list = Vec::new();
    let mut by_name = BTreeMap::new();
    let mut placed = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let at = table.span();
        let NetworkTable { name, prefixes, interfaces: arrive_by } = table.get_ref();
        let label = names::label("network", name.as_ref(), index);
        let resolved_name = names::resolve("network", name.as_ref(), index, &at, report);
        let network = list.len();
        let prefixes = resolve_prefixes(&label, prefixes, &at, report);
        placed.extend(prefixes.iter().map(|(prefix, span)| Placed {
            prefix: *prefix,
            network,
            span: span.clone(),
        }));
        let prefixes = prefixes.into_iter().map(|(prefix, _)| prefix).collect();
        let interfaces = resolve_interfaces(&label, arrive_by, interfaces, report);
        // A nameless one stays in the list, so that overlaps are still found.
        list.push(Network { name: resolved_name.clone().unwrap_or(label), prefixes, interfaces });
        if let (Some(resolved), Some(written)) = (resolved_name, name) {
            check_name(&resolved, written, &by_name, report);
            by_name.entry(resolved).or_insert(network);
        }
    }
    report_overlaps(placed, &list, report);
    report_too_many_interfaces(&tables, &list, report);
    Networks { list, by_name }
}

fn check_name(
    name: &str,
    written: &Spanned<String>,
    known: &BTreeMap<String, usize>,
    report: &mut Report<'_>,
) {
    let (message, help) = if name == EXTERNAL || name == LOCAL_HOST {
        (format!("network `{name}` is built in"), "choose another name")
    } else if looks_like_address(name) {
        (
            format!("the network name `{name}` looks like an address"),
            "choose a name that rules cannot take for a prefix",
        )
    } else if known.contains_key(name) {
        (
            format!("two networks are called `{name}`"),
            "rename one, or put all prefixes into the other",
        )
    } else {
        return;
    };
    report.error(&written.span(), message, help);
}

fn resolve_prefixes(
    label: &str,
    prefixes: &List<String>,
    table: &Span,
    report: &mut Report<'_>,
) -> Vec<(Ipv4Net, Span)> {
    let list = match prefixes {
        Some(list) if !list.get_ref().is_empty() => list,
        other => {
            let at = other.as_ref().map_or(table.clone(), Spanned::span);
            let problem = if other.is_some() { "an empty `prefixes`" } else { "no `prefixes`" };
            let help = "add, for example, `prefixes = [\"10.0.0.0/8\"]`";
            report.error(&at, format!("{label} has {problem}"), help);
            return Vec::new();
        }
    };
    let mut resolved = Vec::new();
    for prefix in list.get_ref() {
        match parse_prefix(prefix.get_ref()) {
            Ok(net) => resolved.push((net, prefix.span())),
            Err(problem) => {
                let message = format!("`prefixes` of {label}: {}", problem.message);
                report.error(&prefix.span(), message, problem.help);
            }
        }
    }
    resolved
}

/// Every packet's way in is compared with all interfaces that any network names.
fn report_too_many_interfaces(
    tables: &[Spanned<NetworkTable>],
    networks: &[Network],
    report: &mut Report<'_>,
) {
    let most = GUARD_INTERFACES_MAX as usize;
    let mut named = BTreeSet::new();
    for (table, network) in tables.iter().zip(networks) {
        named.extend(&network.interfaces);
        if named.len() > most {
            let message = format!("networks name more than {most} interfaces");
            let help = "leave `interfaces` out where forged sources cannot come from";
            return report.error(&table.span(), message, help);
        }
    }
}

/// Resolves the interfaces by which packets must arrive: some of the inside ones.
fn resolve_interfaces(
    label: &str,
    names: &List<String>,
    interfaces: Option<&Interfaces>,
    report: &mut Report<'_>,
) -> Vec<String> {
    let (Some(list), Some(interfaces)) = (names, interfaces) else { return Vec::new() };
    if list.get_ref().is_empty() {
        let help = "name inside interfaces, or remove the line: then packets may arrive by any";
        report.error(&list.span(), format!("{label} has an empty `interfaces`"), help);
    }
    let mut resolved: Vec<String> = Vec::new();
    for name in list.get_ref() {
        let text = name.get_ref();
        if resolved.contains(text) {
            let message = format!("`interfaces` of {label} names `{}` twice", excerpt(text));
            report.error(&name.span(), message, "remove one of them");
        } else if interfaces.inside.contains(text) {
            resolved.push(text.clone());
        } else {
            let (message, help) = not_inside(label, text, interfaces);
            report.error(&name.span(), message, help);
        }
    }
    resolved
}

fn not_inside(label: &str, name: &str, interfaces: &Interfaces) -> (String, String) {
    let known = "name interfaces of `inside` in [interfaces]".to_owned();
    let (why, help) = if interfaces.outside.iter().any(|outside| outside == name) {
        ("an outside interface", known)
    } else {
        let nearest = nearest(name, interfaces.inside.iter().map(String::as_str));
        let meant = nearest.map(|inside| format!("did you mean `{}`?", excerpt(inside)));
        ("not an inside interface", meant.unwrap_or(known))
    };
    (format!("`interfaces` of {label}: `{}` is {why}", excerpt(name)), help)
}

/// A prefix, the network it belongs to and where it is written.
struct Placed {
    prefix: Ipv4Net,
    network: usize,
    span: Span,
}

/// Prefixes of different networks must not overlap, or `from = ["a"]` would be a question of
/// order. Reported once for each pair of networks.
fn report_overlaps(mut placed: Vec<Placed>, networks: &[Network], report: &mut Report<'_>) {
    // Sorted like this, everything that contains a prefix comes before it, and the prefixes that
    // are still open form a chain from the widest to the narrowest. Equal prefixes stay in the
    // order of the file, so that the message is at the later one.
    placed.sort_by_key(|placed| (placed.prefix.network(), placed.prefix.prefix_len()));
    let mut open: Vec<&Placed> = Vec::new();
    let mut reported = BTreeSet::new();
    for inner in &placed {
        while open.last().is_some_and(|outer| !outer.prefix.contains(&inner.prefix)) {
            open.pop();
        }
        if let Some(outer) = open.last().filter(|outer| outer.network != inner.network) {
            let pair = (outer.network.min(inner.network), outer.network.max(inner.network));
            if reported.insert(pair) {
                report_overlap(outer, inner, networks, report);
            }
        }
        open.push(inner);
    }
}

fn report_overlap(outer: &Placed, inner: &Placed, networks: &[Network], report: &mut Report<'_>) {
    let name = |placed: &Placed| {
        excerpt(networks.get(placed.network).map_or("", |network| network.name.as_str()))
    };
    let message = format!(
        "networks `{}` and `{}` overlap: {} contains {}",
        name(outer),
        name(inner),
        outer.prefix,
        inner.prefix,
    );
    let help = "an address may belong to one network only: remove one of the prefixes or split \
                the wider one";
    report.error(&inner.span, message, help);
}
