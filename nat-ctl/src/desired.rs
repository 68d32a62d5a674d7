//! Configuration and host → what the data path should be. Pure.
use nat_common::instance::{HookMode, Role};

use crate::{
    compile::{self, OutsideInterface, RuleTable, TooManyPrefixes, compile},
    config::{Config, Hook},
    datapath::Interface,
    host::Network,
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

/// What a configuration asks for on this host.
pub fn desired(config: &Config, network: &Network) -> Result<Desired, TooManyPrefixes> {
    let host = compile::Host {
        outside: outside(config, network),
        local: network.links.iter().flat_map(|link| link.addresses.iter().copied()).collect(),
    };
    let (table, mut warnings) = compile(config, &host)?;
    let hook = match config.interfaces.hook {
        Hook::Xdp => HookMode::Xdp,
        // XDP is chosen only by name so far: TC does everything, on every driver.
        Hook::Auto | Hook::Tc => HookMode::Tc,
    };
    let sides =
        [(&config.interfaces.outside, Role::Outside), (&config.interfaces.inside, Role::Inside)];
    let mut interfaces = Vec::new();
    for (names, role) in sides {
        for name in names {
            match network.link(name) {
                Some(link) if link.ethernet => {
                    let (index, mac) = (link.index, link.mac);
                    interfaces.push(Interface { index, name: name.clone(), role, hook, mac });
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

fn outside(config: &Config, network: &Network) -> Vec<OutsideInterface> {
    let links = config.interfaces.outside.iter().filter_map(|name| network.link(name));
    let outside = links.map(|link| OutsideInterface {
        index: link.index,
        name: link.name.clone(),
        addresses: link.addresses.clone(),
    });
    outside.collect()
}
