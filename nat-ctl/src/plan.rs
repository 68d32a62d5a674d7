//! What another configuration changes, for people and for programs. Pure.
mod rules;
mod settings;
mod snat;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use rules::{protocol_names, selector_names};

use crate::{
    config::{Config, StaticRoute},
    exit::Failure,
};

/// The difference of two configurations: with `schema` and `version` the answer of `apply -j`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Interfaces, addresses, networks, rules in their new order after those that go, static
    /// routes, then other settings.
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
        /// Those by which its packets must arrive; empty if any will do.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        interfaces: Vec<String>,
    },
    NetworkRemoved {
        network: String,
    },
    NetworkChanged {
        network: String,
        added: Vec<String>,
        removed: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interfaces: Option<Field>,
    },
    StaticRouteAdded(StaticRoute),
    StaticRouteRemoved(StaticRoute),
    /// Any other key, as in `timeouts.udp`.
    Setting(Field),
}

/// A key with its old and new value, as in the file; None is absent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Field {
    pub key: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

/// Keys whose values are sizes of maps, which cannot be changed while they are in use.
const SIZES: [&str; 2] = ["limits.max_sessions", "cooldown.max_cooling"];

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
        settings::interfaces(old, new, &mut changes);
        settings::addresses(old, new, &mut changes);
        settings::networks(old, new, &mut changes);
        rules::rules(old, new, moved, &mut changes);
        settings::static_routes(old, new, &mut changes);
        settings::others(old, new, &mut changes);
        let sizes = |field: &Field| SIZES.contains(&field.key.as_str());
        let live = |what: &What| !matches!(what, What::Setting(field) if sizes(field));
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
            Self::NetworkAdded { network, prefixes, interfaces } => {
                write!(f, "+ network \"{network}\": {}", prefixes.join(" "))?;
                if interfaces.is_empty() {
                    return Ok(());
                }
                write!(f, " by {}", interfaces.join(" "))
            }
            Self::NetworkRemoved { network } => write!(f, "- network \"{network}\""),
            Self::NetworkChanged { network, added, removed, interfaces } => {
                write!(f, "~ network \"{network}\":")?;
                added.iter().try_for_each(|prefix| write!(f, " +{prefix}"))?;
                removed.iter().try_for_each(|prefix| write!(f, " -{prefix}"))?;
                interfaces.iter().try_for_each(|field| write!(f, " {field}"))
            }
            Self::StaticRouteAdded(route) => write!(f, "+ static route {route}"),
            Self::StaticRouteRemoved(route) => write!(f, "- static route {route}"),
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

#[cfg(test)]
mod tests;
