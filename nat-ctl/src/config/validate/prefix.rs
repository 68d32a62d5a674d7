//! IPv4 addresses and prefixes as they are written.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::output::text::excerpt;

/// What is wrong, and what to do about it.
pub(super) struct Problem {
    pub message: String,
    pub help: String,
}

impl Problem {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

/// Whether the text can only be meant as an address or prefix, not as a name.
pub(super) fn looks_like_address(text: &str) -> bool {
    let address = text.split('/').next().unwrap_or_default();
    text.parse::<IpNet>().is_ok()
        || address.parse::<IpAddr>().is_ok()
        || (address.contains('.') && address.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// Reads a prefix; an address alone means that address.
pub(super) fn parse_prefix(text: &str) -> Result<Ipv4Net, Problem> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Ipv4Net::from(address));
    }
    let quoted = excerpt(text);
    match text.parse::<IpNet>() {
        Ok(IpNet::V4(net)) if net == net.trunc() => Ok(net),
        Ok(IpNet::V4(net)) => Err(Problem::new(
            format!("`{quoted}` has bits set behind the prefix length"),
            format!("write \"{}\" or, for the address alone, \"{}\"", net.trunc(), net.addr()),
        )),
        Err(_) if !is_ipv6(text) => Err(Problem::new(
            format!("`{quoted}` is not an IPv4 prefix"),
            "write it like \"10.0.0.0/8\"",
        )),
        _ => Err(ipv6(text)),
    }
}

/// Reads an address that can be the source of translated packets.
pub(super) fn parse_external_address(text: &str) -> Result<Ipv4Addr, Problem> {
    let help = "name a unicast address of the outside interface";
    parse_unicast(text, "an external address", help, "203.0.113.1")
}

/// Reads an address that can be `what`; `help` says what else to name instead.
pub(super) fn parse_unicast(
    text: &str,
    what: &str,
    help: &str,
    example: &str,
) -> Result<Ipv4Addr, Problem> {
    let quoted = excerpt(text);
    let Ok(address) = text.parse::<Ipv4Addr>() else {
        if is_ipv6(text) {
            return Err(ipv6(text));
        }
        let help = match text.parse::<Ipv4Net>() {
            Ok(net) => format!("write the address without the length: \"{}\"", net.addr()),
            Err(_) => format!("write it like \"{example}\""),
        };
        return Err(Problem::new(format!("`{quoted}` is not an IPv4 address"), help));
    };
    match why_not_unicast(address) {
        None => Ok(address),
        Some(why) => Err(Problem::new(format!("{address} cannot be {what}: {why}"), help)),
    }
}

fn why_not_unicast(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("0.0.0.0/8 means \"this network\""),
        [127, ..] => Some("it is a loopback address"),
        [224..=239, ..] => Some("it is a multicast address"),
        [255, 255, 255, 255] => Some("it is the broadcast address"),
        _ => None,
    }
}

fn is_ipv6(text: &str) -> bool {
    matches!(text.parse(), Ok(IpNet::V6(_))) || matches!(text.parse(), Ok(IpAddr::V6(_)))
}

fn ipv6(text: &str) -> Problem {
    Problem::new(
        format!("`{}` is an IPv6 address: IPv6 is not translated", excerpt(text)),
        "remove it; nat-ctl leaves IPv6 to the kernel",
    )
}
