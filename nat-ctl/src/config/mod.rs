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
    Action, Candidates, ConfiguredAddress, Cooldown, CooldownScope, Defaults, Filtering, Hook,
    InterfaceAddresses, Interfaces, Limits, Mapping, Mss, Network, OnAddressRemoved, PerProtocol,
    Pooling, PrivateScope, Protocol, ProtocolSet, Rule, Selector, Snat, Source, SourceModel,
    SourceOptions, StaticRoute, TieBreak, Timeouts, Unmatched, port_text,
};
pub use error::{ConfigError, Diagnostic, Place, Severity, Warning};
pub use suggest::nearest;
pub use unavailable::is_available;
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
/// Most ranges of `exclude_ports` of one rule, after those that touch have become one: a port is
/// drawn by counting through all of them.
pub const EXCLUDED_MAX: usize = 15;
/// Smallest segment size that can be asked for: the one that every IPv4 host takes (RFC 9293
/// section 3.7.1). Tiny segments cost more than they carry, up to a denial of service
/// (CVE-2019-11479).
pub const MSS_MIN: u16 = 536;
/// Largest: what an IPv4 packet of 65,535 bytes has room for behind its two headers.
pub const MSS_MAX: u16 = 65_495;
/// Fewest cooling tuples that can be asked for.
pub const COOLING_MIN: u32 = 1;
/// Most cooling tuples that can be asked for.
pub const COOLING_MAX: u32 = SESSIONS_MAX;
/// Longest cooldown: that of Microsoft TMG, 27.8 hours.
pub const COOLDOWN_MS_MAX: u32 = 100_000_000;
/// Most new sessions in a second that a client can be allowed.
pub const NEW_PER_SECOND_MAX: u32 = 1_000_000;
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
    pub cooldown: Cooldown,
    pub limits: Limits,
    /// What is surely not meant, for the log.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Reads a configuration. `file_name` is for messages only.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ConfigError> {
        Self::parse_without(unavailable::NOT_YET, text, file_name)
    }

    /// Reads a configuration that may have every key of the format.
    #[cfg(test)]
    pub(crate) fn parse_all(text: &str, file_name: &str) -> Result<Self, ConfigError> {
        Self::parse_without(&[], text, file_name)
    }

    /// Reads a configuration that may not have these keys.
    fn parse_without(
        not_yet: &[unavailable::Key],
        text: &str,
        file_name: &str,
    ) -> Result<Self, ConfigError> {
        let tree = match DeTable::parse(text) {
            Ok(tree) => tree.into_inner(),
            Err(error) => return Err(syntax_error(&error, text, file_name)),
        };
        let document = Document::new(file_name, text, tree);
        let mut report = Report::new(Some(&document));
        let file = shape::read(&document, &mut report);
        unavailable::refuse(not_yet, &file, &mut report);
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
