//! The configuration file: reading, checking, and the types that the rest of the program works
//! with.
//!
//! ```text
//! text ──toml──▶ document (tree with places) ──serde──▶ model (as written)
//!                                                        │ unavailable: refuse by name
//!                                                        ▼ validate
//!                                                      Config (checked)
//! ```
//!
//! Nothing here looks at the host: whether an interface or address exists is a question for the
//! controller, and its answer may change while the configuration is in force.

mod checked;
mod document;
pub mod edit;
mod error;
mod model;
mod report;
mod shape;
mod suggest;
#[cfg(test)]
mod tests;
mod unavailable;
mod validate;
mod words;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use ipnet::Ipv4Net;
use toml::de::DeTable;

pub use checked::{
    Action, Candidates, ConfiguredAddress, Defaults, Hook, InterfaceAddresses, Interfaces, Limits,
    Mss, Network, OnAddressRemoved, Pooling, PrivateScope, Protocol, ProtocolSet, Rule, Selector,
    Snat, Source, SourceModel, SourceOptions, StaticRoute, TieBreak, Timeouts, Unmatched,
};
pub use error::{ConfigError, Diagnostic, Place, Severity, Warning};
pub use suggest::nearest;
pub use validate::check_interface_name;
pub use words::ActionWord;

use document::Document;
use report::Report;

use crate::output::{excerpt, sanitise};

/// Longest name of a rule or network, in bytes.
pub const NAME_BYTES_MAX: usize = 63;
/// Most rules. Classification works with one bit per rule.
pub const RULES_MAX: usize = 1024;
/// Most interfaces, inside and outside together.
pub const INTERFACES_MAX: usize = 256;
/// Most external addresses of one rule.
pub const ADDRESSES_MAX: usize = 64;
/// Fewest sessions that can be asked for.
pub const SESSIONS_MIN: u32 = 16;
/// Most sessions that can be asked for.
pub const SESSIONS_MAX: u32 = 1 << 24;
/// Shortest timeout: a deadline moves at most once a second.
pub const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Longest timeout: longer idle sessions would only fill the table.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// The built-in network of every address that is in no other.
pub const EXTERNAL: &str = "external";
/// The built-in network of the gateway's own addresses.
pub const LOCAL_HOST: &str = "local-host";

/// The name of the rule that [`Config::quick`] makes.
pub const QUICK_RULE: &str = "default";

/// Larger files are not read: something else was meant.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A configuration that holds together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub interfaces: Interfaces,
    /// In order; at most [`RULES_MAX`].
    pub rules: Vec<Rule>,
    pub networks: Vec<Network>,
    /// Ordered by interface; those that the file does not name have the kernel's order.
    pub addresses: Vec<InterfaceAddresses>,
    pub source: SourceOptions,
    pub static_routes: Vec<StaticRoute>,
    pub defaults: Defaults,
    pub timeouts: Timeouts,
    pub limits: Limits,
    /// What is surely not meant, for the log.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Reads a configuration. `file_name` is for messages only.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ConfigError> {
        let tree = match DeTable::parse(text) {
            Ok(tree) => tree.into_inner(),
            Err(error) => return Err(syntax_error(&error, text, file_name)),
        };
        let document = Document::new(file_name, text, tree);
        let mut report = Report::new(Some(&document));
        let file = shape::read(&document, &mut report);
        unavailable::refuse(&file, &mut report);
        // What is missing may only be misspelt: the rest is not judged before the keys are right.
        let config = if report.has_errors() { None } else { validate::resolve(file, &mut report) };
        finish(config, report)
    }

    /// Reads a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&read(path)?, &path.display().to_string())
    }

    /// The configuration of `run --inside IF --outside IF`: one rule that translates everything
    /// from `from` to what `source` says, all else by default. Interfaces and addresses are checked
    /// as those of a file are.
    pub fn quick(
        interfaces: Interfaces,
        from: Vec<Ipv4Net>,
        source: Source,
    ) -> Result<Self, ConfigError> {
        let mut report = Report::new(None);
        let file = model::File::quick(interfaces, &from, &source);
        let config = validate::resolve(file, &mut report);
        finish(config, report)
    }
}

fn finish(config: Option<Config>, report: Report<'_>) -> Result<Config, ConfigError> {
    match config {
        Some(config) => Ok(Config { warnings: report.into_warnings(), ..config }),
        None => Err(report.into_error()),
    }
}

fn syntax_error(error: &toml::de::Error, text: &str, file_name: &str) -> ConfigError {
    let document = Document::new(file_name, text, DeTable::new());
    let mut report = Report::new(Some(&document));
    let at = error.span().unwrap_or(0..0);
    report.error(&at, format!("not valid TOML: {}", sanitise(error.message())), "");
    report.into_error()
}

/// Reads the text of a configuration file.
pub fn read(path: &Path) -> Result<String, ConfigError> {
    read_text(path).map_err(|problem| {
        let mut report = Report::new(None);
        let message = format!("cannot read {}: {problem}", excerpt(&path.display().to_string()));
        report.error_in_file(message, "");
        report.into_error()
    })
}

fn read_text(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20));
    }
    String::from_utf8(bytes)
        .map_err(|error| format!("it is not UTF-8 (byte {})", error.utf8_error().valid_up_to()))
}
