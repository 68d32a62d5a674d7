//! Turns the file as written into a configuration that holds together, and reports everything
//! that does not: each message names the key and the way out.

mod addresses;
mod behaviour;
mod cooldown;
mod interfaces;
mod names;
mod networks;
mod options;
mod ports;
mod prefix;
mod reach;
mod rules;
mod scalars;
mod sharing;
mod source;
mod static_routes;

pub use interfaces::check_interface_name;

use super::Config;
use super::checked::{Candidates, Defaults};
use super::model::File;
use super::report::Report;

/// Resolves the file. None where the report has errors; only then.
pub(super) fn resolve(file: File, report: &mut Report<'_>) -> Option<Config> {
    let interfaces = interfaces::resolve(file.interfaces, report);
    let source = options::resolve(&file.source);
    let outside = interfaces.as_ref().map(|interfaces| interfaces.outside.as_slice());
    // With candidates of all interfaces, those of others matter too.
    let outside = outside.filter(|_| source.candidates == Candidates::Egress);
    let addresses = addresses::resolve(file.addresses, outside, report);
    let networks = networks::resolve(file.networks, interfaces.as_ref(), report);
    let rules = rules::resolve(file.rules, &networks, report);
    options::warn(&file.source, &rules, report);
    let static_routes = static_routes::resolve(file.static_routes, networks.as_slice(), report);
    let unmatched = file.defaults.unmatched.unwrap_or(Defaults::default().unmatched);
    let timeouts = scalars::timeouts(&file.timeouts, report);
    let limits = scalars::limits(&file.limits, report);
    let cooldown = cooldown::resolve(&file.cooldown, report);
    cooldown::warn(&file.cooldown, &cooldown, &rules, report);
    if report.has_errors() {
        return None;
    }
    Some(Config {
        interfaces: interfaces?,
        rules,
        networks: networks.into_networks(),
        addresses,
        source,
        static_routes,
        defaults: Defaults { unmatched },
        timeouts,
        cooldown,
        limits,
        warnings: Vec::new(),
    })
}
