//! A rule as somebody wants it written.

use std::net::Ipv4Addr;

use toml_edit::{Array, InlineTable, Value};

use crate::config::words::{
    ActionWord, Filtering, Mapping, OnAddressRemoved, Pooling, Protocol, SourceModel,
};

/// A rule that is to be added. What is empty or absent is not written and has its default. Nothing
/// is checked here: the edited file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRule {
    pub name: String,
    pub from: Vec<String>,
    pub to: Vec<String>,
    pub protocols: Vec<Protocol>,
    pub action: ActionWord,
    pub source: Option<NewSource>,
    pub sticky: bool,
    pub on_address_removed: Option<OnAddressRemoved>,
    pub ports: Option<String>,
    /// Ports, and ranges such as `5000-5100`.
    pub exclude_ports: Vec<String>,
    pub mapping: Option<NewBehaviour<Mapping>>,
    pub filtering: Option<NewBehaviour<Filtering>>,
    pub spill: bool,
    /// A word or a number.
    pub mss: Option<String>,
}

/// `mapping` or `filtering` of a rule that is to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewBehaviour<T> {
    /// For every protocol.
    All(T),
    /// For these; the others have the default.
    Each(Vec<(Protocol, T)>),
}

/// The source of a rule that is to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewSource {
    Model(SourceModel),
    Addresses { addresses: Vec<Ipv4Addr>, pooling: Option<Pooling> },
}

impl NewRule {
    /// `[[rules]]` and a line for every key.
    pub(super) fn as_table(&self, newline: &str) -> String {
        let lines = self.entries().into_iter().map(|(key, value)| format!("{key} = {value}"));
        let lines: Vec<String> = std::iter::once("[[rules]]".to_owned()).chain(lines).collect();
        lines.join(newline) + newline
    }

    /// `{ name = … }` on one line.
    pub(super) fn as_inline(&self) -> String {
        InlineTable::from_iter(self.entries()).to_string().trim().to_owned()
    }

    /// In the order of the documentation.
    fn entries(&self) -> Vec<(&'static str, Value)> {
        let mut entries = vec![
            ("name", Value::from(self.name.as_str())),
            ("from", list(&self.from)),
            ("to", list(&self.to)),
        ];
        if !self.protocols.is_empty() {
            entries.push(("protocols", list(&self.protocols)));
        }
        entries.push(("action", Value::from(self.action.as_str())));
        if let Some(source) = &self.source {
            entries.push(("source", source.value()));
        }
        if self.sticky {
            entries.push(("sticky", Value::from(true)));
        }
        if let Some(what) = self.on_address_removed {
            entries.push(("on_address_removed", Value::from(what.as_str())));
        }
        if let Some(ports) = &self.ports {
            entries.push(("ports", Value::from(ports.as_str())));
        }
        if !self.exclude_ports.is_empty() {
            let ports = self.exclude_ports.iter().map(|port| number_or_text(port));
            entries.push(("exclude_ports", Value::from(ports.collect::<Array>())));
        }
        if let Some(mapping) = &self.mapping {
            entries.push(("mapping", mapping.value()));
        }
        if let Some(filtering) = &self.filtering {
            entries.push(("filtering", filtering.value()));
        }
        if self.spill {
            entries.push(("spill", Value::from(true)));
        }
        if let Some(mss) = &self.mss {
            entries.push(("mss", number_or_text(mss)));
        }
        entries
    }
}

impl NewSource {
    fn value(&self) -> Value {
        match self {
            Self::Model(model) => Value::from(model.as_str()),
            Self::Addresses { addresses, pooling } => {
                let mut source = InlineTable::new();
                source.insert("addresses", list(addresses));
                if let Some(pooling) = pooling {
                    source.insert("pooling", Value::from(pooling.as_str()));
                }
                Value::from(source)
            }
        }
    }
}

impl<T: ToString> NewBehaviour<T> {
    fn value(&self) -> Value {
        match self {
            Self::All(word) => Value::from(word.to_string()),
            Self::Each(words) => {
                let words = words.iter().map(|(protocol, word)| (protocol.as_str(), word));
                let words = words.map(|(protocol, word)| (protocol, Value::from(word.to_string())));
                Value::from(InlineTable::from_iter(words))
            }
        }
    }
}

fn number_or_text(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from)
}

fn list(elements: &[impl ToString]) -> Value {
    Value::from(elements.iter().map(|element| Value::from(element.to_string())).collect::<Array>())
}
