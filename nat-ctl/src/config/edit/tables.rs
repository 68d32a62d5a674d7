//! Rules written as `[[rules]]`.

use toml_edit::{Item, Table};

use super::Span;
use super::splice::{
    comments_above, is_blank, is_comment, line_before, line_end, line_from, line_start, newline,
    replace,
};

/// What belongs to a rule, as whole lines in the order of the file: one range, unless other tables
/// lie between the rule and a table of its own such as `[rules.source]`.
#[derive(Debug, Clone)]
pub(super) struct Block(Vec<Span>);

impl Block {
    pub fn find(text: &str, table: &Table) -> Self {
        let mut parts = Vec::new();
        collect(text, table, &mut parts);
        parts.sort_by_key(|part| part.start);
        let mut merged: Vec<Span> = Vec::new();
        for part in parts {
            let joins = merged.last().is_some_and(|last| {
                let between = text.get(last.end..part.start).unwrap_or("");
                between.lines().all(|line| is_blank(line) || is_comment(line))
            });
            match merged.last_mut() {
                Some(last) if joins => last.end = part.end,
                _ => merged.push(part),
            }
        }
        Self(merged)
    }

    fn start(&self) -> usize {
        self.0.first().map_or(0, |part| part.start)
    }

    fn end(&self) -> usize {
        self.0.last().map_or(0, |part| part.end)
    }
}

/// The lines of a table with a header, and those of the tables in it.
fn collect(text: &str, table: &Table, parts: &mut Vec<Span>) {
    if !table.is_implicit()
        && !table.is_dotted()
        && let Some(header) = table.span()
    {
        let trivia = table.decor().prefix().and_then(|prefix| prefix.span());
        let bound = trivia.map_or(header.start, |trivia| trivia.start);
        let start = comments_above(text, line_start(text, header.start), bound);
        let end = line_end(text, content_end(table).max(header.end));
        parts.push(start..end_with_comments(text, end));
    }
    for (_, item) in table.iter() {
        match item {
            // The keys of a dotted table are those of the table around it.
            Item::Table(inner) => collect(text, inner, parts),
            Item::ArrayOfTables(inner) => inner.iter().for_each(|one| collect(text, one, parts)),
            _ => {}
        }
    }
}

/// The end of the last value that is written under the table's own header.
pub(super) fn content_end(table: &Table) -> usize {
    let ends = table.iter().map(|(_, item)| match item {
        Item::Value(value) => value.span().map_or(0, |span| span.end),
        Item::Table(inner) if inner.is_dotted() => content_end(inner),
        _ => 0,
    });
    ends.max().unwrap_or(0)
}

/// Comment lines that follow belong to the rule, unless they touch what comes after them.
fn end_with_comments(text: &str, end: usize) -> usize {
    let mut after = end;
    while let Some(line) = line_from(text, after).filter(|line| is_comment(&text[line.clone()])) {
        after = line.end;
    }
    let free = line_from(text, after).is_none_or(|line| is_blank(&text[line]));
    if free { after } else { end }
}

/// Takes a rule out; returns the rest and what was taken.
///
/// Of the blank lines around it one goes too, so that the rules around it stay as far apart as
/// rules are in this file. [`insert`] adds exactly what this takes.
pub(super) fn cut(text: &str, block: &Block) -> (String, String) {
    let mut taken = String::new();
    let mut pieces = Vec::new();
    for part in &block.0 {
        taken.push_str(&text[part.clone()]);
        pieces.push((with_separator(text, part), ""));
    }
    if !taken.ends_with('\n') {
        taken.push_str(newline(text));
    }
    (replace(text, &pieces), taken)
}

/// A range of lines and the blank line that separates it from its neighbours.
fn with_separator(text: &str, part: &Span) -> Span {
    let newline = newline(text);
    let (before, after) = (line_before(text, part.start), line_from(text, part.end));
    let blank = |line: &Option<Span>| line.clone().is_none_or(|line| is_blank(&text[line]));
    let mut span = part.clone();
    if blank(&before) && blank(&after) {
        let is_empty =
            |line: &Option<Span>| line.clone().is_some_and(|line| &text[line] == newline);
        match (before, after) {
            (Some(line), after) if is_empty(&Some(line.clone())) || after.is_none() => {
                span.start = line.start;
            }
            (_, Some(line)) => span.end = line.end,
            _ => {}
        }
    }
    // A file whose last line does not end goes on not to end.
    if part.end == text.len() && !text.ends_with('\n') && text[..span.start].ends_with(newline) {
        span.start -= newline.len();
    }
    span
}

/// Puts a block of lines before the `index`th of the rules, or, with `after`, directly after the
/// one before that.
pub(super) fn insert(
    text: &str,
    blocks: &[Block],
    block: &str,
    index: usize,
    after: bool,
) -> String {
    let previous = index.checked_sub(1).and_then(|previous| blocks.get(previous));
    match (previous, blocks.get(index)) {
        (Some(previous), Some(_)) if after => insert_after(text, block, previous.end()),
        (_, Some(next)) => insert_before(text, block, next.start()),
        (Some(previous), None) => insert_after(text, block, previous.end()),
        (None, None) => insert_after(text, block, text.trim_end().len()),
    }
}

fn insert_before(text: &str, block: &str, at: usize) -> String {
    let separate = line_before(text, at).is_none_or(|line| is_blank(&text[line]));
    let separator = if separate { newline(text) } else { "" };
    replace(text, &[(at..at, &format!("{block}{separator}"))])
}

fn insert_after(text: &str, block: &str, at: usize) -> String {
    let newline = newline(text);
    let at = if text[..at].ends_with('\n') { at } else { line_end(text, at) };
    let unfinished = !text[..at].is_empty() && !text[..at].ends_with('\n');
    let new = if unfinished {
        format!("{newline}{newline}{}", block.trim_end())
    } else if at > 0 && line_from(text, at).is_none_or(|line| is_blank(&text[line])) {
        format!("{newline}{block}")
    } else {
        block.to_owned()
    };
    replace(text, &[(at..at, &new)])
}
