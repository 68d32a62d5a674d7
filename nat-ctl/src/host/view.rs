//! The network of this machine as source selection sees it.
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

use super::{
    network::{Address, Link, Network},
    routes::Route,
};
use crate::source::{self, Flag, Host, Interface};

/// Addresses of interfaces in the order in which they are configured, with `skip_as_source`.
pub type AddressOrder = [(String, Vec<(Ipv4Addr, bool)>)];

impl Network {
    /// Everything by name. Addresses that `order` lists and the interface has come first, as
    /// listed; the others follow in the kernel's order, which is not that in which they were added.
    pub fn to_host(&self, order: &AddressOrder) -> Host {
        Host {
            interfaces: self.to_interfaces(order),
            routes: self.to_source_routes(self.routes.iter()).collect(),
        }
    }

    /// Interfaces only: see [`Network::to_host`].
    pub fn to_interfaces(&self, order: &AddressOrder) -> Vec<Interface> {
        self.links.iter().map(|link| interface(link, order)).collect()
    }

    /// Routes by name, with the place of their table in the order. Left out are those that no
    /// packet can take: nobody asks their table, or their link is gone.
    pub fn to_source_routes(
        &self,
        routes: impl IntoIterator<Item = Route>,
    ) -> impl Iterator<Item = source::Route> {
        let names = self.links.iter().map(|link| (link.index, link.name.as_str()));
        let names: HashMap<u32, &str> = names.chain([(0, "")]).collect();
        routes.into_iter().filter_map(move |route| {
            Some(source::Route {
                dst: route.dst.into(),
                via: route.via.map(IpAddr::from),
                dev: (*names.get(&route.dev)?).to_owned(),
                metric: route.metric,
                src: route.src.map(IpAddr::from),
                table: self.tables.position(route.table, route.dst.prefix_len())?,
            })
        })
    }
}

fn interface(link: &Link, order: &AddressOrder) -> Interface {
    let listed = order.iter().find(|(name, _)| *name == link.name);
    let listed = listed.map(|(_, addresses)| addresses.as_slice()).unwrap_or_default();
    let place = |address: &Address| listed.iter().position(|(ip, _)| address.ip == IpAddr::V4(*ip));
    let mut addresses: Vec<_> = link.addresses.iter().collect();
    // Stable: the unlisted ones stay in order.
    addresses.sort_by_key(|address| place(address).unwrap_or(listed.len()));
    let address = |address: &Address| source::Address {
        ip: address.ip,
        prefix_len: address.prefix_len,
        flags: match place(address).and_then(|place| listed.get(place)) {
            Some((_, true)) => address.flags.with(Flag::SkipAsSource),
            _ => address.flags,
        },
        advertised_by: None,
    };
    Interface {
        name: link.name.clone(),
        up: link.up,
        addresses: addresses.into_iter().map(address).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host::Tables, source::Flags};

    fn address(ip: &str, flags: &[Flag]) -> Address {
        let flags: Flags = flags.iter().copied().collect();
        Address { ip: ip.parse().unwrap(), prefix_len: 24, flags }
    }

    fn network() -> Network {
        let link = |index, name: &str, addresses| Link {
            index,
            name: name.to_owned(),
            up: true,
            addresses,
            ..Link::default()
        };
        let addresses = vec![
            address("192.0.2.1", &[]),
            address("192.0.2.2", &[Flag::Secondary]),
            address("192.0.2.3", &[Flag::Secondary]),
            address("2001:db8::1", &[]),
        ];
        let links =
            vec![link(1, "lo", vec![address("127.0.0.1", &[])]), link(7, "wan0", addresses)];
        Network { links, ..Network::default() }
    }

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn listed_addresses_come_first_with_their_flag() {
        let order = [
            // Not of this interface.
            ("lo".to_owned(), vec![(ip("192.0.2.2"), true)]),
            (
                "wan0".to_owned(),
                vec![(ip("192.0.2.3"), false), (ip("192.0.2.9"), true), (ip("192.0.2.1"), true)],
            ),
        ];
        let host = network().to_host(&order);
        let wan0 = host.interface("wan0").unwrap();
        let seen: Vec<_> = wan0
            .addresses
            .iter()
            .map(|one| (one.ip.to_string(), one.flags.iter().collect::<Vec<_>>()))
            .collect();
        let expected = [
            ("192.0.2.3", vec![Flag::Secondary]),
            ("192.0.2.1", vec![Flag::SkipAsSource]),
            ("192.0.2.2", vec![Flag::Secondary]),
            ("2001:db8::1", vec![]),
        ];
        assert_eq!(seen, expected.map(|(ip, flags)| (ip.to_owned(), flags)));
        assert_eq!(host.interface("lo").unwrap().addresses[0].flags, Flags::default());
    }

    #[test]
    fn routes_have_names_and_places() {
        let mut network = network();
        network.tables = Tables::default();
        let route = |dst: &str, dev, table| Route {
            dst: dst.parse().unwrap(),
            via: Some(ip("192.0.2.254")),
            dev,
            metric: 3,
            src: Some(ip("192.0.2.2")),
            table,
        };
        let unreachable = Route { via: None, src: None, ..route("10.0.0.0/8", 0, 254) };
        let routes = [
            route("0.0.0.0/0", 7, 253),
            route("198.51.100.0/24", 7, 254),
            route("198.51.100.0/24", 7, 99),
            route("203.0.113.0/24", 8, 254),
            unreachable,
        ];
        network.routes = routes.into_iter().collect();
        let routes = network.to_host(&[]).routes;
        let seen: Vec<_> = routes
            .iter()
            .map(|route| (route.dst.to_string(), route.dev.as_str(), route.table))
            .collect();
        let expected =
            [("0.0.0.0/0", "wan0", 1), ("10.0.0.0/8", "", 0), ("198.51.100.0/24", "wan0", 0)];
        assert_eq!(seen, expected.map(|(dst, dev, table)| (dst.to_owned(), dev, table)));
        assert_eq!(routes[0].via, Some(ip("192.0.2.254").into()));
        assert_eq!((routes[0].src, routes[0].metric), (Some(ip("192.0.2.2").into()), 3));
    }
}
