//! Whether netfilter filters forwarded packets.
use std::fs;

use super::snapshot::nftables;
use crate::lint;

/// What XDP would bypass.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Filters {
    #[default]
    None,
    /// Names of chains and tables.
    There(Vec<String>),
    /// There is no `nft` that could tell.
    Unknown,
}

/// Tables of iptables that is not its nft variant; a table is there once somebody has looked at it.
const LEGACY_TABLES: &str = "/proc/net/ip_tables_names";

/// Looks at this thread's network namespace.
pub fn forward_filters() -> Filters {
    let legacy = fs::read_to_string(LEGACY_TABLES).unwrap_or_default();
    let mut names = match nftables() {
        Some(ruleset) => lint::forward_filters(&ruleset),
        None => return Filters::Unknown,
    };
    if legacy.lines().any(|table| table == "filter") {
        names.push("iptables filter".to_owned());
    }
    if names.is_empty() { Filters::None } else { Filters::There(names) }
}
