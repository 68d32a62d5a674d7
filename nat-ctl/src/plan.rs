//! What another configuration changes, for people and for programs. Pure.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    config::{Action, Config, Network, Protocol, ProtocolSet, Rule, Selector},
    config::{EXTERNAL, LOCAL_HOST},
    exit::Failure,
};

/// The difference of two configurations: with `schema` and `version` the answer of `apply -j`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Interfaces, networks, rules in their new order after those that go, then numbers.
    pub changes: Vec<Change>,
}

/// One line of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Change {
    #[serde(flatten)]
    pub what: What,
    /// Whether it takes effect while the data path goes on.
    pub live: bool,
}

/// What is different. Positions of rules count from 1.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum What {
    RuleAdded {
        rule: String,
        position: usize,
        text: String,
    },
    RuleRemoved {
        rule: String,
        position: usize,
    },
    /// The rule's place among those that stay is another one.
    RuleMoved {
        rule: String,
        from: usize,
        to: usize,
    },
    RuleChanged {
        rule: String,
        fields: Vec<Field>,
    },
    NetworkAdded {
        network: String,
        prefixes: Vec<String>,
    },
    NetworkRemoved {
        network: String,
    },
    NetworkChanged {
        network: String,
        added: Vec<String>,
        removed: Vec<String>,
    },
    /// A key outside of rules and networks, as in `timeouts.udp`.
    Setting(Field),
}

/// A key with its old and new value, as in the file; None is absent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Field {
    pub key: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

/// The key whose value is the size of maps, which cannot be changed while they are in use.
const MAX_SESSIONS: &str = "limits.max_sessions";

impl Plan {
    /// What it takes to get from one configuration to another.
    pub fn between(old: &Config, new: &Config) -> Self {
        Self::of(old, new, None)
    }

    /// The same after somebody moved a rule: where two rules have changed places, one of them
    /// moved, and this is the one.
    pub fn after_moving(rule: &str, old: &Config, new: &Config) -> Self {
        Self::of(old, new, Some(rule))
    }

    fn of(old: &Config, new: &Config, moved: Option<&str>) -> Self {
        let mut changes = Vec::new();
        interfaces(old, new, &mut changes);
        networks(old, new, &mut changes);
        rules(old, new, moved, &mut changes);
        numbers(old, new, &mut changes);
        let live = |what: &What| !matches!(what, What::Setting(field) if field.key == MAX_SESSIONS);
        let changes = changes.into_iter().map(|what| Change { live: live(&what), what });
        Self { changes: changes.collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Refuses a plan with a change that a running data path cannot take.
    pub fn refuse_if_not_live(&self) -> Result<(), Failure> {
        let Some(change) = self.changes.iter().find(|change| !change.live) else { return Ok(()) };
        Err(Failure::usage(format!(
            "not possible while the data path is in place: {}",
            change.what
        ))
        .with_help(
            "leave it as it is; or `nat-ctl detach`, which ends all sessions, and start again",
        ))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no changes");
        }
        for (index, change) in self.changes.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}", change.what)?;
            if !change.live {
                f.write_str(" (not while the data path is in place)")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RuleAdded { rule, position, text } => {
                write!(f, "+ rule \"{rule}\" at {position}: {text}")
            }
            Self::RuleRemoved { rule, .. } => write!(f, "- rule \"{rule}\""),
            Self::RuleMoved { rule, from, to } => {
                write!(f, "> rule \"{rule}\" from {from} to {to}")
            }
            Self::RuleChanged { rule, fields } => {
                let fields: Vec<_> = fields.iter().map(ToString::to_string).collect();
                write!(f, "~ rule \"{rule}\": {}", fields.join("; "))
            }
            Self::NetworkAdded { network, prefixes } => {
                write!(f, "+ network \"{network}\": {}", prefixes.join(" "))
            }
            Self::NetworkRemoved { network } => write!(f, "- network \"{network}\""),
            Self::NetworkChanged { network, added, removed } => {
                write!(f, "~ network \"{network}\":")?;
                added.iter().try_for_each(|prefix| write!(f, " +{prefix}"))?;
                removed.iter().try_for_each(|prefix| write!(f, " -{prefix}"))
            }
            Self::Setting(field) => write!(f, "~ {field}"),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        write!(f, "{} {} → {}", self.key, shown(&self.old), shown(&self.new))
    }
}

/// A setting that is always there, if it differs.
fn setting(key: &str, old: String, new: String, changes: &mut Vec<What>) {
    if old != new {
        changes.push(What::Setting(Field { key: key.to_owned(), old: Some(old), new: Some(new) }));
    }
}

fn interfaces(old: &Config, new: &Config, changes: &mut Vec<What>) {
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

fn networks(old: &Config, new: &Config, changes: &mut Vec<What>) {
    let find = |config: &Config, name: &str| -> Option<BTreeSet<String>> {
        let network = config.networks.iter().find(|network| network.name == name)?;
        Some(network.prefixes.iter().map(ToString::to_string).collect())
    };
    for Network { name, .. } in &old.networks {
        if find(new, name).is_none() {
            changes.push(What::NetworkRemoved { network: name.clone() });
        }
    }
    for Network { name, .. } in &new.networks {
        let network = name.clone();
        let prefixes = find(new, name).unwrap_or_default();
        let Some(before) = find(old, name) else {
            let prefixes = prefixes.into_iter().collect();
            changes.push(What::NetworkAdded { network, prefixes });
            continue;
        };
        if prefixes != before {
            let added = prefixes.difference(&before).cloned().collect();
            let removed = before.difference(&prefixes).cloned().collect();
            changes.push(What::NetworkChanged { network, added, removed });
        }
    }
}

fn rules(old: &Config, new: &Config, moved: Option<&str>, changes: &mut Vec<What>) {
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

/// The keys of a rule in the order of the documentation. The value that decides equality comes
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
        let addresses: Vec<_> = snat.addresses.iter().map(ToString::to_string).collect();
        push("source", plain(addresses.join(" ")));
        push("pooling", plain(snat.pooling.to_string()));
        push("ports", plain(format!("{}-{}", snat.ports.start(), snat.ports.end())));
    }
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
    let order = ["from", "to", "protocols", "action", "source", "pooling", "ports"];
    keys.sort_by_key(|key| order.iter().position(|known| known == key));
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
pub fn describe(config: &Config, rule: &Rule) -> String {
    let names = |selectors: &[Selector]| selector_names(config, selectors).join(" ");
    let mut text =
        format!("from {} to {}: {}", names(&rule.from), names(&rule.to), rule.action.as_str());
    if let Action::Snat(snat) = &rule.action {
        text.push_str(&format!(" {}", protocol_names(rule.protocols).join(" ")));
        snat.addresses.iter().for_each(|address| text.push_str(&format!(" {address}")));
        if snat.addresses.len() > 1 {
            text.push_str(&format!(" {}", snat.pooling));
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

fn numbers(old: &Config, new: &Config, changes: &mut Vec<What>) {
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
    let max_sessions = |config: &Config| config.limits.max_sessions.to_string();
    setting(MAX_SESSIONS, max_sessions(old), max_sessions(new), changes);
}

#[cfg(test)]
mod tests;
