//! What `check` wants to know about this machine, as it is at one moment.
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    ops::RangeInclusive,
    path::Path,
    process::Command,
    process::Stdio,
};

use futures_util::TryStreamExt;
use ipnet::Ipv4Net;
use netlink_packet_route::{
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType},
};
use rtnetlink::{Handle, RouteMessageBuilder};
use serde_json::Value;

use super::network::{Address, Network, ask};
use crate::{exit::Failure, source::Flags};

/// See the module.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Snapshot {
    pub links: Vec<LinkState>,
    /// Unicast routes of the main table; one for each next hop.
    pub routes: Vec<Route>,
    pub sysctls: Sysctls,
    /// What `nft -j list ruleset` prints; None if that is not there or not permitted.
    pub nftables: Option<Value>,
}

/// A network interface.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LinkState {
    pub index: u32,
    pub name: String,
    /// As in `ip -details link`: `veth`, `bridge`, …; None for hardware.
    pub kind: Option<String>,
    /// Whether frames start with an Ethernet header.
    pub ethernet: bool,
    pub up: bool,
    /// With the length of their prefix.
    pub addresses: Vec<Ipv4Net>,
    /// What is special about some of them.
    pub flags: Vec<(Ipv4Addr, Flags)>,
    /// `net.ipv4.conf.NAME.forwarding`
    pub forwarding: Option<bool>,
    /// `net.ipv4.conf.NAME.rp_filter`
    pub rp_filter: Option<u8>,
}

/// A route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    pub destination: Ipv4Net,
    pub gateway: Option<Ipv4Addr>,
    /// Index of the interface.
    pub interface: u32,
    pub metric: u32,
}

/// Settings under /proc/sys; None where one cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sysctls {
    /// `net.ipv4.ip_forward`
    pub ip_forward: Option<bool>,
    /// `net.ipv4.conf.all.rp_filter`
    pub rp_filter_all: Option<u8>,
    /// `net.ipv4.ip_local_port_range`
    pub local_port_range: Option<RangeInclusive<u16>>,
    /// `net.ipv4.ip_local_reserved_ports`
    pub reserved_ports: Vec<RangeInclusive<u16>>,
}

impl Snapshot {
    /// Looks at the network namespace of this thread.
    pub async fn read() -> Result<Self, Failure> {
        let (mut links, routes) =
            ask(async |handle| Ok((links(handle).await?, routes(handle).await?))).await?;
        let network = Network::read_without_routes().await?;
        for link in &mut links {
            let known = network.links.iter().find(|known| known.index == link.index);
            for address in known.into_iter().flat_map(|known| &known.addresses) {
                link.push_address(address);
            }
            let conf = Path::new("/proc/sys/net/ipv4/conf").join(&link.name);
            link.forwarding = number(&conf.join("forwarding")).map(|on| on != 0);
            link.rp_filter = number(&conf.join("rp_filter"));
        }
        Ok(Self { links, routes, sysctls: Sysctls::read(), nftables: nftables() })
    }

    /// The interface of a name.
    pub fn link(&self, name: &str) -> Option<&LinkState> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The name of an interface.
    pub fn name(&self, index: u32) -> &str {
        let link = self.links.iter().find(|link| link.index == index);
        link.map_or("?", |link| link.name.as_str())
    }

    /// Routes to everywhere.
    pub fn default_routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().filter(|route| route.destination.prefix_len() == 0)
    }

    /// The interface that has an address.
    pub fn owner(&self, address: Ipv4Addr) -> Option<&LinkState> {
        let has = |link: &&LinkState| link.addresses.iter().any(|net| net.addr() == address);
        self.links.iter().find(has)
    }
}

impl LinkState {
    fn push_address(&mut self, address: &Address) {
        if let IpAddr::V4(ip) = address.ip
            && let Ok(net) = Ipv4Net::new(ip, address.prefix_len)
        {
            self.addresses.push(net);
            if address.flags != Flags::default() {
                self.flags.push((ip, address.flags));
            }
        }
    }
}

