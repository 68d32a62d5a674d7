//! What happens to rules.
use std::collections::{BTreeMap, BTreeSet};

use super::{Field, What};
use crate::config::{
    Action, Config, EXTERNAL, LOCAL_HOST, Protocol, ProtocolSet, Rule, Selector, Snat, Source,
};

/// Rules that go, come, move and change. `moved` is the one that somebody has moved.
pub(super) fn rules(old: &Config, new: &Config, moved: Option<&str>, changes: &mut Vec<What>) {
    let positions = |config: &Config| -> BTreeMap<String, usize> {
        config.rules.iter().map(|rule| rule.name.clone()).zip(0..).collect()
    };
    let (before, after) = (positions(old), positions(new));
    for (rule, position) in old.rules.iter().zip(1..) {
        if !after.contains_key(&rule.name) {
            changes.push(What::RuleRemoved { rule: rule.name.clone(), position });
        }
    }
    let kept: Vec<usize> =
        new.rules.iter().filter_map(|rule| before.get(&rule.name).copied()).collect();
    let mut unmoved = longest_rising(&kept);
    if let Some(moved) = moved.and_then(|moved| before.get(moved)) {
        let others: Vec<usize> = kept.iter().copied().filter(|index| index != moved).collect();
        let without = longest_rising(&others);
        if without.len() == unmoved.len() {
            unmoved = without;
        }
    }
    for (rule, position) in new.rules.iter().zip(1..) {
        let name = rule.name.clone();
        let Some(&index) = before.get(&rule.name) else {
            let text = describe(new, rule);
            changes.push(What::RuleAdded { rule: name, position, text });
            continue;
        };
        if !unmoved.contains(&index) {
            changes.push(What::RuleMoved { rule: name.clone(), from: index + 1, to: position });
        }
        let fields = old
            .rules
            .get(index)
            .map_or_else(Vec::new, |was| changed_fields(&fields(old, was), &fields(new, rule)));
        if !fields.is_empty() {
            changes.push(What::RuleChanged { rule: name, fields });
        }
    }
}

/// The longest rising subsequence of distinct numbers: the most rules that can be said not to have
/// moved. Patience sorting, O(n log n).
fn longest_rising(numbers: &[usize]) -> BTreeSet<usize> {
    // The smallest last number of a rising sequence of each length, and the number before each.
    let mut lasts: Vec<usize> = Vec::new();
    let mut previous: BTreeMap<usize, usize> = BTreeMap::new();
    for &number in numbers {
        let length = lasts.partition_point(|last| *last < number);
        if let Some(before) = length.checked_sub(1).and_then(|length| lasts.get(length)) {
            previous.insert(number, *before);
        }
        match lasts.get_mut(length) {
            Some(last) => *last = number,
            None => lasts.push(number),
        }
    }
    let mut rising = BTreeSet::new();
    let mut next = lasts.last().copied();
    while let Some(number) = next {
        rising.insert(number);
        next = previous.get(&number).copied();
    }
    rising
}

/// The keys of a rule in the order of the documentation.
const ORDER: [&str; 9] = [
    "from",
    "to",
    "protocols",
    "action",
    "source",
    "pooling",
    "sticky",
    "on_address_removed",
    "ports",
];

/// The values of a rule's keys, in [`ORDER`]. The value that decides equality comes
/// first, the one for people second: the order of networks and prefixes means nothing, that of
/// addresses does.
fn fields(config: &Config, rule: &Rule) -> Vec<(&'static str, String, String)> {
    let selectors = |selectors: &[Selector]| {
        let shown = selector_names(config, selectors);
        let set: BTreeSet<&String> = shown.iter().collect();
        (format!("{set:?}"), shown.join(" "))
    };
    let plain = |value: String| (value.clone(), value);
    let mut fields = Vec::new();
    let mut push = |key, (compared, shown)| fields.push((key, compared, shown));
    push("from", selectors(&rule.from));
    push("to", selectors(&rule.to));
    if let Action::Snat(_) = rule.action {
        push("protocols", plain(protocol_names(rule.protocols).join(" ")));
    }
    push("action", plain(rule.action.as_str().to_owned()));
    if let Action::Snat(snat) = &rule.action {
        snat_fields(snat).into_iter().for_each(|(key, value)| push(key, plain(value)));
    }
    fields
}

