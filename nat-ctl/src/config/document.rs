//! The parsed file as a tree of keys with their places: answers "which key is that?" for a span
//! that an error or a value carries.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Place;

/// A range of bytes of the file.
pub(super) type Span = Range<usize>;

pub(super) struct Document<'t> {
    file: &'t str,
    text: &'t str,
    line_starts: Vec<usize>,
    tree: DeTable<'t>,
}

/// A key of the file.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// The steps from the root to the table that holds the key, and the key itself.
    path: Vec<Step>,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Key(String),
    Index(usize),
}

impl<'t> Document<'t> {
    pub fn new(file: &'t str, text: &'t str, tree: DeTable<'t>) -> Self {
        let after_newline = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(after_newline.map(|(at, _)| at + 1)).collect();
        Self { file, text, line_starts, tree }
    }

    pub fn tree(&self) -> &DeTable<'t> {
        &self.tree
    }

    /// The place of a byte; of the last one where the offset lies beyond the end.
    pub fn place(&self, offset: usize) -> Place {
        let offset = self.text.floor_char_boundary_at(offset);
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        Place { file: self.file.to_owned(), line_column: Some((line, column)) }
    }

    /// The file as a whole.
    pub fn whole(&self) -> Place {
        Place { file: self.file.to_owned(), line_column: None }
    }

    /// What is written at a span.
    pub fn text_at(&self, span: &Span) -> &str {
        self.text.get(span.clone()).unwrap_or("")
    }

    /// The key whose name or value is at `span`, else the innermost one whose value contains it.
    pub fn key_at(&self, span: &Span) -> Option<Key> {
        // Exact matches first: the place of an implicit table (`rules` in `[rules.source]`) lies
        // inside that of its child.
        let exact = |key: &Span, value: &Span| key == span || value == span;
        let around = |_: &Span, value: &Span| value.start <= span.start && span.end <= value.end;
        search(&self.tree, &exact, &mut Vec::new())
            .or_else(|| search(&self.tree, &around, &mut Vec::new()))
    }

    /// The full name of what is at `span`: a key, or an element of `[[rules]]` and the like.
    pub fn name_at(&self, span: &Span) -> Option<String> {
        let element = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let elements = value.get_ref().as_array()?;
            let index = elements.iter().position(|element| element.span() == *span)?;
            Some(format!("{}[{index}]", key.get_ref()))
        };
        self.tree.iter().find_map(element).or_else(|| Some(self.key_at(span)?.full_name()))
    }
}

impl Key {
    pub fn name(&self) -> &str {
        match self.path.last() {
            Some(Step::Key(name)) => name,
            _ => "",
        }
    }

    /// Where the key is written, for a message: ` in [interfaces]`; empty at the top level.
    pub fn container(&self) -> String {
        let keys: Vec<&str> = self.path.iter().filter_map(Step::key).collect();
        match keys.as_slice() {
            [] | [_] => String::new(),
            [table, between @ .., _] => {
                let listed = matches!(self.path.get(1), Some(Step::Index(_)));
                let table = if listed { format!("[[{table}]]") } else { format!("[{table}]") };
                match between.last() {
                    Some(inner) => format!(" in `{inner}` of {table}"),
                    None => format!(" in {table}"),
                }
            }
        }
    }

    /// The key with those around it: `rules[0].from`.
    pub fn full_name(&self) -> String {
        let mut name = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) if name.is_empty() => name.push_str(key),
                Step::Key(key) => name.extend([".", key]),
                Step::Index(index) => name.push_str(&format!("[{index}]")),
            }
        }
        name
    }

    pub fn is_top_level(&self) -> bool {
        self.path.len() == 1
    }

    /// Takes the key out of a copy of the document's tree. Returns whether it was there.
    pub fn remove_from(&self, tree: &mut DeTable<'_>) -> bool {
        remove(tree, &self.path)
    }
}

impl Step {
    fn key(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Index(_) => None,
        }
    }
}

/// Depth first, children before their parents. `path` is the way to `table` on entry and on
/// return.
fn search(
    table: &DeTable<'_>,
    wanted: &dyn Fn(&Span, &Span) -> bool,
    path: &mut Vec<Step>,
) -> Option<Key> {
    for (key, value) in table.iter() {
        path.push(Step::Key(key.get_ref().to_string()));
        if let Some(found) = search_value(value, wanted, path) {
            return Some(found);
        }
        if wanted(&key.span(), &value.span()) {
            return Some(Key { path: path.clone(), span: key.span() });
        }
        path.pop();
    }
    None
}