impl Sysctls {
    fn read() -> Self {
        let ipv4 = Path::new("/proc/sys/net/ipv4");
        let text = |name: &str| fs::read_to_string(ipv4.join(name)).unwrap_or_default();
        Self {
            ip_forward: number(&ipv4.join("ip_forward")).map(|on| on != 0),
            rp_filter_all: number(&ipv4.join("conf/all/rp_filter")),
            local_port_range: port_range(&text("ip_local_port_range")),
            reserved_ports: port_list(&text("ip_local_reserved_ports")),
        }
    }
}

fn number(path: &Path) -> Option<u8> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Two ports with a tab between them.
fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.trim().split_once(char::is_whitespace)?;
    Some(first.parse().ok()?..=last.trim().parse().ok()?)
}

/// `8080,9000-9010`
fn port_list(text: &str) -> Vec<RangeInclusive<u16>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.trim().split(',').filter_map(range).collect()
}

/// Child processes are in the network namespace of the thread that starts them.
pub(super) fn nftables() -> Option<Value> {
    let nft = Command::new("nft")
        .args(["-j", "list", "ruleset"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|nft| nft.status.success())?;
    serde_json::from_slice(&nft.stdout).ok()
}

async fn links(handle: &Handle) -> Result<Vec<LinkState>, rtnetlink::Error> {
    let mut links = Vec::new();
    let mut messages = handle.link().get().execute();
    while let Some(message) = messages.try_next().await? {
        let mut link = LinkState {
            index: message.header.index,
            ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            up: message.header.flags.contains(LinkFlags::Up),
            ..LinkState::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::LinkInfo(info) => link.kind = kind(&info),
                _ => {}
            }
        }
        links.push(link);
    }
    Ok(links)
}

fn kind(info: &[LinkInfo]) -> Option<String> {
    info.iter().find_map(|info| match info {
        LinkInfo::Kind(InfoKind::Other(kind)) => Some(kind.clone()),
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    })
}

async fn routes(handle: &Handle) -> Result<Vec<Route>, rtnetlink::Error> {
    let mut routes = Vec::new();
    let query = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let mut messages = handle.route().get(query).execute();
    while let Some(message) = messages.try_next().await? {
        let header = &message.header;
        if header.table == RouteHeader::RT_TABLE_MAIN && header.kind == RouteType::Unicast {
            push_routes(&message, &mut routes);
        }
    }
    Ok(routes)
}

fn push_routes(message: &RouteMessage, routes: &mut Vec<Route>) {
    let mut destination = Ipv4Addr::UNSPECIFIED;
    let (mut gateway, mut interface, mut metric) = (None, None, 0);
    let mut hops = Vec::new();
    let ipv4 = |address: &RouteAddress| match address {
        RouteAddress::Inet(address) => Some(*address),
        _ => None,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => {
                destination = ipv4(address).unwrap_or(destination);
            }
            RouteAttribute::Gateway(address) => gateway = ipv4(address),
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::MultiPath(several) => {
                hops.extend(several.iter().map(|hop| {
                    let gateway = hop.attributes.iter().find_map(|attribute| match attribute {
                        RouteAttribute::Gateway(address) => ipv4(address),
                        _ => None,
                    });
                    (gateway, hop.interface_index)
                }));
            }
            _ => {}
        }
    }
    let Ok(destination) = Ipv4Net::new(destination, message.header.destination_prefix_length)
    else {
        return;
    };
    hops.extend(interface.map(|interface| (gateway, interface)));
    routes.extend(hops.into_iter().map(|(gateway, interface)| Route {
        destination,
        gateway,
        interface,
        metric,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_proc_are_read() {
        assert_eq!(port_range("32768\t60999\n"), Some(32768..=60999));
        assert_eq!(port_range(""), None);
        assert_eq!(port_list("\n"), []);
        assert_eq!(port_list("8080,9000-9010\n"), [8080..=8080, 9000..=9010]);
    }

    #[tokio::test]
    async fn this_machine_has_a_loopback_interface() {
        let snapshot = Snapshot::read().await.unwrap();
        let lo = snapshot.link("lo").unwrap();
        assert!(!lo.ethernet && lo.kind.is_none(), "{lo:?}");
        assert!(lo.addresses.contains(&"127.0.0.1/8".parse().unwrap()), "{lo:?}");
        assert_eq!(snapshot.name(lo.index), "lo");
    }
}
