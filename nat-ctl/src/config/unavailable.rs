//! Refuses, by name, what belongs to the documented format but not to this version: a gateway that
//! ignores a security setting is worse than one that does not start.

use toml::Spanned;

use super::document::Span;
use super::model::File;
use super::report::Report;

/// A key that is refused.
pub(super) struct Key {
    /// `[cooldown]`, `[[rules]]`; empty for a key that is a section itself.
    pub section: &'static str,
    /// The key; of a section its heading.
    pub key: &'static str,
    /// Where the file uses it.
    used: fn(&File) -> Vec<Span>,
}

/// The switch between what is read and what is acted on: every key here is read and checked, too.
/// Without its line it is available; docs/config.md is then to say so.
pub(super) const NOT_YET: &[Key] =
    &[key("", "[listen]", |file| at(&file.listen)), key("", "[log]", |file| at(&file.log))];

const fn key(section: &'static str, key: &'static str, used: fn(&File) -> Vec<Span>) -> Key {
    Key { section, key, used }
}

/// Whether this version acts on a key, such as `mapping` of `[[rules]]`.
pub fn is_available(section: &str, key: &str) -> bool {
    !NOT_YET.iter().any(|not_yet| not_yet.section == section && not_yet.key == key)
}

/// Reports every use of these keys.
pub(super) fn refuse(keys: &[Key], file: &File, report: &mut Report<'_>) {
    for Key { section, key, used } in keys {
        for at in used(file) {
            if section.is_empty() {
                let message = format!("{key} is not available in this version");
                report.error(&at, message, "remove the section");
            } else {
                let message = format!("`{key}` in {section} is not available in this version");
                report.error_at_key(&at, message, "remove the line");
            }
        }
    }
}

fn at<T>(value: &Option<Spanned<T>>) -> Vec<Span> {
    value.iter().map(Spanned::span).collect()
}