fn search_value(
    value: &Spanned<DeValue<'_>>,
    wanted: &dyn Fn(&Span, &Span) -> bool,
    path: &mut Vec<Step>,
) -> Option<Key> {
    match value.get_ref() {
        DeValue::Table(table) => search(table, wanted, path),
        DeValue::Array(elements) => elements.iter().enumerate().find_map(|(index, element)| {
            path.push(Step::Index(index));
            let found = search_value(element, wanted, path);
            path.pop();
            found
        }),
        _ => None,
    }
}

fn remove(table: &mut DeTable<'_>, path: &[Step]) -> bool {
    match path {
        [Step::Key(key)] => table.remove(key.as_str()).is_some(),
        [Step::Key(key), rest @ ..] => {
            table.get_mut(key.as_str()).is_some_and(|value| remove_inside(value.get_mut(), rest))
        }
        _ => false,
    }
}

fn remove_inside(value: &mut DeValue<'_>, path: &[Step]) -> bool {
    match (value, path) {
        (DeValue::Table(table), path) => remove(table, path),
        (DeValue::Array(elements), [Step::Index(index), rest @ ..]) => {
            elements.get_mut(*index).is_some_and(|element| remove_inside(element.get_mut(), rest))
        }
        _ => false,
    }
}

/// `str::floor_char_boundary` is younger than the oldest supported compiler.
trait FloorCharBoundary {
    fn floor_char_boundary_at(&self, index: usize) -> usize;
}

impl FloorCharBoundary for str {
    fn floor_char_boundary_at(&self, index: usize) -> usize {
        let mut index = index.min(self.len());
        while !self.is_char_boundary(index) {
            index -= 1;
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(text: &str, part: &str) -> String {
        let tree = DeTable::parse(text).unwrap().into_inner();
        let document = Document::new("nat.toml", text, tree);
        let start = text.find(part).unwrap();
        let key = document.key_at(&(start..start + part.len())).unwrap();
        let place = document.place(key.span.start);
        format!("{}{} {place} {}", key.name(), key.container(), key.full_name())
    }

    #[test]
    fn a_span_leads_to_its_key() {
        let text = "[interfaces]\ninside = [\"lan0\"]\n\n[[rules]]\nname = \"a\"\n\
                    source = { addresses = [\"192.0.2.1\"] }\n[[rules]]\n  [rules.source]\n  \
                    pooling = 7\n[cooldown]\n";
        for (part, expected) in [
            ("inside", "inside in [interfaces] nat.toml:2:1 interfaces.inside"),
            ("\"lan0\"", "inside in [interfaces] nat.toml:2:1 interfaces.inside"),
            ("\"a\"", "name in [[rules]] nat.toml:5:1 rules[0].name"),
            (
                "\"192.0.2.1\"",
                "addresses in `source` of [[rules]] nat.toml:6:12 rules[0].source.addresses",
            ),
            ("7", "pooling in `source` of [[rules]] nat.toml:9:3 rules[1].source.pooling"),
            ("[cooldown]", "cooldown nat.toml:10:2 cooldown"),
        ] {
            assert_eq!(key_of(text, part), expected);
        }
    }

    #[test]
    fn an_implicit_table_is_not_taken_for_its_child() {
        assert_eq!(key_of("[rules.source]\nx = 1", "rules"), "rules nat.toml:1:2 rules");
    }

    #[test]
    fn places_count_characters() {
        let text = "# größe\nä = 1\n";
        let document = Document::new("f", text, DeTable::new());
        let place = |offset| document.place(offset).line_column.unwrap();
        assert_eq!(place(0), (1, 1));
        assert_eq!(place(text.find('1').unwrap()), (2, 5));
        assert_eq!(place(text.len()), (3, 1));
        assert_eq!(place(usize::MAX), (3, 1));
        // In the middle of `ö`: its start.
        assert_eq!(place(5), (1, 5));
    }

    #[test]
    fn keys_can_be_taken_out() {
        let text = "a = 1\n[[rules]]\nb = 2\nc = 3";
        let mut tree = DeTable::parse(text).unwrap().into_inner();
        let document = Document::new("f", text, tree.clone());
        let at = text.find('b').unwrap();
        let key = document.key_at(&(at..at + 1)).unwrap();
        assert!(key.remove_from(&mut tree));
        assert!(!key.remove_from(&mut tree));
        assert_eq!(tree.len(), 2);
    }
}
