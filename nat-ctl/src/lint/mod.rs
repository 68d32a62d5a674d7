//! What is probably not meant, or will not work, where a configuration meets this host. Pure: each
//! lint is a function of the configuration and a snapshot.
//!
//! Nothing here is an error. A configuration loads whatever the host is like; what the host lacks
//! puts one rule out of service.

mod addresses;
mod interfaces;
mod netfilter;
mod networks;
mod ports;
mod routing;
#[cfg(test)]
mod sample;
mod sources;
mod static_routes;
mod ties;

pub(crate) use self::netfilter::forward_filters;
use crate::config::Config;
use crate::host::Snapshot;

/// How much something matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something will not work as the configuration says.
    Warning,
    /// Worth knowing; right for many.
    Note,
}

/// What a lint has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// What is found, and what follows from it.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl Finding {
    fn warning(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, what: what.into(), fix: fix.into() }
    }

    fn note(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Note, what: what.into(), fix: fix.into() }
    }
}

type Lint = fn(&Config, &Snapshot) -> Vec<Finding>;

/// Every lint, in the order in which a person would look.
const LINTS: [Lint; 19] = [
    interfaces::missing,
    interfaces::not_ethernet,
    interfaces::down,
    interfaces::xdp_on_software,
    addresses::not_outside,
    addresses::not_on_every_egress,
    sources::kept_back,
    sources::unsettled_sources,
    sources::listed_elsewhere,
    addresses::own_packets,
    routing::forwarding,
    routing::default_gateways,
    routing::shared_subnets,
    static_routes::useless,
    networks::reached_elsewhere,
    routing::reverse_path_filter,
    netfilter::double_translation,
    netfilter::bypassed_forward_rules,
    ports::ephemeral_overlap,
];

/// Everything worth saying, warnings first.
pub fn all(config: &Config, host: &Snapshot) -> Vec<Finding> {
    let mut findings: Vec<Finding> = LINTS.iter().flat_map(|lint| lint(config, host)).collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// `a`, `b` and `c`
fn listed<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    let quoted: Vec<String> = names
        .into_iter()
        .map(|name| format!("`{}`", crate::output::excerpt(name.as_ref())))
        .collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Names of all interfaces of the configuration.
fn configured(config: &Config) -> impl Iterator<Item = &str> {
    let interfaces = &config.interfaces;
    interfaces.outside.iter().chain(&interfaces.inside).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::sample;
    use super::*;

    #[test]
    fn a_proper_gateway_has_nothing_but_notes() {
        let findings = all(&sample::config(), &sample::host());
        assert!(findings.iter().all(|finding| finding.severity == Severity::Note), "{findings:#?}");
        assert_eq!(findings.len(), 1, "{findings:#?}");
    }

    /// Nothing panics, and the missing interfaces are said.
    #[test]
    fn an_empty_host() {
        let findings = all(&sample::config(), &Snapshot::default());
        assert!(findings.iter().any(|finding| finding.what.contains("no interface `wan0`")));
    }
}
