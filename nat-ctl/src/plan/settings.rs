//! What happens to everything but rules.
use std::collections::{BTreeMap, BTreeSet};

use super::{Field, What};
use crate::config::{Config, Cooldown, InterfaceAddresses, Limits, Network};

/// A setting that is always there, if it differs.
fn setting(key: &str, old: String, new: String, changes: &mut Vec<What>) {
    if old != new {
        changes.push(What::Setting(Field { key: key.to_owned(), old: Some(old), new: Some(new) }));
    }
}

/// `[interfaces]`. The order of interfaces means nothing.
pub(super) fn interfaces(old: &Config, new: &Config, changes: &mut Vec<What>) {
    let (old, new) = (&old.interfaces, &new.interfaces);
    let mut list = |key: &str, old: &[String], new: &[String]| {
        let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
        if set(old) != set(new) {
            setting(key, old.join(" "), new.join(" "), changes);
        }
    };
    list("interfaces.inside", &old.inside, &new.inside);
    list("interfaces.outside", &old.outside, &new.outside);
    setting("interfaces.hook", old.hook.to_string(), new.hook.to_string(), changes);
}

/// Order and flags of addresses. Interfaces that are not named have neither.
pub(super) fn addresses(old: &Config, new: &Config, changes: &mut Vec<What>) {
    let shown = |config: &Config| -> BTreeMap<String, String> {
        let one = |list: &InterfaceAddresses| {
            let addresses = list.addresses.iter().map(|one| {
                format!(
                    "{}{}",
                    one.address,
                    if one.skip_as_source { "(skip_as_source)" } else { "" }
                )
            });
            (list.interface.clone(), addresses.collect::<Vec<_>>().join(" "))
        };
        config.addresses.iter().map(one).collect()
    };
    let (before, after) = (shown(old), shown(new));
    let interfaces: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for interface in interfaces {
        let (old, new) = (before.get(interface).cloned(), after.get(interface).cloned());
        if old != new {
            changes.push(What::Setting(Field { key: format!("addresses.{interface}"), old, new }));
        }
    }
}

/// Networks by name. The order of prefixes and interfaces means nothing.
pub(super) fn networks(old: &Config, new: &Config, changes: &mut Vec<What>) {
    let find = |config: &Config, name: &str| {
        let network = config.networks.iter().find(|network| network.name == name)?;
        let prefixes: BTreeSet<String> = network.prefixes.iter().map(ToString::to_string).collect();
        let interfaces: BTreeSet<String> = network.interfaces.iter().cloned().collect();
        Some((prefixes, interfaces))
    };
    for Network { name, .. } in &old.networks {
        if find(new, name).is_none() {
            changes.push(What::NetworkRemoved { network: name.clone() });
        }
    }
    for Network { name, .. } in &new.networks {
        let network = name.clone();
        let after = find(new, name).unwrap_or_default();
        let Some(before) = find(old, name) else {
            let (prefixes, interfaces) = after;
            let prefixes = prefixes.into_iter().collect();
            let interfaces = interfaces.into_iter().collect();
            changes.push(What::NetworkAdded { network, prefixes, interfaces });
            continue;
        };
        if after != before {
            let added = after.0.difference(&before.0).cloned().collect();
            let removed = before.0.difference(&after.0).cloned().collect();
            let interfaces = interfaces_of_network(&before.1, &after.1);
            changes.push(What::NetworkChanged { network, added, removed, interfaces });
        }
    }
}

fn interfaces_of_network(old: &BTreeSet<String>, new: &BTreeSet<String>) -> Option<Field> {
    let shown = |names: &BTreeSet<String>| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        (!names.is_empty()).then(|| names.join(" "))
    };
    let key = "interfaces".to_owned();
    (old != new).then(|| Field { key, old: shown(old), new: shown(new) })
}

/// Routes that go, then those that come. One whose router or interface changes does both.
pub(super) fn static_routes(old: &Config, new: &Config, changes: &mut Vec<What>) {
    let gone = old.static_routes.iter().filter(|route| !new.static_routes.contains(route));
    changes.extend(gone.cloned().map(What::StaticRouteRemoved));
    let come = new.static_routes.iter().filter(|route| !old.static_routes.contains(route));
    changes.extend(come.cloned().map(What::StaticRouteAdded));
}

/// Settings that are always there.
pub(super) fn others(old: &Config, new: &Config, changes: &mut Vec<What>) {
    let (before, after) = (&old.source, &new.source);
    for (key, old, new) in [
        ("tie_break", before.tie_break.to_string(), after.tie_break.to_string()),
        ("candidates", before.candidates.to_string(), after.candidates.to_string()),
        ("private_scope", before.private_scope.to_string(), after.private_scope.to_string()),
        (
            "enforce_strong_send",
            before.enforce_strong_send.to_string(),
            after.enforce_strong_send.to_string(),
        ),
        (
            "honour_skip_as_source",
            before.honour_skip_as_source.to_string(),
            after.honour_skip_as_source.to_string(),
        ),
    ] {
        setting(&format!("source.{key}"), old, new, changes);
    }
    let unmatched = |config: &Config| config.defaults.unmatched.to_string();
    setting("defaults.unmatched", unmatched(old), unmatched(new), changes);
    let (before, after) = (&old.timeouts, &new.timeouts);
    for (key, old, new) in [
        ("tcp_established", before.tcp_established, after.tcp_established),
        ("tcp_opening", before.tcp_opening, after.tcp_opening),
        ("tcp_closing", before.tcp_closing, after.tcp_closing),
        ("udp", before.udp, after.udp),
        ("udp_dns", before.udp_dns, after.udp_dns),
        ("icmp", before.icmp, after.icmp),
    ] {
        let shown = |timeout| humantime::format_duration(timeout).to_string();
        setting(&format!("timeouts.{key}"), shown(old), shown(new), changes);
    }
    cooldown(&old.cooldown, &new.cooldown, changes);
    limits(&old.limits, &new.limits, changes);
}

fn cooldown(before: &Cooldown, after: &Cooldown, changes: &mut Vec<What>) {
    for (key, old, new) in [
        ("enabled", before.enabled.to_string(), after.enabled.to_string()),
        ("time_ms", before.time_ms.to_string(), after.time_ms.to_string()),
        ("rst_ms", before.rst_ms.to_string(), after.rst_ms.to_string()),
        ("half_open_ms", before.half_open_ms.to_string(), after.half_open_ms.to_string()),
        ("udp_ms", before.udp_ms.to_string(), after.udp_ms.to_string()),
        ("scope", before.scope.to_string(), after.scope.to_string()),
        ("max_cooling", before.max_cooling.to_string(), after.max_cooling.to_string()),
        ("pressure_reuse", before.pressure_reuse.to_string(), after.pressure_reuse.to_string()),
    ] {
        setting(&format!("cooldown.{key}"), old, new, changes);
    }
}

fn limits(before: &Limits, after: &Limits, changes: &mut Vec<What>) {
    for (key, old, new) in [
        ("max_sessions", before.max_sessions, after.max_sessions),
        ("sessions_per_client", before.sessions_per_client, after.sessions_per_client),
        ("half_open_per_client", before.half_open_per_client, after.half_open_per_client),
        (
            "new_per_second_per_client",
            before.new_per_second_per_client,
            after.new_per_second_per_client,
        ),
    ] {
        setting(&format!("limits.{key}"), old.to_string(), new.to_string(), changes);
    }
}
