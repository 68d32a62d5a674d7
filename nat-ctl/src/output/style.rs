//! Colour, for people only.

use std::io::IsTerminal;

/// The `--color` flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Also in a pipe or file
    Always,
    /// Never
    Never,
}

impl ColorChoice {
    /// Whether to colour what goes to `stream`.
    pub fn resolve(self, stream: &impl IsTerminal) -> bool {
        self.decide(stream.is_terminal(), |name| std::env::var_os(name))
    }

    fn decide(self, terminal: bool, variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                // https://no-color.org: set and not empty.
                let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
                let dumb = variable("TERM").is_some_and(|value| value == "dumb");
                terminal && !refused && !dumb
            }
        }
    }
}

/// What a piece of text means. The colours are chosen here and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Headings of tables.
    Heading,
    Good,
    Warning,
    Bad,
    /// Of lesser interest.
    Dim,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Heading => "1",
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
            Self::Dim => "2",
        }
    }
}

/// Colours text, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    color: bool,
}

impl Style {
    pub fn new(color: bool) -> Self {
        Self { color }
    }

    pub fn paint(self, tone: Tone, text: &str) -> String {
        if self.color && !text.is_empty() {
            format!("\x1b[{}m{text}\x1b[0m", tone.code())
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_is_for_terminals() {
        let none = |_: &str| None;
        assert!(ColorChoice::Auto.decide(true, none));
        assert!(!ColorChoice::Auto.decide(false, none));
        assert!(ColorChoice::Always.decide(false, none));
        assert!(!ColorChoice::Never.decide(true, none));
    }

    #[test]
    fn the_environment_can_refuse() {
        let only = |name: &'static str, value: &'static str| {
            move |wanted: &str| (wanted == name).then(|| value.into())
        };
        assert!(!ColorChoice::Auto.decide(true, only("NO_COLOR", "1")));
        assert!(ColorChoice::Auto.decide(true, only("NO_COLOR", "")));
        assert!(!ColorChoice::Auto.decide(true, only("TERM", "dumb")));
        assert!(ColorChoice::Always.decide(true, only("NO_COLOR", "1")));
    }

    #[test]
    fn painting_is_optional() {
        assert_eq!(Style::new(true).paint(Tone::Bad, "x"), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(Style::new(false).paint(Tone::Bad, "x"), "x");
    }
}
