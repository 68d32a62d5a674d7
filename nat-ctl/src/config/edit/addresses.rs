//! `[addresses]`: order and flags of an interface's addresses.

use toml_edit::{Array, Document, InlineTable, Item, Key, Table, Value};

use super::splice::{line_end, newline, replace};
use super::tables::{self, Block, content_end};
use super::{EditError, Span, inline};
use crate::config::{Config, ConfiguredAddress, InterfaceAddresses};

/// Longest line that is written; longer lists have a line for each address.
const COLUMNS_MAX: usize = 100;

/// Makes the list of an interface this one: changes flags where they stand, adds what is missing at
/// the end. Those that are listed must stay, in their order.
pub fn list(text: &str, file_name: &str, wanted: &InterfaceAddresses) -> Result<String, EditError> {
    let mut expected = Config::parse(text, file_name)?;
    let position = expected.addresses.iter().position(|one| one.interface == wanted.interface);
    let before = position.map(|position| expected.addresses.remove(position));
    let edited = match &before {
        Some(before) => change(text, before, wanted),
        None => add_list(text, wanted),
    };
    let edited = edited.ok_or(EditError::TooIntricate)?;
    expected.addresses.push(wanted.clone());
    expected.addresses.sort_by(|a, b| a.interface.cmp(&b.interface));
    let config = Config::parse(&edited, file_name)?;
    if (Config { warnings: Vec::new(), ..config }) == (Config { warnings: Vec::new(), ..expected })
    {
        Ok(edited)
    } else {
        Err(EditError::TooIntricate)
    }
}

fn change(text: &str, before: &InterfaceAddresses, wanted: &InterfaceAddresses) -> Option<String> {
    let document = Document::parse(text).ok()?;
    let mut pieces = Vec::new();
    let elements = array(&document, &wanted.interface)?.iter();
    for ((element, old), new) in elements.zip(&before.addresses).zip(&wanted.addresses) {
        if old != new {
            pieces.push(set_flag(text, element, new.skip_as_source)?);
        }
    }
    let pieces: Vec<_> = pieces.iter().map(|(span, new)| (span.clone(), new.as_str())).collect();
    let mut edited = replace(text, &pieces);
    for new in wanted.addresses.iter().skip(before.addresses.len()) {
        edited = append(&edited, &wanted.interface, new)?;
    }
    Some(edited)
}

/// The list of an interface, if it is written as one.
fn array<'d>(document: &'d Document<&str>, interface: &str) -> Option<&'d Array> {
    document.as_table().get("addresses")?.get(interface)?.as_array()
}

/// Where something else has to be written to set or clear the flag of an element, and what.
fn set_flag(text: &str, element: &Value, skip: bool) -> Option<(Span, String)> {
    match element {
        Value::String(_) => {
            let span = element.span()?;
            let new =
                format!("{{ address = {}, skip_as_source = {skip} }}", text.get(span.clone())?);
            Some((span, new))
        }
        Value::InlineTable(table) => {
            let address = table.get("address")?.span()?;
            let Some(flag) = table.get("skip_as_source") else {
                return Some((address.end..address.end, format!(", skip_as_source = {skip}")));
            };
            let span = table.span()?;
            if skip || text.get(span.clone())?.contains('#') {
                return Some((flag.span()?, skip.to_string()));
            }
            Some((span, text.get(address)?.to_owned()))
        }
        _ => None,
    }
}

fn append(text: &str, interface: &str, new: &ConfiguredAddress) -> Option<String> {
    let document = Document::parse(text).ok()?;
    let array = array(&document, interface)?;
    inline::List::find(array)?.insert(text, &inline::Piece::new(element(new)), array.len())
}

/// Writes the list of an interface that has none.
fn add_list(text: &str, wanted: &InterfaceAddresses) -> Option<String> {
    let document = Document::parse(text).ok()?;
    let newline = newline(text);
    let entry = entry(wanted, newline);
    match document.as_table().get("addresses") {
        None => {
            Some(add_section(text, document.as_table(), &format!("[addresses]{newline}{entry}")))
        }
        Some(Item::Table(table)) if table.is_dotted() => {
            Some(add_line(text, content_end(table), &format!("addresses.{entry}")))
        }
        // There only are [[addresses.NAME]].
        Some(Item::Table(table)) if table.is_implicit() => None,
        Some(Item::Table(table)) => {
            Some(add_line(text, content_end(table).max(table.span()?.end), &entry))
        }
        Some(Item::Value(Value::InlineTable(table))) => add_inline(text, table, &entry),
        Some(_) => None,
    }
}

/// A new section follows `[interfaces]`; where that is none, it is the last one.
fn add_section(text: &str, root: &Table, section: &str) -> String {
    let section = format!("{section}{}", newline(text));
    match root.get("interfaces") {
        Some(Item::Table(table)) if !table.is_dotted() && !table.is_implicit() => {
            tables::insert(text, &[Block::find(text, table)], &section, 1, true)
        }
        _ => tables::insert(text, &[], &section, 0, true),
    }
}

/// Puts a line after the one that `end` is on.
fn add_line(text: &str, end: usize, line: &str) -> String {
    let newline = newline(text);
    let at = line_end(text, end);
    let new = match text[..at].ends_with('\n') {
        true => format!("{line}{newline}"),
        false => format!("{newline}{line}"),
    };
    replace(text, &[(at..at, &new)])
}

fn add_inline(text: &str, table: &InlineTable, entry: &str) -> Option<String> {
    let last = table.iter().filter_map(|(_, value)| value.span()).map(|span| span.end).max();
    let (at, new) = match last {
        Some(end) => (end, format!(", {entry}")),
        None => (table.span()?.start + 1, format!(" {entry} ")),
    };
    Some(replace(text, &[(at..at, &new)]))
}

/// `wan0 = [...]`
fn entry(wanted: &InterfaceAddresses, newline: &str) -> String {
    let key = Key::new(&wanted.interface).to_string();
    let elements: Vec<String> = wanted.addresses.iter().map(element).collect();
    let line = format!("{key} = [{}]", elements.join(", "));
    if line.len() <= COLUMNS_MAX {
        return line;
    }
    let lines: String = elements.iter().map(|one| format!("  {one},{newline}")).collect();
    format!("{key} = [{newline}{lines}]")
}

fn element(address: &ConfiguredAddress) -> String {
    match address {
        ConfiguredAddress { address, skip_as_source: false } => format!("\"{address}\""),
        ConfiguredAddress { address, skip_as_source: true } => {
            format!("{{ address = \"{address}\", skip_as_source = true }}")
        }
    }
}

#[cfg(test)]
mod tests;
