//! The flag of an address, in the configuration file.
use std::net::{IpAddr, Ipv4Addr};

use super::{
    edit_file::{attached, edit_file},
    is_here, network,
};
use crate::{
    cli::{AddressSetArgs, Global},
    config::{
        Candidates, Config, ConfiguredAddress, InterfaceAddresses,
        edit::{self, EditError},
    },
    desired::order,
    exit::Failure,
    host::Network,
    output::{Out, excerpt},
    plan::Plan,
    source::Interface,
};

/// What is to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wanted {
    /// None if everything stays.
    list: Option<InterfaceAddresses>,
    /// What is not said by the difference.
    note: Option<String>,
}

/// Sets or clears the flag of an address.
pub fn run(global: &Global, args: &AddressSetArgs, out: Out) -> Result<(), Failure> {
    let mut note = None;
    let change = |text: &str, file: &str| {
        let config = Config::parse(text, file).map_err(EditError::from)?;
        let wanted = match listed(&config, args.address, args.skip_as_source) {
            Some(wanted) => wanted,
            None => unlisted(&config, &here(global)?, args.address, args.skip_as_source)?,
        };
        note = wanted.note;
        match wanted.list {
            Some(list) => Ok(edit::list_addresses(text, file, &list)?),
            None => Ok(text.to_owned()),
        }
    };
    edit_file(global, &args.file, out, change, Plan::between)?;
    if let Some(note) = note {
        eprintln!("note: {note}");
    }
    Ok(())
}

/// An address that `[addresses]` has; None if it has it not.
fn listed(config: &Config, address: Ipv4Addr, skip: bool) -> Option<Wanted> {
    let has = |list: &&InterfaceAddresses| list.addresses.iter().any(|one| one.address == address);
    let mut list = config.addresses.iter().find(has)?.clone();
    let one = list.addresses.iter_mut().find(|one| one.address == address)?;
    if one.skip_as_source == skip {
        return Some(unchanged(address, skip));
    }
    one.skip_as_source = skip;
    Some(Wanted { list: Some(list), note: None })
}

/// An address that only the host has. Listing it alone would put it before all others: these are
/// listed with it.
fn unlisted(
    config: &Config,
    network: &Network,
    address: Ipv4Addr,
    skip: bool,
) -> Result<Wanted, Failure> {
    let interfaces = network.to_interfaces(&order(config));
    let interface = owner(config, &interfaces, address)?;
    if !skip {
        return Ok(unchanged(address, skip));
    }
    let name = &interface.name;
    let list = config.addresses.iter().find(|list| list.interface == *name);
    let mut addresses = list.map(|list| list.addresses.clone()).unwrap_or_default();
    for ip in ipv4(interface) {
        if !addresses.iter().any(|one| one.address == ip) {
            addresses.push(ConfiguredAddress { address: ip, skip_as_source: ip == address });
        }
    }
    let note = format!(
        "`{}` now has all its addresses listed in [addresses], in the order that they had: one \
         alone would have become the first",
        excerpt(name)
    );
    let note = (addresses.len() > 1).then_some(note);
    let list = InterfaceAddresses { interface: name.clone(), addresses };
    Ok(Wanted { list: Some(list), note })
}

fn unchanged(address: Ipv4Addr, skip: bool) -> Wanted {
    let note = format!("`skip_as_source` of {address} is {skip} already");
    Wanted { list: None, note: Some(note) }
}

/// The interface on which a rule could choose an address.
fn owner<'h>(
    config: &Config,
    interfaces: &'h [Interface],
    address: Ipv4Addr,
) -> Result<&'h Interface, Failure> {
    let owners = interfaces.iter().filter(|one| ipv4(one).any(|ip| ip == address));
    let owners: Vec<&Interface> = owners.collect();
    let outside = &config.interfaces.outside;
    let eligible = |one: &&Interface| {
        outside.contains(&one.name) || config.source.candidates == Candidates::All
    };
    // The same address may also be inside.
    let best = owners.iter().copied().filter(eligible);
    if let Some(owner) = best.min_by_key(|one| !outside.contains(&one.name)) {
        return Ok(owner);
    }
    Err(match owners.first() {
        Some(owner) => Failure::usage(format!(
            "{address} is on `{}`, which is not an outside interface: no rule chooses it",
            excerpt(&owner.name)
        ))
        .with_help(format!("name an address of {}", outside.join(", "))),
        None => Failure::usage(format!(
            "{address} is not listed in [addresses], and no interface of this host has it"
        ))
        .with_help("`ip -brief -4 address` lists them; --netns names another network namespace"),
    })
}

