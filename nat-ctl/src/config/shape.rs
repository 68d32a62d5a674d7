//! Reads the parsed file into the structs of [`model`](super::model), and turns what serde says
//! about keys and types that do not fit into messages for people.
//!
//! The lists of known keys and words in those messages come out of serde's own errors, so that
//! the structs stay the only list.

use serde::Deserialize;
use toml::Spanned;
use toml::de::Deserializer;

use super::document::{Document, Key};
use super::model::File;
use super::report::Report;
use super::suggest::{by_other_name, nearest};
use super::words::alternatives;
use crate::output::text::excerpt;

/// Reads the file. Where something does not fit, the report has errors and the result is what is
/// left without the offending keys.
pub(super) fn read(document: &Document<'_>, report: &mut Report<'_>) -> File {
    let mut tree = document.tree().clone();
    // serde stops at the first error. Take the key out and go on, to find the others as well.
    while !report.is_full() {
        let error = match File::deserialize(Deserializer::from(Spanned::new(0..0, tree.clone()))) {
            Ok(file) => return file,
            Err(error) => error,
        };
        let span = error.span().unwrap_or(0..0);
        let key = document.key_at(&span);
        let (message, help) = explain(error.message(), key.as_ref(), document.text_at(&span));
        report.error(&span, message, help);
        if !key.is_some_and(|key| key.remove_from(&mut tree)) {
            break;
        }
    }
    File::default()
}

/// A message and a help text for what serde said.
fn explain(said: &str, key: Option<&Key>, text: &str) -> (String, String) {
    let container = key.map(Key::container).unwrap_or_default();
    let name = key.map_or("", Key::name);
    if let Some(unknown) = Unknown::parse(said, "unknown field `") {
        return unknown.explain_key(&container);
    }
    if let Some(unknown) = Unknown::parse(said, "unknown variant `") {
        return unknown.explain_word(name, &container);
    }
    if let Some((found, expected)) = said
        .strip_prefix("invalid type: ")
        .or_else(|| said.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "))
    {
        let message = format!(
            "wrong type for `{}`{container}: expected {}, found {}",
            excerpt(name),
            plain_type(expected),
            excerpt(plain_type(found)),
        );
        return (message, help_for_type(found, expected, name, key, text));
    }
    (format!("`{}`{container}: {}", excerpt(name), excerpt(said)), String::new())
}

/// An unknown key or word, and what serde would have taken instead.
struct Unknown<'m> {
    word: &'m str,
    known: Vec<&'m str>,
}

impl<'m> Unknown<'m> {
    /// serde's form is "PREFIXword`, expected one of `a`, `b`" (or "expected `a` or `b`").
    fn parse(said: &'m str, prefix: &str) -> Option<Self> {
        // The last ", expected " is serde's, whatever the unknown word contains.
        let (word, expected) = said.strip_prefix(prefix)?.rsplit_once("`, expected ")?;
        Some(Self { word, known: expected.split('`').skip(1).step_by(2).collect() })
    }

    fn explain_key(&self, container: &str) -> (String, String) {
        let message = format!("unknown key `{}`{container}", excerpt(self.word));
        let key = by_other_name(self.word, &self.known)
            .or_else(|| nearest(self.word, self.known.iter().copied()));
        let help = match key {
            Some(key) => format!("did you mean `{key}`?"),
            None => format!("the keys here are `{}`", self.known.join("`, `")),
        };
        (message, help)
    }

    fn explain_word(&self, key: &str, container: &str) -> (String, String) {
        let message =
            format!("unknown value \"{}\" for `{}`{container}", excerpt(self.word), excerpt(key));
        let help = match nearest(self.word, self.known.iter().copied()) {
            Some(word) => format!("did you mean \"{word}\"?"),
            None => format!("it can be {}", alternatives(&self.known)),
        };
        (message, help)
    }
}

/// serde's words for types in those of TOML.
fn plain_type(serde: &str) -> &str {
    match serde {
        "a sequence" => "a list",
        "sequence" => "a list",
        "map" | "a map" => "a table",
        "a boolean" => "true or false",
        "i64" => "a whole number",
        "a string" => "text in quotes",
        other => other,
    }
}

fn help_for_type(found: &str, expected: &str, name: &str, key: Option<&Key>, text: &str) -> String {
    if expected == "a sequence" {
        if found == "map" && key.is_some_and(Key::is_top_level) {
            return format!("write [[{}]], with two brackets", excerpt(name));
        }
        // `eth0.100 = [ … ]` is a key in a table `eth0`.
        if found == "map" && key.is_some_and(|key| key.container() == " in [addresses]") {
            return format!(
                "quote a name with dots: `\"{}.100\" = [\"203.0.113.1\"]`",
                excerpt(name)
            );
        }
        if found.starts_with("string") {
            return format!("write it in brackets: `{} = [{}]`", excerpt(name), excerpt(text));
        }
    }
    if found == "sequence"
        && plain_type(expected) == "a table"
        && key.is_some_and(Key::is_top_level)
    {
        return format!("write [{}], with one pair of brackets", excerpt(name));
    }
    String::new()
}
