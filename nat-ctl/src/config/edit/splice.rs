//! Lines and pieces of text.

use super::Span;

/// How the file ends its lines.
pub(super) fn newline(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// The start of the line that a byte is on.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// The end of the line that a byte is on, its newline included.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |newline| at + newline + 1)
}

/// The line before the one that starts here.
pub(super) fn line_before(text: &str, start: usize) -> Option<Span> {
    (start > 0).then(|| line_start(text, start - 1)..start)
}

/// The line that starts here.
pub(super) fn line_from(text: &str, start: usize) -> Option<Span> {
    (start < text.len()).then(|| start..line_end(text, start))
}

pub(super) fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

pub(super) fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

/// The start of the comment lines directly above the line that starts here, none of them from
/// before `bound`.
pub(super) fn comments_above(text: &str, start: usize, bound: usize) -> usize {
    let mut start = start;
    while let Some(line) = line_before(text, start)
        && line.start >= bound
        && is_comment(&text[line.clone()])
    {
        start = line.start;
    }
    start
}

/// The text with pieces replaced. They must not overlap and be in order.
pub(super) fn replace(text: &str, pieces: &[(Span, &str)]) -> String {
    let mut edited = String::with_capacity(text.len() + 256);
    let mut at = 0;
    for (span, replacement) in pieces {
        edited.push_str(&text[at..span.start]);
        edited.push_str(replacement);
        at = span.end;
    }
    edited.push_str(&text[at..]);
    edited
}
