//! Tests of the configuration file as a whole: text in, configuration or message out.

mod accepted;
mod behaviour;
mod cooldown;
mod limits;
mod misread;
mod properties;
mod refused;
mod sources;
mod static_routes;
mod unavailable;
mod warned;

use super::{Config, ConfigError};

/// A configuration without a fault. Line 5 is the rule's header.
const GOOD: &str = r#"[interfaces]
inside = ["lan0"]
outside = ["wan0"]

[[rules]]
name = "internet"
from = ["10.0.0.0/8"]
to = ["external"]
action = "snat"
source = { addresses = ["203.0.113.1"] }
"#;

/// The whole format; the module `unavailable` is for what this version takes of it.
fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse_all(text, "nat.toml")
}

fn accept(text: &str) -> Config {
    parse(text).unwrap_or_else(|error| panic!("refused:\n{text}\n{error}"))
}

/// The text must be refused, and each line of `expected` must be in the message, in order.
#[track_caller]
fn refuse(text: &str, expected: &str) {
    let message = match parse(text) {
        Ok(config) => panic!("accepted:\n{text}\n{config:#?}"),
        Err(error) => error.to_string(),
    };
    expect_in_order(&message, expected);
}

#[track_caller]
fn expect_in_order(message: &str, expected: &str) {
    let mut rest = message;
    for fragment in expected.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match rest.split_once(fragment) {
            Some((_, after)) => rest = after,
            None => panic!("missing:\n{fragment}\nin:\n{message}"),
        }
    }
}

/// [`GOOD`] with a line replaced. Several lines may take its place; none removes it.
fn good_with(line: &str, replacement: &str) -> String {
    assert!(GOOD.contains(line), "{line}");
    GOOD.replacen(line, replacement, 1)
}

/// [`GOOD`] with something after it: line 11 and on.
fn good_and(more: &str) -> String {
    format!("{GOOD}{more}\n")
}
