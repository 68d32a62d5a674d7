//! Turns the file as written into a configuration that holds together, and reports everything
//! that does not: each message names the key and the way out.

mod interfaces;
mod names;
mod networks;
mod prefix;
mod reach;
mod rules;
mod scalars;
mod source;

pub use interfaces::check_interface_name;

use super::Config;
use super::checked::Defaults;
use super::model::File;
use super::report::Report;

/// Resolves the file. None where the report has errors; only then.
pub(super) fn resolve(file: File, report: &mut Report<'_>) -> Option<Config> {
    let interfaces = interfaces::resolve(file.interfaces, report);
    let networks = networks::resolve(file.networks, report);
    let rules = rules::resolve(file.rules, &networks, report);
    let unmatched = file.defaults.unmatched.unwrap_or(Defaults::default().unmatched);
    let timeouts = scalars::timeouts(&file.timeouts, report);
    let limits = scalars::limits(&file.limits, report);
    if report.has_errors() {
        return None;
    }
    Some(Config {
        interfaces: interfaces?,
        rules,
        networks: networks.into_networks(),
        defaults: Defaults { unmatched },
        timeouts,
        limits,
        warnings: Vec::new(),
    })
}
