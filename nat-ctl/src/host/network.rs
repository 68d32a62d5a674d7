//! Interfaces, their addresses, and the prefixes routed to them, by rtnetlink.
use std::net::{IpAddr, Ipv4Addr};

use futures_util::TryStreamExt;
use ipnet::Ipv4Net;
use netlink_packet_route::{
    address::AddressAttribute,
    link::{LinkAttribute, LinkLayerType},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteType},
};
use rtnetlink::{Handle, RouteMessageBuilder};

use crate::exit::Failure;

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// Whether frames start with an Ethernet header.
    pub ethernet: bool,
    /// Zero where there is none.
    pub mac: [u8; 6],
    /// In the kernel's order: all primary addresses, then all secondary ones.
    pub addresses: Vec<Ipv4Addr>,
}

/// What a namespace's interfaces look like at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Network {
    pub links: Vec<Link>,
}

impl Network {
    /// Reads the network namespace of this thread.
    pub async fn read() -> Result<Self, Failure> {
        ask(async |handle| read(handle).await).await
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
}

async fn read(handle: &Handle) -> Result<Network, rtnetlink::Error> {
    let mut links = Vec::new();
    let mut messages = handle.link().get().execute();
    while let Some(message) = messages.try_next().await? {
        let name = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        });
        let mac = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            _ => None,
        });
        links.push(Link {
            index: message.header.index,
            mac: mac.unwrap_or_default(),
            name: name.unwrap_or_default(),
            ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            addresses: Vec::new(),
        });
    }
    let mut network = Network { links };

    let mut messages = handle.address().get().execute();
    while let Some(message) = messages.try_next().await? {
        let local = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
            _ => None,
        });
        if let (Some(link), Some(address)) = (network.by_index(message.header.index), local) {
            link.addresses.push(address);
        }
    }
    Ok(network)
}

/// Destinations of the unicast routes of the main table through an interface, the default route
/// aside.
pub async fn routed_to(index: u32) -> Result<Vec<Ipv4Net>, Failure> {
    ask(async |handle| routes(handle, index).await).await
}

async fn routes(handle: &Handle, index: u32) -> Result<Vec<Ipv4Net>, rtnetlink::Error> {
    let mut routed = Vec::new();
    let routes = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let mut messages = handle.route().get(routes).execute();
    while let Some(message) = messages.try_next().await? {
        let header = &message.header;
        let main = header.table == RouteHeader::RT_TABLE_MAIN && header.kind == RouteType::Unicast;
        let through = RouteAttribute::Oif(index);
        if !main || !message.attributes.contains(&through) {
            continue;
        }
        routed.extend(message.attributes.iter().filter_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                Ipv4Net::new(*address, header.destination_prefix_length).ok()
            }
            _ => None,
        }));
    }
    Ok(routed)
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

impl Network {
    fn by_index(&mut self, index: u32) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.index == index)
    }
}
