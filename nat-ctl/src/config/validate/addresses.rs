//! `[addresses]`

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use toml::Spanned;

use super::interfaces::check_interface_name;
use super::prefix::parse_unicast;
use crate::config::checked::{ConfiguredAddress, InterfaceAddresses};
use crate::config::document::Span;
use crate::config::model::{Address, AddressTable};
use crate::config::report::Report;
use crate::config::suggest::nearest;
use crate::output::text::excerpt;

type Lists = BTreeMap<Spanned<String>, Spanned<Vec<Spanned<Address>>>>;

/// The interfaces come by name: their order means nothing. With `outside`, others are warned of.
pub(super) fn resolve(
    lists: Lists,
    outside: Option<&[String]>,
    report: &mut Report<'_>,
) -> Vec<InterfaceAddresses> {
    let mut resolved = Vec::new();
    let mut known = BTreeMap::new();
    // In the order of the file, so that of two equal addresses the second one is reported.
    let mut lists: Vec<_> = lists.into_iter().collect();
    lists.sort_by_key(|(name, _)| name.span().start);
    for (name, list) in lists {
        if let Err(problem) = check_interface_name(name.get_ref()) {
            let message = format!("[addresses]: {problem}");
            report.error(&name.span(), message, "`ip -brief link` lists the names");
        }
        if let Some(outside) = outside.filter(|outside| !outside.contains(name.get_ref())) {
            warn_not_outside(&name, outside, report);
        }
        let interface = name.into_inner();
        if list.get_ref().is_empty() {
            let message = format!("`{}` in [addresses] lists no address", excerpt(&interface));
            report.warn(&list.span(), message, "remove the line");
        }
        let mut addresses = Vec::new();
        for element in list.get_ref() {
            let Some(address) = resolve_address(&interface, element, report) else { continue };
            match known.insert(address.address, interface.clone()) {
                None => addresses.push(address),
                Some(other) => report_twice(address.address, &element.span(), &other, report),
            }
        }
        resolved.push(InterfaceAddresses { interface, addresses });
    }
    resolved.sort_by(|a, b| a.interface.cmp(&b.interface));
    resolved
}

fn resolve_address(
    interface: &str,
    element: &Spanned<Address>,
    report: &mut Report<'_>,
) -> Option<ConfiguredAddress> {
    let (text, at, skip_as_source) = match element.get_ref() {
        Address::Alone(text) => (text, element.span(), false),
        Address::Table(AddressTable { address: Some(address), skip_as_source }) => {
            (address.get_ref(), address.span(), *skip_as_source)
        }
        Address::Table(AddressTable { address: None, .. }) => {
            let message =
                format!("an element of `{}` in [addresses] has no `address`", excerpt(interface));
            report.error(&element.span(), message, "add `address = \"203.0.113.1\"`");
            return None;
        }
    };
    let help = "name a unicast address of the interface";
    match parse_unicast(text, "an address of an interface", help, "203.0.113.1") {
        Ok(address) => Some(ConfiguredAddress { address, skip_as_source }),
        Err(problem) => {
            let message = format!("`{}` in [addresses]: {}", excerpt(interface), problem.message);
            report.error(&at, message, problem.help);
            None
        }
    }
}

fn warn_not_outside(name: &Spanned<String>, outside: &[String], report: &mut Report<'_>) {
    let message = format!(
        "[addresses] names `{}`, which is not an outside interface: no rule chooses an address there",
        excerpt(name.get_ref())
    );
    let help = match nearest(name.get_ref(), outside.iter().map(String::as_str)) {
        Some(outside) => format!("did you mean `{}`?", excerpt(outside)),
        None => "name an interface of `outside` in [interfaces], or remove the line".to_owned(),
    };
    report.warn(&name.span(), message, help);
}

fn report_twice(address: Ipv4Addr, at: &Span, other: &str, report: &mut Report<'_>) {
    let message = format!("[addresses] lists {address} twice, first for `{}`", excerpt(other));
    report.error(at, message, "remove one of them: order and flags would be ambiguous");
}
