//! Edits of the configuration as text: a rule comes, goes or moves, an address gets or loses its
//! flag, and everything else stays as it is written, byte for byte.
//!
//! The text is spliced instead of printed anew from a tree, because that is the only way to keep
//! what a tree does not hold. toml_edit says where things are written. A comment belongs to the
//! rule that it touches: in it, directly above it, or directly below it. One between blank lines
//! belongs to the file and stays.
//!
//! Whatever an edit makes is read by [`Config::parse`] before anybody sees it: an edit cannot make
//! a configuration that is refused, nor change more than it was asked to.

mod addresses;
mod inline;
mod splice;
mod tables;
#[cfg(test)]
mod tests;
mod written;

use std::num::NonZeroUsize;
use std::ops::Range;

use toml_edit::{Document, Item};

pub use addresses::list as list_addresses;
pub use written::{NewBehaviour, NewRule, NewSource};

use super::{Config, ConfigError, nearest};
use crate::exit::Failure;
use crate::output::excerpt;

/// Where a rule goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    First,
    Last,
    /// Directly before the rule of this name.
    Before(String),
    /// Directly after the rule of this name.
    After(String),
    /// So that it is the rule of this number, counted from 1.
    Position(NonZeroUsize),
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The result would not be a configuration. Places are those of the result.
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("no rule is called `{name}`")]
    NoSuchRule { name: String, nearest: Option<String> },
    #[error("there is no position {position}: the last one is {last}")]
    NoSuchPosition { position: NonZeroUsize, last: usize },
    #[error("the file is written in a way that cannot be edited without risk")]
    TooIntricate,
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        let failure = Self::usage(error.to_string());
        match error {
            EditError::Config(error) => Self::from(error).with_help("nothing was changed"),
            EditError::NoSuchRule { nearest: Some(name), .. } => {
                failure.with_help(format!("did you mean `{name}`?"))
            }
            EditError::NoSuchRule { nearest: None, .. } => {
                failure.with_help("`nat-ctl rules list` shows their names")
            }
            EditError::NoSuchPosition { .. } => failure.with_help("positions count from 1"),
            EditError::TooIntricate => {
                failure.with_help("edit the file by hand, then `nat-ctl check` it")
            }
        }
    }
}

/// Adds a rule. `file_name` is for messages only, here and below.
pub fn add(text: &str, file_name: &str, rule: &NewRule, at: &At) -> Result<String, EditError> {
    let rules = Rules::find(text, file_name)?;
    let mut names = rules.names.clone();
    let index = rules.index(at, rules.names.len())?;
    names.insert(index, Some(rule.name.clone()));
    let edited = rules.layout.add(text, rule, index, after_neighbour(at));
    finish(text, edited, file_name, &names)
}

/// Removes a rule and the comments that belong to it.
pub fn remove(text: &str, file_name: &str, name: &str) -> Result<String, EditError> {
    let rules = Rules::find(text, file_name)?;
    let index = rules.named(name)?;
    let mut names = rules.names.clone();
    names.remove(index);
    let edited = rules.layout.remove(text, index);
    finish(text, edited, file_name, &names)
}

/// Moves a rule and the comments that belong to it.
pub fn move_rule(text: &str, file_name: &str, name: &str, at: &At) -> Result<String, EditError> {
    let rules = Rules::find(text, file_name)?;
    let from = rules.named(name)?;
    let mut names = rules.names.clone();
    let moved = names.remove(from);
    let to = match at {
        At::Before(other) | At::After(other) if other == name => from,
        at => Rules { names: names.clone(), ..rules.clone() }.index(at, names.len())?,
    };
    names.insert(to, moved);
    let edited = if to == from {
        Some(text.to_owned())
    } else {
        rules.layout.move_rule(text, file_name, from, to, after_neighbour(at))
    };
    finish(text, edited, file_name, &names)
}

/// A place is the end of one rule and the start of the next: which of them was meant decides on
/// which side of a comment between them the rule goes.
fn after_neighbour(at: &At) -> bool {
    matches!(at, At::After(_) | At::Last)
}

/// Lets a result out only if it is the configuration that it should be.
fn finish(
    before: &str,
    edited: Option<String>,
    file_name: &str,
    names: &[Option<String>],
) -> Result<String, EditError> {
    let edited = edited.ok_or(EditError::TooIntricate)?;
    let config = Config::parse(&edited, file_name)?;
    let as_wanted =
        config.rules.iter().map(|rule| Some(&rule.name)).eq(names.iter().map(Option::as_ref));
    let others_kept = Config::parse(before, file_name).map_or(true, |before| {
        let rules_kept = before.rules.iter().all(|old| {
            config.rules.iter().find(|new| new.name == old.name).is_none_or(|new| new == old)
        });
        rules_kept && without_rules(before) == without_rules(config)
    });
    if as_wanted && others_kept { Ok(edited) } else { Err(EditError::TooIntricate) }
}

