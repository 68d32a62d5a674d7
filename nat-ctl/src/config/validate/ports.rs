//! `ports` and `exclude_ports`

use std::ops::RangeInclusive;

use toml::Spanned;

use crate::config::EXCLUDED_MAX;
use crate::config::checked::{Snat, port_text};
use crate::config::model::{List, PortText, PortsText};
use crate::config::report::Report;
use crate::output::text::excerpt;

/// The external ports of the rule called `label`.
pub(super) fn resolve(
    label: &str,
    ports: Option<&Spanned<PortsText>>,
    report: &mut Report<'_>,
) -> RangeInclusive<u16> {
    let Some(ports) = ports else { return Snat::PORTS_DEFAULT };
    match parse_ports(&ports.get_ref().0) {
        Ok(range) => range,
        Err((problem, help)) => {
            let message = format!("`ports` in {label}: {problem}");
            report.error(&ports.span(), message, help);
            Snat::PORTS_DEFAULT
        }
    }
}

/// The external ports that the rule called `label` must not use, of its `ports`.
pub(super) fn resolve_excluded(
    label: &str,
    list: &List<PortText>,
    ports: &RangeInclusive<u16>,
    report: &mut Report<'_>,
) -> Vec<RangeInclusive<u16>> {
    let Some(list) = list else { return Vec::new() };
    let mut excluded = Vec::new();
    for element in list.get_ref() {
        let range = match parse_element(element.get_ref()) {
            Ok(range) => range,
            Err((problem, help)) => {
                let message = format!("`exclude_ports` in {label}: {problem}");
                report.error(&element.span(), message, help);
                continue;
            }
        };
        let (first, last) =
            ((*range.start()).max(*ports.start()), (*range.end()).min(*ports.end()));
        if first > last {
            let message = format!(
                "`exclude_ports` in {label}: {} is not in `ports` ({}) anyway",
                port_text(&range),
                port_text(ports),
            );
            report.warn(&element.span(), message, "remove it");
            continue;
        }
        excluded.push(first..=last);
    }
    let excluded = merged(excluded);
    let count = excluded.len();
    if count > EXCLUDED_MAX {
        let message =
            format!("`exclude_ports` in {label} has {count} ranges apart from each other");
        report.error(&list.span(), message, format!("there can be {EXCLUDED_MAX} at most"));
    }
    if excluded.first() == Some(ports) {
        let message =
            format!("`exclude_ports` in {label} leaves none of the ports {}", port_text(ports));
        report.error(&list.span(), message, "leave one at least");
    }
    excluded
}

fn parse_element(element: &PortText) -> Result<RangeInclusive<u16>, (String, String)> {
    match element {
        PortText::Range(text) => parse_ports(text).map_err(|(problem, help)| {
            let alone = !text.contains('-') && text.trim().parse::<u16>().is_ok();
            (problem, if alone { format!("write {}, without quotes", text.trim()) } else { help })
        }),
        PortText::Port(number) => match u16::try_from(*number) {
            Ok(port) if port > 0 => Ok(port..=port),
            _ => {
                Err((format!("there is no port {number}"), "ports are from 1 to 65535".to_owned()))
            }
        },
    }
}

/// The same ports in rising order, none twice; ranges that touch become one.
fn merged(mut ranges: Vec<RangeInclusive<u16>>) -> Vec<RangeInclusive<u16>> {
    ranges.sort_by_key(|range| *range.start());
    let mut merged: Vec<RangeInclusive<u16>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=(*last.end()).max(*range.end());
            }
            _ => merged.push(range),
        }
    }
    merged
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, (String, String)> {
    let quoted = excerpt(text);
    let fix = "write the first and the last port, such as \"1024-65535\"";
    let port = |text: &str| {
        let digits = text.trim();
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u16>().map_err(|_| digits.to_owned()))
    };
    let (first, last) = match text.split_once('-').map(|(first, last)| (port(first), port(last))) {
        Some((Some(Ok(first)), Some(Ok(last)))) => (first, last),
        Some((Some(Err(big)), Some(_)) | (Some(_), Some(Err(big)))) => {
            return Err((format!("there is no port {}", excerpt(&big)), fix.to_owned()));
        }
        _ => return Err((format!("\"{quoted}\" is not a port range"), fix.to_owned())),
    };
    if first == 0 {
        return Err(("port 0 cannot be used".to_owned(), format!("write \"1-{}\"", last.max(1))));
    }
    if first > last {
        return Err((
            format!("{first} is greater than {last}"),
            format!("write \"{last}-{first}\""),
        ));
    }
    Ok(first..=last)
}
