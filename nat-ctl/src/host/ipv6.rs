//! IPv6 routes, for whoever asks once: nothing here is translated or followed.
use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType},
};
use rtnetlink::packet_core::Parseable as _;

use super::{
    netlink::Netlink,
    network::{Network, read_tables, unreadable},
    tables::Tables,
};
use crate::{exit::Failure, source::Route};

impl Network {
    /// The routes of IPv6 that packets can take, over the links of this picture.
    pub async fn read_ipv6_routes(&self) -> Result<Vec<Route>, Failure> {
        let read = async || {
            let mut netlink = Netlink::open(&[])?;
            let tables = read_tables(&mut netlink, AddressFamily::Inet6).await?;
            let mut query = RouteMessage::default();
            query.header.address_family = AddressFamily::Inet6;
            let parse = |payload: &[u8]| RouteMessage::parse(payload).ok();
            let routes = netlink.dump(&RouteNetlinkMessage::GetRoute(query), parse).await?;
            Ok(routes.iter().flat_map(|route| self.ipv6_routes(route, &tables)).collect())
        };
        read().await.map_err(unreadable)
    }

    /// One for each next hop.
    fn ipv6_routes(&self, message: &RouteMessage, tables: &Tables) -> Vec<Route> {
        let header = &message.header;
        let dst = Ipv6Net::new([0; 16].into(), header.destination_prefix_length);
        let Ok(dst) = dst else { return Vec::new() };
        let mut table = header.table.into();
        let mut route = Route {
            dst: dst.into(),
            via: None,
            dev: String::new(),
            metric: 0,
            src: None,
            table: 0,
        };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Table(number) => table = *number,
                RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
                    route.dst =
                        Ipv6Net::new(*address, dst.prefix_len()).map_or(route.dst, IpNet::from);
                }
                RouteAttribute::Priority(metric) => route.metric = *metric,
                RouteAttribute::PrefSource(RouteAddress::Inet6(source)) => {
                    route.src = Some(IpAddr::from(*source));
                }
                _ => {}
            }
        }
        let position = tables.position(table, header.destination_prefix_length);
        let (Some(position), false) = (position, header.flags.contains(RouteFlags::Cloned)) else {
            return Vec::new();
        };
        route.table = position;
        match header.kind {
            RouteType::Unicast => self.ipv6_next_hops(&route, &message.attributes),
            RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit => vec![route],
            _ => Vec::new(),
        }
    }

    fn ipv6_next_hops(&self, route: &Route, attributes: &[RouteAttribute]) -> Vec<Route> {
        let mut through = None;
        let mut hops = Vec::new();
        for attribute in attributes {
            match attribute {
                RouteAttribute::Oif(index) => through = Some(*index),
                RouteAttribute::MultiPath(several) => {
                    hops.extend(
                        several.iter().map(|hop| (hop.interface_index, &hop.attributes[..])),
                    );
                }
                _ => {}
            }
        }
        hops.extend(through.map(|index| (index, attributes)));
        let route = |(index, attributes): (u32, &[RouteAttribute])| {
            let link = self.links.iter().find(|link| link.index == index)?;
            let via = attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Gateway(RouteAddress::Inet6(via)) => Some(IpAddr::from(*via)),
                _ => None,
            });
            Some(Route { via, dev: link.name.clone(), ..route.clone() })
        };
        hops.into_iter().filter_map(route).collect()
    }
}
