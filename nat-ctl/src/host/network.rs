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
    /// In the kernel's order: all primary addresses, then all secondary ones.
    pub addresses: Vec<Ipv4Addr>,
    /// Destinations of unicast routes of the main table through this interface, the default route
    /// aside.
    pub routed: Vec<Ipv4Net>,
}

/// What a namespace's interfaces look like at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Network {
    pub links: Vec<Link>,
}

impl Network {
    /// Reads the network namespace of this thread.
    pub async fn read() -> Result<Self, Failure> {
        let failed = |cause: String| {
            Failure::host(format!("cannot read this host's interfaces\n  caused by: {cause}"))
        };
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|error| failed(error.to_string()))?;
        let connection = tokio::spawn(connection);
        let network = read(&handle).await.map_err(|error| failed(error.to_string()));
        connection.abort();
        network
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
        links.push(Link {
            index: message.header.index,
            name: name.unwrap_or_default(),
            ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            addresses: Vec::new(),
            routed: Vec::new(),
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

    let routes = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let mut messages = handle.route().get(routes).execute();
    while let Some(message) = messages.try_next().await? {
        let header = &message.header;
        let main = header.table == RouteHeader::RT_TABLE_MAIN && header.kind == RouteType::Unicast;
        let mut destination = None;
        let mut index = None;
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                    destination = Ipv4Net::new(*address, header.destination_prefix_length).ok();
                }
                RouteAttribute::Oif(oif) => index = Some(*oif),
                _ => {}
            }
        }
        if let (true, Some(destination), Some(index)) = (main, destination, index)
            && let Some(link) = network.by_index(index)
        {
            link.routed.push(destination);
        }
    }
    Ok(network)
}

impl Network {
    fn by_index(&mut self, index: u32) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.index == index)
    }
}