/// Those that only `snat` rules have.
fn snat_fields(snat: &Snat) -> Vec<(&'static str, String)> {
    let mut fields = match &snat.source {
        Source::Model(model) => vec![("source", model.to_string())],
        Source::Addresses { addresses, pooling } => {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            vec![("source", addresses.join(" ")), ("pooling", pooling.to_string())]
        }
    };
    fields.extend([
        ("sticky", snat.sticky.to_string()),
        ("on_address_removed", snat.on_address_removed.to_string()),
        ("ports", format!("{}-{}", snat.ports.start(), snat.ports.end())),
    ]);
    fields
}

fn changed_fields(
    old: &[(&'static str, String, String)],
    new: &[(&'static str, String, String)],
) -> Vec<Field> {
    let find = |fields: &[(&'static str, String, String)], key: &str| {
        fields.iter().find(|field| field.0 == key).cloned()
    };
    let mut keys: Vec<&str> = old.iter().chain(new).map(|field| field.0).collect();
    keys.sort_by_key(|key| ORDER.iter().position(|known| known == key));
    keys.dedup();
    let changed = keys.into_iter().filter_map(|key| {
        let (old, new) = (find(old, key), find(new, key));
        let compared = |field: &Option<(&str, String, String)>| {
            field.as_ref().map(|(_, compared, _)| compared.clone())
        };
        (compared(&old) != compared(&new)).then(|| Field {
            key: key.to_owned(),
            old: old.map(|field| field.2),
            new: new.map(|field| field.2),
        })
    });
    changed.collect()
}

/// A rule on one line.
fn describe(config: &Config, rule: &Rule) -> String {
    let names = |selectors: &[Selector]| selector_names(config, selectors).join(" ");
    let mut text =
        format!("from {} to {}: {}", names(&rule.from), names(&rule.to), rule.action.as_str());
    if let Action::Snat(snat) = &rule.action {
        text.push_str(&format!(" {}", protocol_names(rule.protocols).join(" ")));
        match &snat.source {
            Source::Model(model) => text.push_str(&format!(" {model}")),
            Source::Addresses { addresses, pooling } => {
                addresses.iter().for_each(|address| text.push_str(&format!(" {address}")));
                if addresses.len() > 1 {
                    text.push_str(&format!(" {pooling}"));
                }
            }
        }
        if snat.sticky {
            text.push_str(" sticky");
        }
        if snat.on_address_removed != Snat::ON_ADDRESS_REMOVED_DEFAULT {
            text.push_str(&format!(" on_address_removed {}", snat.on_address_removed));
        }
        text.push_str(&format!(" ports {}-{}", snat.ports.start(), snat.ports.end()));
    }
    text
}

/// Selectors, as in the file.
pub fn selector_names(config: &Config, selectors: &[Selector]) -> Vec<String> {
    let name = |selector: &Selector| match selector {
        Selector::Prefix(prefix) => prefix.to_string(),
        Selector::Network(index) => {
            config.networks.get(*index).map_or_else(String::new, |network| network.name.clone())
        }
        Selector::External => EXTERNAL.to_owned(),
        Selector::LocalHost => LOCAL_HOST.to_owned(),
    };
    selectors.iter().map(name).collect()
}

/// Protocols that a rule can name, as in the file.
pub fn protocol_names(protocols: ProtocolSet) -> Vec<&'static str> {
    let all = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp];
    all.into_iter().filter(|one| protocols.contains(*one)).map(Protocol::as_str).collect()
}