fn ipv4(interface: &Interface) -> impl Iterator<Item = Ipv4Addr> {
    interface.addresses.iter().filter_map(|address| match address.ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    })
}

/// The host whose addresses the file is about.
fn here(global: &Global) -> Result<Network, Failure> {
    if let Some(state) = attached(global, false)?
        && !is_here(&state)?
    {
        let what = format!(
            "the address is not listed in [addresses], and instance `{}` belongs to another \
             network namespace: its interfaces cannot be asked",
            global.instance
        );
        return Err(Failure::usage(what).with_help("name its network namespace with --netns"));
    }
    network()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host::{Address, Link},
        source::Flags,
    };

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, last)
    }

    fn config(more: &str) -> Config {
        let text = format!("{more}\n[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n");
        Config::parse(&text, "nat.toml").unwrap()
    }

    /// `wan0` with .3, .1 and .2, `lan0` with .9 and .2.
    fn network() -> Network {
        let link = |name: &str, addresses: &[u8]| Link {
            name: name.to_owned(),
            addresses: addresses
                .iter()
                .map(|last| Address {
                    ip: ip(*last).into(),
                    prefix_len: 24,
                    flags: Flags::default(),
                })
                .collect(),
            ..Link::default()
        };
        let links = vec![link("lan0", &[9, 2]), link("wan0", &[3, 1, 2])];
        Network { links, ..Network::default() }
    }

    fn shown(wanted: &Wanted) -> String {
        let Some(list) = &wanted.list else { return "unchanged".to_owned() };
        let flag = |one: &ConfiguredAddress| if one.skip_as_source { "!" } else { "" };
        let addresses: Vec<String> =
            list.addresses.iter().map(|one| format!("{}{}", flag(one), one.address)).collect();
        format!("{}: {}", list.interface, addresses.join(" "))
    }

    #[test]
    fn a_listed_address_changes_in_place() {
        let config = config(
            "addresses.wan0 = [\"192.0.2.1\", { address = \"192.0.2.2\", skip_as_source = true }]",
        );
        let set = |last, skip| listed(&config, ip(last), skip).map(|wanted| shown(&wanted));
        assert_eq!(set(1, true).unwrap(), "wan0: !192.0.2.1 !192.0.2.2");
        assert_eq!(set(2, false).unwrap(), "wan0: 192.0.2.1 192.0.2.2");
        assert_eq!(set(1, false).unwrap(), "unchanged");
        assert_eq!(set(2, true).unwrap(), "unchanged");
        assert_eq!(set(3, true), None);
    }

    #[test]
    fn listing_an_address_changes_no_order() {
        for (list, expected) in [
            ("", "wan0: 192.0.2.3 192.0.2.1 !192.0.2.2"),
            ("addresses.wan0 = [\"192.0.2.1\"]", "wan0: 192.0.2.1 192.0.2.3 !192.0.2.2"),
            (
                "addresses.wan0 = [\"192.0.2.7\", { address = \"192.0.2.1\", skip_as_source = true }]",
                "wan0: 192.0.2.7 !192.0.2.1 192.0.2.3 !192.0.2.2",
            ),
        ] {
            let config = config(list);
            let wanted = unlisted(&config, &network(), ip(2), true).unwrap();
            assert_eq!(shown(&wanted), expected);
            assert!(wanted.note.unwrap().contains("`wan0` now has all its addresses listed"));
            let addresses = vec![wanted.list.unwrap()];
            let after = Config { addresses, ..config.clone() };
            let in_order = |config: &Config| -> Vec<Ipv4Addr> {
                let interfaces = network().to_interfaces(&order(config));
                ipv4(&interfaces[1]).collect()
            };
            assert_eq!(in_order(&after), in_order(&config));
        }
        let wanted = unlisted(&config(""), &network(), ip(2), false).unwrap();
        assert_eq!(shown(&wanted), "unchanged");
        assert_eq!(wanted.note.unwrap(), "`skip_as_source` of 192.0.2.2 is false already");
    }

    #[test]
    fn an_address_that_no_rule_could_choose_is_refused() {
        let refused =
            |last| unlisted(&config(""), &network(), ip(last), true).unwrap_err().to_string();
        assert!(refused(9).contains("192.0.2.9 is on `lan0`, which is not an outside interface"));
        assert!(refused(8).contains("no interface of this host has it"));
        let all = config("source.candidates = \"all\"");
        let set = |last| shown(&unlisted(&all, &network(), ip(last), true).unwrap());
        assert_eq!(set(9), "lan0: !192.0.2.9 192.0.2.2");
        assert_eq!(set(2), "wan0: 192.0.2.3 192.0.2.1 !192.0.2.2");
    }
}
