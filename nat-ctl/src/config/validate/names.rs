//! Names that people give: to rules and networks.

use toml::Spanned;

use crate::config::NAME_BYTES_MAX;
use crate::config::document::Span;
use crate::config::report::Report;
use crate::output::text::{excerpt, sanitise};

/// How messages call the element of a list: by its name, else by its number.
pub(super) fn label(kind: &str, name: Option<&Spanned<String>>, index: usize) -> String {
    match name {
        Some(name) if !name.get_ref().is_empty() => format!("{kind} `{}`", excerpt(name.get_ref())),
        _ => format!("{kind} {}", index + 1),
    }
}

/// Checks the name of the `index`th element of `[[rules]]` or `[[networks]]`, which is at `table`.
pub(super) fn resolve(
    kind: &str,
    name: Option<&Spanned<String>>,
    index: usize,
    table: &Span,
    report: &mut Report<'_>,
) -> Option<String> {
    let Some(name) = name else {
        let message = format!("{kind} {} has no `name`", index + 1);
        report.error(table, message, format!("add `name = \"{kind}-{}\"`", index + 1));
        return None;
    };
    let text = name.get_ref();
    let problem = if text.trim().is_empty() {
        "is empty".to_owned()
    } else if text.len() > NAME_BYTES_MAX {
        format!("has {} bytes, more than {NAME_BYTES_MAX}", text.len())
    } else if sanitise(text) != *text {
        "has characters that cannot be printed".to_owned()
    } else {
        return Some(text.clone());
    };
    let message = format!("the `name` of {kind} {} {problem}", index + 1);
    report.error(&name.span(), message, "choose a short printable name");
    None
}
