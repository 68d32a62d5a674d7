//! Links, their addresses, routes and the order of tables: what source selection needs to know of
//! this machine, at one moment.
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::AddressMessage,
    link::{LinkAttribute, LinkExtentMask, LinkMessage},
    route::RouteMessage,
    rule::RuleMessage,
};
use rtnetlink::Handle;

use super::{
    netlink::Netlink,
    parse,
    routes::Routes,
    tables::{Rule, Tables},
    xdp::{self, XdpFeatures},
};
use crate::{exit::Failure, source::Flags};

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// Whether frames start with an Ethernet header.
    pub ethernet: bool,
    /// Zero where there is none.
    pub mac: [u8; 6],
    /// The largest IP packet, bytes.
    pub mtu: u32,
    /// Set up by the administrator (IFF_UP). Without that the kernel has no routes over it. A
    /// missing carrier takes no route away (unless `ignore_routes_with_linkdown` is set).
    pub up: bool,
    /// As in `ip -details link`: `veth`, `bridge`, …; None for hardware.
    pub kind: Option<String>,
    /// Index of the interface that this one is on, as a VLAN is.
    pub parent: Option<u32>,
    /// Whether an XDP program is attached, anybody's.
    pub has_xdp: bool,
    /// What the driver can do with XDP; None if the kernel does not say.
    pub xdp: Option<XdpFeatures>,
    /// In the kernel's order, of IPv4: all primary addresses, then all secondary ones.
    pub addresses: Vec<Address>,
}

/// An address of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    pub ip: IpAddr,
    /// Length of the subnet's prefix in bits.
    pub prefix_len: u8,
    pub flags: Flags,
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Network {
    pub links: Vec<Link>,
    pub routes: Routes,
    pub tables: Tables,
}

impl Link {
    /// Addresses of IPv4.
    pub fn ipv4(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.addresses.iter().filter_map(|address| match address.ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        })
    }
}

impl Network {
    /// Reads the network namespace of this thread.
    pub async fn read() -> Result<Self, Failure> {
        let mut network = Self::read_without_routes().await?;
        network.routes = read_routes().await.map_err(unreadable)?;
        Ok(network)
    }

    /// Links, addresses and the order of tables: what is little.
    pub async fn read_without_routes() -> Result<Self, Failure> {
        let read = async || {
            let mut netlink = Netlink::open(&[])?;
            let mut links = netlink.dump(&links_query(), parse::link).await?;
            let query = RouteNetlinkMessage::GetAddress(AddressMessage::default());
            for (index, address) in netlink.dump(&query, parse::address).await? {
                let link = links.iter_mut().find(|link| link.index == index);
                link.into_iter().for_each(|link| link.addresses.push(address));
            }
            let features = xdp::features();
            for link in &mut links {
                link.xdp = features.as_ref().and_then(|known| known.get(&link.index)).copied();
            }
            let tables = read_tables(&mut netlink, AddressFamily::Inet).await?;
            Ok(Self { links, routes: Routes::default(), tables })
        };
        read().await.map_err(unreadable)
    }

    /// Reads the routes alone.
    pub(super) async fn read_routes_again(&mut self) -> Result<(), Failure> {
        self.routes = read_routes().await.map_err(unreadable)?;
        Ok(())
    }

    /// The interface of a name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The interface of a name, or an error that says which there are.
    pub fn expect(&self, name: &str) -> Result<&Link, Failure> {
        let link = self.link(name).ok_or_else(|| {
            let names: Vec<_> = self.links.iter().map(|link| link.name.as_str()).collect();
            Failure::host(format!("there is no interface `{name}`")).with_help(format!(
                "this network namespace has {}; --netns names another one",
                names.join(", ")
            ))
        })?;
        if link.ethernet {
            return Ok(link);
        }
        Err(Failure::host(format!("`{name}` is not an Ethernet interface"))
            .with_help("this version translates on Ethernet interfaces only: not lo, tun or ppp"))
    }

    /// Destinations of the routes of the main table through an interface, the default route aside.
    pub fn routed_to(&self, index: u32) -> impl Iterator<Item = Ipv4Net> {
        let main = u32::from(libc::RT_TABLE_MAIN);
        let through = self.routes.iter().filter(move |route| {
            route.table == main && route.dev == index && route.dst.prefix_len() > 0
        });
        through.map(|route| route.dst)
    }
}

/// Counters of packets, which nobody asks for here, are the most of a link's answer.
fn links_query() -> RouteNetlinkMessage {
    let mut query = LinkMessage::default();
    query.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    RouteNetlinkMessage::GetLink(query)
}

/// The order of the tables of a family.
pub(super) async fn read_tables(
    netlink: &mut Netlink,
    family: AddressFamily,
) -> std::io::Result<Tables> {
    let mut query = RuleMessage::default();
    query.header.family = family;
    let rules = netlink.dump(&RouteNetlinkMessage::GetRule(query), Rule::parse).await?;
    Ok(Tables::new(&rules))
}

/// The routes of IPv4.
async fn read_routes() -> std::io::Result<Routes> {
    let mut query = RouteMessage::default();
    query.header.address_family = AddressFamily::Inet;
    let mut routes = Routes::default();
    let each = |payload: &[u8]| {
        if let Some((key, paths)) = parse::route(payload) {
            routes.push(key, paths);
        }
    };
    // Disturbed or not: whoever follows changes is told of those of routes one by one.
    Netlink::open(&[])?.dump_each(&RouteNetlinkMessage::GetRoute(query), each).await?;
    Ok(routes)
}

pub(super) fn unreadable(cause: std::io::Error) -> Failure {
    Failure::host(format!("cannot read this host's network\n  caused by: {cause}"))
}

/// Asks the kernel, on a connection of its own.
pub(super) async fn ask<T>(
    question: impl AsyncFnOnce(&Handle) -> Result<T, rtnetlink::Error>,
) -> Result<T, Failure> {
    let failed = |cause: String| {
        Failure::host(format!("cannot read this host's network\n  caused by: {cause}"))
    };
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|error| failed(error.to_string()))?;
    let connection = tokio::spawn(connection);
    let answer = question(&handle).await.map_err(|error| failed(error.to_string()));
    connection.abort();
    answer
}
