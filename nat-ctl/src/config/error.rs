//! What is wrong with a configuration, in the shape that compilers have taught everybody:
//!
//! ```text
//! error: unknown key `hok` in [interfaces]
//!   --> nat.toml:4:1
//!   help: did you mean `hook`?
//! ```

use std::fmt;

use crate::output::text::sanitise;

/// Why a configuration was refused: at least one [`Diagnostic`], in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    diagnostics: Vec<Diagnostic>,
    /// How many more there were than are kept.
    omitted: usize,
}

impl ConfigError {
    pub(super) fn new(diagnostics: Vec<Diagnostic>, omitted: usize) -> Self {
        Self { diagnostics, omitted }
    }

    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            diagnostic.fmt(f)?;
        }
        if self.omitted > 0 {
            write!(f, "\n\nerror: {} more errors are not shown", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Something that does not stop the configuration from being used, but is surely not meant.
pub type Warning = Diagnostic;

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// What is wrong, with the key's name.
    pub message: String,
    pub place: Option<Place>,
    /// The key it is about, with those around it: `rules[0].from`, counted from 0.
    pub key: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// A place in a file, for people: lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    /// Absent when the file as a whole is meant.
    pub line_column: Option<(usize, usize)>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", self.message)?;
        if let Some(place) = &self.place {
            write!(f, "\n  --> {place}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&sanitise(&self.file))?;
        match self.line_column {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}
