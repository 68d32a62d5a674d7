//! External addresses: in which order they are asked, what is special about them, who uses them.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use ipnet::Ipv4Net;
use serde::Serialize;

use crate::{
    config::{Config, ConfiguredAddress},
    datapath::{PoolState, State},
    desired::order,
    exit::Failure,
    host::Network,
    output::{Out, Style, Table, Tone, sanitise},
    source::{self, Flag, Flags},
};

/// `address list -j`
#[derive(Serialize)]
pub struct List {
    schema: &'static str,
    version: &'static str,
    interfaces: Vec<InterfaceView>,
    warnings: Vec<String>,
}

/// An outside interface.
#[derive(Serialize)]
struct InterfaceView {
    name: String,
    addresses: Vec<AddressView>,
}

#[derive(Serialize)]
struct AddressView {
    address: Ipv4Addr,
    /// Length of the subnet's prefix in bits; None where the host was not asked, or has it not.
    prefix: Option<u8>,
    /// The place from 1 at which models ask it; None as for `prefix`.
    order: Option<usize>,
    /// Whether `[addresses]` has it.
    listed: bool,
    skip_as_source: bool,
    flags: Flags,
    /// Whether it is on the interface; None where the host was not asked.
    present: Option<bool>,
    /// Those that use it, in their order.
    rules: Vec<String>,
    /// Live ones.
    sessions: usize,
}

/// The external addresses of the configuration in force, and what the data path does with them.
/// Without `network` only what the maps know.
pub fn list(state: &impl State, network: Option<&Network>, now_ns: u64) -> Result<List, Failure> {
    let mut list = List {
        schema: "nat-ctl/address/1",
        version: env!("CARGO_PKG_VERSION"),
        interfaces: Vec::new(),
        warnings: Vec::new(),
    };
    let Some(written) = state.config()? else {
        list.warnings.push("no configuration is in force".to_owned());
        return Ok(list);
    };
    if network.is_none() {
        list.warnings.push(
            "the instance belongs to another network namespace: its addresses are not known here, \
             name it with --netns"
                .to_owned(),
        );
    }
    let config = Config::parse(&written.text, &written.name)?;
    let uses = Uses::read(state, &config, now_ns)?;
    let host = network.map(|network| network.to_interfaces(&order(&config)));
    for name in &config.interfaces.outside {
        let interface = host.as_ref().map(|host| host.iter().find(|one| one.name == *name));
        if interface == Some(None) {
            list.warnings.push(format!("there is no interface `{name}` now"));
        }
        let addresses = addresses(name, &config, interface, &uses);
        list.interfaces.push(InterfaceView { name: name.clone(), addresses });
    }
    if network.is_some() {
        list.warnings.extend(uses.left_over(&list.interfaces));
    }
    Ok(list)
}

/// What the data path does with addresses.
struct Uses {
    /// Rules that translate to an address on an interface, in their order.
    rules: BTreeMap<(String, Ipv4Addr), Vec<String>>,
    /// Live sessions by external address.
    sessions: BTreeMap<Ipv4Addr, usize>,
}

impl Uses {
    fn read(state: &impl State, config: &Config, now_ns: u64) -> Result<Self, Failure> {
        let (pools, known, interfaces) = (state.pools()?, state.rules()?, state.interfaces()?);
        let mut rules: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for rule in &config.rules {
            let Some(known) = known.iter().find(|known| known.name == rule.name) else { continue };
            for pool in pools.iter().filter(|pool| pool.rule == known.id) {
                let interface = interfaces.iter().find(|one| one.index == pool.ifindex);
                let Some(interface) = interface else { continue };
                for address in used(pool) {
                    let users = rules.entry((interface.name.clone(), address)).or_default();
                    users.push(rule.name.clone());
                }
            }
        }
        let mut sessions = BTreeMap::new();
        for pair in state.sessions()?.iter().filter(|pair| pair.deadline_ns() > now_ns) {
            *sessions.entry(pair.outbound.address.into()).or_default() += 1;
        }
        Ok(Self { rules, sessions })
    }

    /// Addresses that rules use on an interface.
    fn on(&self, interface: &str) -> impl Iterator<Item = Ipv4Addr> {
        self.rules.keys().filter(move |(name, _)| name == interface).map(|(_, address)| *address)
    }

