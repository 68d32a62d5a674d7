//! `[timeouts]` and `[limits]`

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;

use crate::config::checked::{Limits, Timeouts};
use crate::config::model::{DurationText, LimitsTable, TimeoutsTable};
use crate::config::report::Report;
use crate::config::{NEW_PER_SECOND_MAX, SESSIONS_MAX, SESSIONS_MIN, TIMEOUT_MAX, TIMEOUT_MIN};
use crate::output::text::excerpt;

pub(super) fn timeouts(table: &TimeoutsTable, report: &mut Report<'_>) -> Timeouts {
    let default = Timeouts::default();
    let mut timeout = |key: &str, text: &Option<Spanned<DurationText>>, default: Duration| {
        let Some(text) = text else { return default };
        parse_timeout(&text.get_ref().0).unwrap_or_else(|(problem, help)| {
            report.error(&text.span(), format!("`{key}` in [timeouts]: {problem}"), help);
            default
        })
    };
    Timeouts {
        tcp_established: timeout(
            "tcp_established",
            &table.tcp_established,
            default.tcp_established,
        ),
        tcp_opening: timeout("tcp_opening", &table.tcp_opening, default.tcp_opening),
        tcp_closing: timeout("tcp_closing", &table.tcp_closing, default.tcp_closing),
        udp: timeout("udp", &table.udp, default.udp),
        udp_dns: timeout("udp_dns", &table.udp_dns, default.udp_dns),
        icmp: timeout("icmp", &table.icmp, default.icmp),
    }
}

fn parse_timeout(text: &str) -> Result<Duration, (String, String)> {
    let timeout = humantime::parse_duration(text).map_err(|error| {
        (
            format!("\"{}\" is not a duration ({error})", excerpt(text)),
            "write a number and a unit, such as \"300s\" or \"2h 4m\"".to_owned(),
        )
    })?;
    if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
        let range = format!(
            "it can be from {} to {}",
            humantime::format_duration(TIMEOUT_MIN),
            humantime::format_duration(TIMEOUT_MAX),
        );
        let direction = if timeout < TIMEOUT_MIN { "short" } else { "long" };
        return Err((format!("\"{}\" is too {direction}", excerpt(text)), range));
    }
    Ok(timeout)
}

pub(super) fn limits(table: &LimitsTable, report: &mut Report<'_>) -> Limits {
    let default = Limits::default();
    let mut limit = |key: &str, written: &Option<Spanned<i64>>, range, default| {
        let unit = if *RangeInclusive::start(&range) == 0 { "; 0 is no limit" } else { "" };
        number(("[limits]", key), written.as_ref(), (range, unit), default, report)
    };
    let limits = Limits {
        max_sessions: limit(
            "max_sessions",
            &table.max_sessions,
            SESSIONS_MIN..=SESSIONS_MAX,
            default.max_sessions,
        ),
        sessions_per_client: limit(
            "sessions_per_client",
            &table.sessions_per_client,
            0..=SESSIONS_MAX,
            default.sessions_per_client,
        ),
        half_open_per_client: limit(
            "half_open_per_client",
            &table.half_open_per_client,
            0..=SESSIONS_MAX,
            default.half_open_per_client,
        ),
        new_per_second_per_client: limit(
            "new_per_second_per_client",
            &table.new_per_second_per_client,
            0..=NEW_PER_SECOND_MAX,
            default.new_per_second_per_client,
        ),
    };
    warn_of_limits(table, &limits, report);
    limits
}

/// Warns about limits that are written and that another one keeps from being reached.
fn warn_of_limits(table: &LimitsTable, limits: &Limits, report: &mut Report<'_>) {
    let Limits { max_sessions, sessions_per_client, half_open_per_client, .. } = *limits;
    for (key, at, value, (wider_key, wider)) in [
        (
            "sessions_per_client",
            &table.sessions_per_client,
            sessions_per_client,
            ("max_sessions", max_sessions),
        ),
        (
            "half_open_per_client",
            &table.half_open_per_client,
            half_open_per_client,
            ("sessions_per_client", sessions_per_client),
        ),
    ] {
        if let Some(at) = at
            && wider != 0
            && value > wider
        {
            let message = format!(
                "`{key}` in [limits] has no effect: `{wider_key}` is {wider}, which is less"
            );
            report.warn(&at.span(), message, "lower it; 0 is no limit");
        }
    }
}

/// A whole number in a range, whose unit may be said for messages.
pub(super) fn number(
    (section, key): (&str, &str),
    written: Option<&Spanned<i64>>,
    (range, unit): (RangeInclusive<u32>, &str),
    default: u32,
    report: &mut Report<'_>,
) -> u32 {
    let Some(written) = written else { return default };
    match u32::try_from(*written.get_ref()) {
        Ok(number) if range.contains(&number) => number,
        _ => {
            let message = format!("`{key}` in {section} cannot be {}", written.get_ref());
            let help = format!("it can be from {} to {}{unit}", range.start(), range.end());
            report.error(&written.span(), message, help);
            default
        }
    }
}
