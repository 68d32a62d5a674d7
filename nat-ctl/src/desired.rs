//! Configuration and host → what the data path should be. Pure.
use std::{collections::BTreeSet, net::Ipv4Addr};

use nat_common::instance::Role;

use crate::{
    compile::{self, External, OutsideInterface, RuleTable, TooManyPrefixes, compile},
    config::Config,
    datapath::Interface,
    hook,
    host::{Link, Network},
    source::TableKey,
    sources::{Remembered, Sources},
};

/// What the data path should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Desired {
    pub table: RuleTable,
    /// The configured interfaces that are there now, outside first.
    pub interfaces: Vec<Interface>,
    /// What will not work, for people.
    pub warnings: Vec<String>,
}

impl Desired {
    /// The tables of choices that the rules refer to.
    pub fn choices(&self) -> BTreeSet<TableKey> {
        self.table.choices().collect()
    }
}

/// What a configuration asks for on this host. The tables of choices that it takes are added to
/// `sources`.
pub fn desired(
    config: &Config,
    network: &Network,
    sources: &mut Sources,
    remembered: &Remembered,
    situation: &hook::Situation,
) -> Result<Desired, TooManyPrefixes> {
    let local = network.links.iter().flat_map(|link| link.ipv4().map(|ip| (link.index, ip)));
    let inside = config.interfaces.inside.iter().filter_map(|name| network.link(name));
    let host = compile::Host {
        outside: outside(config, network),
        inside: inside.map(|link| (link.name.clone(), link.index)).collect(),
        local: local.collect(),
        mtus: network.links.iter().map(|link| (link.index, link.mtu)).collect(),
    };
    let (table, mut warnings) = compile(config, &host)?;
    sources.add(&table.choices().collect(), network, &order(config), remembered);
    let choices = hook::choose(config, network, situation);
    warnings.extend(situation.warning(&choices));
    let sides =
        [(&config.interfaces.outside, Role::Outside), (&config.interfaces.inside, Role::Inside)];
    let mut interfaces = Vec::new();
    for (names, role) in sides {
        for name in names {
            match network.link(name) {
                Some(link) if link.ethernet => {
                    let (index, mac) = (link.index, link.mac);
                    let choice = choices.get(&index).copied().unwrap_or(hook::Choice::TC);
                    let hook::Choice { mode: hook, why, because_of } = choice;
                    let name = name.clone();
                    interfaces.push(Interface { index, name, role, hook, why, because_of, mac });
                }
                Some(_) => warnings.push(format!("`{name}` is not an Ethernet interface")),
                None => warnings.push(format!(
                    "there is no interface `{name}`: it is attached when it appears"
                )),
            }
        }
    }
    Ok(Desired { table, interfaces, warnings })
}

/// Order and flags of addresses, as the host's side wants them.
pub fn order(config: &Config) -> Vec<(String, Vec<(Ipv4Addr, bool)>)> {
    let interfaces = config.addresses.iter().map(|one| {
        let addresses = one.addresses.iter().map(|one| (one.address, one.skip_as_source));
        (one.interface.clone(), addresses.collect())
    });
    interfaces.collect()
}

/// Rules whose model finds no address on a way out, for people. Unlike the rest, this changes with
/// every route.
pub fn lacking(table: &RuleTable, network: &Network, sources: &Sources) -> Vec<String> {
    let mut warnings = Vec::new();
    for rule in &table.rules {
        for (ifindex, external) in &rule.pools {
            let External::Chosen(key) = external else { continue };
            let link: Option<&Link> = network.links.iter().find(|link| link.index == *ifindex);
            if let (Some(lack), Some(link)) = (sources.lack(key), link) {
                warnings.push(format!(
                    "rule `{}` is out of service on `{}`: {lack}; what it covers and leaves there \
                     is dropped",
                    rule.name, link.name
                ));
            }
        }
    }
    warnings
}

fn outside(config: &Config, network: &Network) -> Vec<OutsideInterface> {
    let links = config.interfaces.outside.iter().filter_map(|name| network.link(name));
    let outside = links.map(|link| OutsideInterface {
        index: link.index,
        name: link.name.clone(),
        addresses: link.ipv4().collect(),
    });
    outside.collect()
}
