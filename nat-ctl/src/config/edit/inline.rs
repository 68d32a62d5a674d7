//! Rules written as `rules = [{ … }]`, on one line or on several.

use toml_edit::Array;

use super::Span;
use super::splice::{comments_above, is_blank, is_comment, line_end, line_start, newline, replace};

/// Where a list and its elements are written.
#[derive(Debug, Clone)]
pub(super) struct List {
    /// With the brackets.
    span: Span,
    elements: Vec<Span>,
}

/// An element with its comments.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Whole lines of comments.
    above: String,
    body: String,
    /// The comment on its line, with the space before it.
    tail: String,
}

impl Piece {
    pub fn new(body: String) -> Self {
        Self { above: String::new(), body, tail: String::new() }
    }

    /// As lines of their own.
    fn lines(&self, indent: &str, comma: &str, newline: &str) -> String {
        format!("{}{indent}{}{comma}{}{newline}", self.above, self.body, self.tail)
    }
}

impl List {
    pub fn find(array: &Array) -> Option<Self> {
        let elements: Option<Vec<Span>> = array.iter().map(|value| value.span()).collect();
        Some(Self { span: array.span()?, elements: elements? })
    }

    /// The comma after an element.
    fn comma(&self, text: &str, index: usize) -> Option<usize> {
        let start = self.elements.get(index)?.end;
        let end = self.elements.get(index + 1).map_or(self.span.end - 1, |next| next.start);
        let mut in_comment = false;
        for (at, byte) in text.as_bytes().iter().enumerate().take(end).skip(start) {
            match byte {
                b'\n' => in_comment = false,
                b'#' => in_comment = true,
                b',' if !in_comment => return Some(at),
                _ => {}
            }
        }
        None
    }

    /// Takes an element out; returns the rest and what was taken.
    pub fn cut(&self, text: &str, index: usize) -> Option<(String, Piece)> {
        let element = self.elements.get(index)?.clone();
        let start = line_start(text, element.start);
        let own_line = is_blank(&text[start..element.start]);
        let comma = self.comma(text, index);
        let previous_comma = index.checked_sub(1).and_then(|index| self.comma(text, index));
        let end = comma.map_or(element.end, |comma| comma + 1);
        let rest_end = line_end(text, end);
        let rest = &text[end..rest_end];
        let body = text[element.clone()].to_owned();

        if own_line && (is_blank(rest) || is_comment(rest)) {
            let bound = match index.checked_sub(1) {
                Some(previous) => self.elements.get(previous)?.end,
                None => self.span.start + 1,
            };
            let above = comments_above(text, start, bound);
            let piece = Piece {
                above: text[above..start].to_owned(),
                body,
                tail: rest.trim_end().to_owned(),
            };
            let lines = (above..rest_end, "");
            // The last one without a comma leaves the one before it without a comma.
            let pieces = match previous_comma.filter(|_| comma.is_none()) {
                Some(comma) => vec![(comma..comma + 1, ""), lines],
                None => vec![lines],
            };
            return Some((replace(text, &pieces), piece));
        }
        let spaces = |text: &str| text.len() - text.trim_start_matches([' ', '\t']).len();
        let pieces = match (comma, previous_comma) {
            (Some(_), _) if is_blank(rest) || rest.trim_start().starts_with([']', '#']) => {
                let space = previous_comma.map_or(element.start, |comma| comma + 1);
                let start =
                    if is_blank(&text[space..element.start]) { space } else { element.start };
                vec![(start..end, "")]
            }
            (Some(_), _) => vec![(element.start..end + spaces(rest), "")],
            (None, Some(before)) if is_blank(&text[before + 1..element.start]) => {
                vec![(before..element.end, "")]
            }
            (None, Some(before)) => vec![(before..before + 1, ""), (element, "")],
            (None, None) => vec![(element, "")],
        };
        Some((replace(text, &pieces), Piece::new(body)))
    }

    /// Puts a piece before the `index`th element or, behind the last one, at the end.
    pub fn insert(&self, text: &str, piece: &Piece, index: usize) -> Option<String> {
        let newline = newline(text);
        let body = &piece.body;
        if let Some(next) = self.elements.get(index) {
            let start = line_start(text, next.start);
            let indent = &text[start..next.start];
            if !is_blank(indent) {
                let new = format!("{body}, ");
                return piece.bare().then(|| replace(text, &[(next.start..next.start, &new)]));
            }
            let bound = match index.checked_sub(1) {
                Some(previous) => self.elements.get(previous)?.end,
                None => self.span.start + 1,
            };
            let at = comments_above(text, start, bound);
            return Some(replace(text, &[(at..at, &piece.lines(indent, ",", newline))]));
        }
        let Some(last) = self.elements.last() else {
            let at = self.span.start + 1;
            return Some(replace(text, &[(at..at, body)]));
        };
        let comma = self.comma(text, index.checked_sub(1)?);
        let end = comma.map_or(last.end, |comma| comma + 1);
        let start = line_start(text, last.start);
        let indent = &text[start..last.start];
        let rest_end = line_end(text, end);
        let rest = &text[end..rest_end];
        let (ending, joint) = if comma.is_some() { (",", "") } else { ("", ",") };
        if is_blank(indent) && (is_blank(rest) || is_comment(rest)) {
            let lines = piece.lines(indent, ending, newline);
            return Some(replace(
                text,
                &[(last.end..last.end, joint), (rest_end..rest_end, &lines)],
            ));
        }
        let gap = if is_blank(indent) { format!("{newline}{indent}") } else { " ".to_owned() };
        let new = format!("{joint}{gap}{body}{ending}");
        piece.bare().then(|| replace(text, &[(end..end, &new)]))
    }
}

impl Piece {
    /// Whether it is without comments, which can only be put on lines of their own.
    fn bare(&self) -> bool {
        self.above.is_empty() && self.tail.is_empty()
    }
}