/// All that an edit must not change.
fn without_rules(config: Config) -> Config {
    Config { rules: Vec::new(), warnings: Vec::new(), ..config }
}

/// The rules of a file and where they are written.
#[derive(Debug, Clone)]
struct Rules {
    names: Vec<Option<String>>,
    layout: Layout,
}

/// The two ways of TOML to write a list of tables.
#[derive(Debug, Clone)]
enum Layout {
    /// `[[rules]]`; also a file without any.
    Tables(Vec<tables::Block>),
    /// `rules = [{ … }]`
    Inline(inline::List),
}

impl Rules {
    fn find(text: &str, file_name: &str) -> Result<Self, EditError> {
        let Ok(document) = Document::parse(text) else {
            Config::parse(text, file_name)?;
            return Err(EditError::TooIntricate);
        };
        let (names, layout) = match document.as_table().get("rules") {
            None => (Vec::new(), Layout::Tables(Vec::new())),
            Some(Item::ArrayOfTables(tables)) => {
                let names = tables.iter().map(|table| name_of(table.get("name"))).collect();
                let blocks = tables.iter().map(|table| tables::Block::find(text, table)).collect();
                (names, Layout::Tables(blocks))
            }
            Some(item) => {
                let Some(array) = item.as_array() else {
                    Config::parse(text, file_name)?;
                    return Err(EditError::TooIntricate);
                };
                let name = |value: &toml_edit::Value| {
                    value.as_inline_table()?.get("name")?.as_str().map(str::to_owned)
                };
                let list = inline::List::find(array).ok_or(EditError::TooIntricate)?;
                (array.iter().map(name).collect(), Layout::Inline(list))
            }
        };
        Ok(Self { names, layout })
    }

    fn named(&self, name: &str) -> Result<usize, EditError> {
        self.names.iter().position(|known| known.as_deref() == Some(name)).ok_or_else(|| {
            let known = self.names.iter().flatten().map(String::as_str);
            EditError::NoSuchRule {
                name: excerpt(name),
                nearest: nearest(name, known).map(excerpt),
            }
        })
    }

    /// The index that `at` means for a rule that comes to these `count` ones.
    fn index(&self, at: &At, count: usize) -> Result<usize, EditError> {
        match at {
            At::First => Ok(0),
            At::Last => Ok(count),
            At::Before(name) => self.named(name),
            At::After(name) => self.named(name).map(|index| index + 1),
            At::Position(position) if position.get() - 1 <= count => Ok(position.get() - 1),
            At::Position(position) => {
                Err(EditError::NoSuchPosition { position: *position, last: count + 1 })
            }
        }
    }
}

impl Layout {
    fn add(&self, text: &str, rule: &NewRule, index: usize, after: bool) -> Option<String> {
        match self {
            Self::Tables(blocks) => {
                let block = rule.as_table(splice::newline(text));
                Some(tables::insert(text, blocks, &block, index, after))
            }
            Self::Inline(list) => list.insert(text, &inline::Piece::new(rule.as_inline()), index),
        }
    }

    fn remove(&self, text: &str, index: usize) -> Option<String> {
        match self {
            Self::Tables(blocks) => Some(tables::cut(text, blocks.get(index)?).0),
            Self::Inline(list) => Some(list.cut(text, index)?.0),
        }
    }

    fn move_rule(
        &self,
        text: &str,
        file_name: &str,
        from: usize,
        to: usize,
        after: bool,
    ) -> Option<String> {
        match self {
            Self::Tables(blocks) => {
                let (rest, block) = tables::cut(text, blocks.get(from)?);
                match Rules::find(&rest, file_name).ok()?.layout {
                    Self::Tables(blocks) => Some(tables::insert(&rest, &blocks, &block, to, after)),
                    Self::Inline(_) => None,
                }
            }
            Self::Inline(list) => {
                let (rest, piece) = list.cut(text, from)?;
                match Rules::find(&rest, file_name).ok()?.layout {
                    Self::Inline(list) => list.insert(&rest, &piece, to),
                    Self::Tables(_) => None,
                }
            }
        }
    }
}

fn name_of(item: Option<&Item>) -> Option<String> {
    item?.as_str().map(str::to_owned)
}

/// Bytes of the text.
type Span = Range<usize>;
