//! How the demo writes.

use std::{
    env,
    io::{IsTerminal as _, stdout},
};

const BOLD: &str = "1";
pub const GREEN: &str = "32";
pub const RED: &str = "1;31";

pub fn heading(text: &str) {
    println!("\n{}", paint(BOLD, &format!("== {text}")));
}

/// A command that a user would type, and what it printed.
pub fn command(line: &str, output: &str) {
    println!("{}", paint(BOLD, &format!("$ {line}")));
    println!("{}", output.trim_end());
}

/// Colours only for people: <https://no-color.org>.
pub fn paint(colour: &str, text: &str) -> String {
    if stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
