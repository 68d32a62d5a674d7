//! `[timeouts]` and `[limits]`

use std::time::Duration;

use toml::Spanned;

use crate::config::checked::{Limits, Timeouts};
use crate::config::model::{DurationText, LimitsTable, TimeoutsTable};
use crate::config::report::Report;
use crate::config::{SESSIONS_MAX, SESSIONS_MIN, TIMEOUT_MAX, TIMEOUT_MIN};
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
    let max_sessions = match &table.max_sessions {
        None => default.max_sessions,
        Some(written) => match u32::try_from(*written.get_ref()) {
            Ok(sessions) if (SESSIONS_MIN..=SESSIONS_MAX).contains(&sessions) => sessions,
            _ => {
                let message = format!("`max_sessions` in [limits] cannot be {}", written.get_ref());
                let help = format!("it can be from {SESSIONS_MIN} to {SESSIONS_MAX}");
                report.error(&written.span(), message, help);
                default.max_sessions
            }
        },
    };
    Limits { max_sessions }
}
