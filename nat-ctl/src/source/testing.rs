//! Hosts for tests, in a few lines.
use super::{Address, Flag, Flags, Host, Interface, Route};

/// Reads lines of interfaces, `wan0 down: 192.0.2.2/24 deprecated, 192.0.2.3/24`, and of routes,
/// `0.0.0.0/0 via 192.0.2.1 dev wan0 metric 5 src 192.0.2.3 table 1`.
pub fn host(text: &str) -> Host {
    let mut host = Host::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.contains(" dev ") {
            host.routes.push(route(line));
        } else {
            host.interfaces.push(interface(line));
        }
    }
    host
}

fn route(line: &str) -> Route {
    let mut words = line.split(' ');
    let dst = words.next().unwrap().parse().unwrap();
    let words: Vec<&str> = words.collect();
    let value = |key: &str| words.chunks(2).find(|pair| pair[0] == key).map(|pair| pair[1]);
    let ip = |key| value(key).map(|value| value.parse().unwrap());
    let number = |key| value(key).map_or(0, |value| value.parse().unwrap());
    Route {
        dst,
        via: ip("via"),
        dev: value("dev").unwrap().to_owned(),
        metric: number("metric"),
        src: ip("src"),
        table: number("table"),
    }
}

fn interface(line: &str) -> Interface {
    let (name, addresses) = line.split_once(':').unwrap();
    let (name, up) = match name.strip_suffix(" down") {
        Some(name) => (name, false),
        None => (name, true),
    };
    let addresses = addresses.split(", ").map(str::trim).filter(|text| !text.is_empty());
    Interface { name: name.to_owned(), up, addresses: addresses.map(address).collect() }
}

fn address(text: &str) -> Address {
    let mut words = text.split(' ');
    let net: ipnet::IpNet = words.next().unwrap().parse().unwrap();
    let flag = |word| Flag::ALL.into_iter().find(|flag| flag.as_str() == word).unwrap();
    let flags: Flags = words.map(flag).collect();
    Address { ip: net.addr(), prefix_len: net.prefix_len(), flags, advertised_by: None }
}
