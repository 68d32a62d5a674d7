//! `[cooldown]`

use toml::Spanned;

use super::scalars::number;
use crate::config::checked::{Action, Cooldown, Filtering, Mapping, Protocol, Rule};
use crate::config::model::CooldownTable;
use crate::config::report::Report;
use crate::config::{COOLDOWN_MS_MAX, COOLING_MAX, COOLING_MIN};
use crate::output::text::excerpt;

/// The rest that RFC 6888 REQ-8 asks for where anybody may send to a port.
const OPEN_PORT_MS_MIN: u32 = 120_000;

pub(super) fn resolve(table: &CooldownTable, report: &mut Report<'_>) -> Cooldown {
    let default = Cooldown::default();
    let mut time = |key: &str, written: &Option<Spanned<i64>>, default: u32| {
        let unit = match key {
            "time_ms" => " milliseconds, as CooldownForLocalSourcePortReuseTime of Microsoft TMG",
            _ => " milliseconds",
        };
        let range = 0..=COOLDOWN_MS_MAX;
        number(("[cooldown]", key), written.as_ref(), (range, unit), default, report)
    };
    let (time_ms, rst_ms, half_open_ms, udp_ms) = (
        time("time_ms", &table.time_ms, default.time_ms),
        time("rst_ms", &table.rst_ms, default.rst_ms),
        time("half_open_ms", &table.half_open_ms, default.half_open_ms),
        time("udp_ms", &table.udp_ms, default.udp_ms),
    );
    let max_cooling = number(
        ("[cooldown]", "max_cooling"),
        table.max_cooling.as_ref(),
        (COOLING_MIN..=COOLING_MAX, ""),
        default.max_cooling,
        report,
    );
    fn value<T: Copy>(written: &Option<Spanned<T>>, default: T) -> T {
        written.as_ref().map_or(default, |written| *written.get_ref())
    }
    Cooldown {
        enabled: value(&table.enabled, default.enabled),
        time_ms,
        rst_ms,
        half_open_ms,
        udp_ms,
        scope: value(&table.scope, default.scope),
        max_cooling,
        pressure_reuse: value(&table.pressure_reuse, default.pressure_reuse),
    }
}

/// Warns about ports that anybody may send to and that pass to another client too soon.
pub(super) fn warn(
    table: &CooldownTable,
    cooldown: &Cooldown,
    rules: &[Rule],
    report: &mut Report<'_>,
) {
    let rest_ms = if cooldown.enabled { cooldown.udp_ms } else { 0 };
    let Some(rule) = rules.iter().find(|rule| has_open_ports(rule)) else { return };
    if rest_ms >= OPEN_PORT_MS_MIN {
        return;
    }
    let message = format!(
        "rule `{}` lets anybody send to a client's external port, which another client can have \
         {rest_ms} ms later: RFC 6888 REQ-8 asks for {OPEN_PORT_MS_MIN}",
        excerpt(&rule.name),
    );
    let help = format!(
        "set `udp_ms = {OPEN_PORT_MS_MIN}` in [cooldown], or give the rule `filtering = \
         \"address-dependent\"`"
    );
    let written = match &table.enabled {
        Some(enabled) if !cooldown.enabled => Some(enabled.span()),
        _ => table.udp_ms.as_ref().map(Spanned::span),
    };
    match written {
        Some(at) => report.warn(&at, message, help),
        None => report.warn_in_file(message, help),
    }
}

/// Of UDP; TCP is followed to the end of a connection, which REQ-8 excepts, and nobody is let in by
/// ICMP.
fn has_open_ports(rule: &Rule) -> bool {
    let Action::Snat(snat) = &rule.action else { return false };
    rule.protocols.contains(Protocol::Udp)
        && snat.mapping.udp == Mapping::EndpointIndependent
        && snat.filtering.udp == Filtering::EndpointIndependent
}
