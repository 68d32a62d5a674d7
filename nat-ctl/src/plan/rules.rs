//! What happens to rules.
use std::collections::{BTreeMap, BTreeSet};

use super::{Field, What, snat};
use crate::config::{Action, Config, EXTERNAL, LOCAL_HOST, Protocol, ProtocolSet, Rule, Selector};

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
            .map_or_else(Vec::new, |was| changed_fields(&values(old, was), &values(new, rule)));
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
const ORDER: [&str; 14] = [
    "from",
    "to",
    "protocols",
    "action",
    "source",
    "pooling",
    "sticky",
    "on_address_removed",
    "ports",
    "exclude_ports",
    "mapping",
    "filtering",
    "spill",
    "mss",
];

/// The value of a rule's key.
#[derive(Clone)]
pub(super) struct Value {
    pub key: &'static str,
    /// What decides whether two values are equal: the order of networks and prefixes means
    /// nothing, that of addresses does.
    pub compared: String,
    /// What people read.
    pub shown: String,
    /// Whether it says no more than the action does: it is not worth a word where a rule begins or
    /// ends to translate.
    pub by_default: bool,
}

/// The values of a rule's keys, in [`ORDER`].
fn values(config: &Config, rule: &Rule) -> Vec<Value> {
    let value = |key, compared, shown: String| Value { key, compared, shown, by_default: false };
    let selectors = |key, selectors: &[Selector]| {
        let shown = selector_names(config, selectors);
        let set: BTreeSet<&String> = shown.iter().collect();
        value(key, format!("{set:?}"), shown.join(" "))
    };
    let plain = |key, shown: String| value(key, shown.clone(), shown);
    let mut values = vec![selectors("from", &rule.from), selectors("to", &rule.to)];
    if let Action::Snat(_) = rule.action {
        values.push(plain("protocols", protocol_names(rule.protocols).join(" ")));
    }
    values.push(plain("action", rule.action.as_str().to_owned()));
    if let Action::Snat(snat) = &rule.action {
        values.extend(snat::values(snat));
    }
    values
}

fn changed_fields(old: &[Value], new: &[Value]) -> Vec<Field> {
    let find = |values: &[Value], key: &str| values.iter().find(|value| value.key == key).cloned();
    let mut keys: Vec<&str> = old.iter().chain(new).map(|value| value.key).collect();
    keys.sort_by_key(|key| ORDER.iter().position(|known| known == key));
    keys.dedup();
    let changed = keys.into_iter().filter_map(|key| {
        let (old, new) = (find(old, key), find(new, key));
        let differs = match (&old, &new) {
            (Some(old), Some(new)) => old.compared != new.compared,
            (Some(only), None) | (None, Some(only)) => !only.by_default,
            (None, None) => false,
        };
        differs.then(|| Field {
            key: key.to_owned(),
            old: old.map(|value| value.shown),
            new: new.map(|value| value.shown),
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
        text.push_str(&snat::describe(snat));
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