    /// Sessions of addresses that no interface has any more, for people.
    fn left_over(&self, interfaces: &[InterfaceView]) -> Vec<String> {
        let shown = interfaces.iter().flat_map(|interface| &interface.addresses);
        let shown: BTreeSet<_> = shown.map(|one| one.address).collect();
        let left = self.sessions.iter().filter(|(address, _)| !shown.contains(address));
        left.map(|(address, sessions)| {
            format!(
                "no outside interface has {address}, the external address of {sessions} live \
                 session{}",
                if *sessions == 1 { "" } else { "s" }
            )
        })
        .collect()
    }
}

/// The addresses of a pool that are for anybody: every address is chosen for itself as destination,
/// where no packet leaves.
fn used(pool: &PoolState) -> BTreeSet<Ipv4Addr> {
    let Some(choices) = &pool.choices else { return pool.addresses.iter().copied().collect() };
    let chosen = choices.iter().filter_map(|(prefix, choice)| {
        let address = Ipv4Addr::from(choice.address().ok()?);
        (*prefix != Ipv4Net::from(address)).then_some(address)
    });
    chosen.collect()
}

/// The addresses of an outside interface: those that it has, in the order that decides, and between
/// them those that are only listed; then those that are only used. `interface` is None where the
/// host was not asked.
fn addresses(
    name: &str,
    config: &Config,
    interface: Option<Option<&source::Interface>>,
    uses: &Uses,
) -> Vec<AddressView> {
    let list = config.addresses.iter().find(|list| list.interface == name);
    let list: &[ConfiguredAddress] = list.map_or(&[], |list| &list.addresses);
    let place = |ip: Ipv4Addr| list.iter().position(|one| one.address == ip);
    let view = |address: Ipv4Addr, prefix, flags: Flags| AddressView {
        address,
        prefix,
        order: None,
        listed: place(address).is_some(),
        skip_as_source: flags.contains(Flag::SkipAsSource),
        flags,
        present: interface.map(|_| prefix.is_some()),
        rules: uses.rules.get(&(name.to_owned(), address)).cloned().unwrap_or_default(),
        sessions: uses.sessions.get(&address).copied().unwrap_or_default(),
    };
    let mut views = Vec::new();
    for one in interface.flatten().map(|one| one.addresses.as_slice()).unwrap_or_default() {
        if let IpAddr::V4(ip) = one.ip {
            views.push(view(ip, Some(one.prefix_len), one.flags));
        }
    }
    for one in list {
        if !views.iter().any(|view| view.address == one.address) {
            let flag = one.skip_as_source.then_some(Flag::SkipAsSource);
            views.push(view(one.address, None, flag.into_iter().collect()));
        }
    }
    // Stable: the unlisted ones stay in the kernel's order.
    views.sort_by_key(|view| place(view.address).unwrap_or(list.len()));
    for address in uses.on(name) {
        if !views.iter().any(|view| view.address == address) {
            views.push(view(address, None, Flags::default()));
        }
    }
    let present = views.iter_mut().filter(|view| view.present == Some(true));
    present.zip(1..).for_each(|(view, order)| view.order = Some(order));
    views
}

/// Prints the list; warnings go to standard error, unless they are part of the JSON.
pub fn print(list: &List, out: Out) -> Result<(), Failure> {
    for warning in list.warnings.iter().filter(|_| !out.json) {
        eprintln!("warning: {}", sanitise(warning));
    }
    out.answer(list, text)
}

fn text(list: &List, style: Style) -> String {
    let headings = ["INTERFACE", "#", "ADDRESS", "FLAGS", "SOURCE FOR", "SESSIONS"];
    let mut table = Table::new(&headings).right(&[1, 5]);
    for interface in &list.interfaces {
        if interface.addresses.is_empty() {
            table.row_in(Tone::Dim, [interface.name.as_str(), "-", "-", "-", "-", "-"]);
        }
        for one in &interface.addresses {
            let cells = [
                interface.name.clone(),
                one.order.map_or_else(|| "-".to_owned(), |order| order.to_string()),
                match one.prefix {
                    Some(prefix) => format!("{}/{prefix}", one.address),
                    None => one.address.to_string(),
                },
                flags(one),
                if one.rules.is_empty() { "-".to_owned() } else { one.rules.join(" ") },
                one.sessions.to_string(),
            ];
            match one.present {
                Some(false) => table.row_in(Tone::Dim, cells),
                _ => table.row(cells),
            }
        }
    }
    table.render(style)
}

fn flags(one: &AddressView) -> String {
    let mut words: Vec<&str> = one.flags.iter().map(Flag::as_str).collect();
    if one.present == Some(false) {
        words.push("not on the interface");
    }
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests;
