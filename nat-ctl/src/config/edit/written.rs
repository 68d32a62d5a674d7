//! A rule as somebody wants it written.

use std::net::Ipv4Addr;

use toml_edit::{Array, InlineTable, Value};

use crate::config::words::{ActionWord, Pooling, Protocol};

/// A rule that is to be added. What is empty or absent is not written and has its default. Nothing
/// is checked here: the edited file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRule {
    pub name: String,
    pub from: Vec<String>,
    pub to: Vec<String>,
    pub protocols: Vec<Protocol>,
    pub action: ActionWord,
    pub source: Vec<Ipv4Addr>,
    pub pooling: Option<Pooling>,
    pub ports: Option<String>,
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
        let mut source = InlineTable::new();
        if !self.source.is_empty() {
            source.insert("addresses", list(&self.source));
        }
        if let Some(pooling) = self.pooling {
            source.insert("pooling", Value::from(pooling.as_str()));
        }
        if !source.is_empty() {
            entries.push(("source", Value::from(source)));
        }
        if let Some(ports) = &self.ports {
            entries.push(("ports", Value::from(ports.as_str())));
        }
        entries
    }
}

fn list(elements: &[impl ToString]) -> Value {
    Value::from(elements.iter().map(|element| Value::from(element.to_string())).collect::<Array>())
}
