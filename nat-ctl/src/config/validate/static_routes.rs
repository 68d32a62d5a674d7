//! `[[static_routes]]`

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use toml::Spanned;

use super::interfaces::check_interface_name;
use super::prefix::{parse_prefix, parse_unicast};
use crate::config::checked::{Network, StaticRoute};
use crate::config::document::Span;
use crate::config::model::StaticRouteTable;
use crate::config::report::Report;
use crate::output::text::excerpt;

pub(super) fn resolve(
    tables: Vec<Spanned<StaticRouteTable>>,
    networks: &[Network],
    report: &mut Report<'_>,
) -> Vec<StaticRoute> {
    let mut routes = Vec::new();
    let mut known = BTreeSet::new();
    for (table, number) in tables.iter().zip(1..) {
        let label = format!("static route {number}");
        let Some(route) = resolve_route(&label, table.get_ref(), &table.span(), report) else {
            continue;
        };
        if !known.insert((route.to, route.metric)) {
            let message =
                format!("two static routes lead to {} with metric {}", route.to, route.metric);
            let help = "remove one, or give it another `metric`: the lower one is used";
            report.error(&table.span(), message, help);
        }
        warn_of_spoof_filter(&label, &route, &table.span(), networks, report);
        routes.push(route);
    }
    routes
}

/// Who is reached by an interface sends by it too.
fn warn_of_spoof_filter(
    label: &str,
    route: &StaticRoute,
    at: &Span,
    networks: &[Network],
    report: &mut Report<'_>,
) {
    let elsewhere = networks.iter().find(|network| {
        let within = network.prefixes.iter().any(|prefix| prefix.contains(&route.to));
        within && !network.interfaces.is_empty() && !network.interfaces.contains(&route.dev)
    });
    if let Some(network) = elsewhere {
        let (name, dev) = (excerpt(&network.name), &route.dev);
        let message = format!(
            "{label} leads to {} by `{dev}`, but what comes from network `{name}` must arrive by `{}`",
            route.to,
            network.interfaces.join("`, `"),
        );
        let help = format!("add \"{dev}\" to `interfaces` of the network, or name another `dev`");
        report.warn(at, message, help);
    }
}

/// Everything is looked at, also where something is wrong already.
fn resolve_route(
    label: &str,
    table: &StaticRouteTable,
    at: &Span,
    report: &mut Report<'_>,
) -> Option<StaticRoute> {
    let to = resolve_to(label, table.to.as_ref(), at, report);
    let via = resolve_via(label, table.via.as_ref(), report);
    let dev = resolve_dev(label, table.dev.as_ref(), at, report);
    let metric = resolve_metric(label, table.metric.as_ref(), report);
    Some(StaticRoute { to: to?, via: via?, dev: dev?, metric: metric? })
}

fn resolve_to(
    label: &str,
    to: Option<&Spanned<String>>,
    table: &Span,
    report: &mut Report<'_>,
) -> Option<Ipv4Net> {
    let Some(to) = to else {
        let help = "add the destinations, such as `to = \"10.128.0.0/9\"`";
        report.error(table, format!("{label} has no `to`"), help);
        return None;
    };
    match parse_prefix(to.get_ref()) {
        Ok(prefix) => Some(prefix),
        Err(problem) => {
            let help = if to.get_ref() == "default" {
                "write \"0.0.0.0/0\"".to_owned()
            } else {
                problem.help
            };
            report.error(&to.span(), format!("`to` of {label}: {}", problem.message), help);
            None
        }
    }
}

/// None in Some is a route without a router.
fn resolve_via(
    label: &str,
    via: Option<&Spanned<String>>,
    report: &mut Report<'_>,
) -> Option<Option<Ipv4Addr>> {
    let Some(via) = via else { return Some(None) };
    let help = "name the router's address, or remove the line if the destinations are neighbours";
    match parse_unicast(via.get_ref(), "a router", help, "10.0.0.1") {
        Ok(address) => Some(Some(address)),
        Err(problem) => {
            let message = format!("`via` of {label}: {}", problem.message);
            report.error(&via.span(), message, problem.help);
            None
        }
    }
}

fn resolve_dev(
    label: &str,
    dev: Option<&Spanned<String>>,
    table: &Span,
    report: &mut Report<'_>,
) -> Option<String> {
    let Some(dev) = dev else {
        let help = "add the interface, such as `dev = \"lan0\"`";
        report.error(table, format!("{label} has no `dev`"), help);
        return None;
    };
    match check_interface_name(dev.get_ref()) {
        Ok(()) => Some(dev.get_ref().clone()),
        Err(problem) => {
            let message = format!("`dev` of {label}: {problem}");
            report.error(&dev.span(), message, "`ip -brief link` lists the names");
            None
        }
    }
}

fn resolve_metric(
    label: &str,
    metric: Option<&Spanned<i64>>,
    report: &mut Report<'_>,
) -> Option<u32> {
    let Some(metric) = metric else { return Some(StaticRoute::METRIC_DEFAULT) };
    let number = u32::try_from(*metric.get_ref()).ok();
    if number.is_none() {
        let message = format!("`metric` of {label} cannot be {}", metric.get_ref());
        report.error(&metric.span(), message, format!("it can be from 0 to {}", u32::MAX));
    }
    number
}
