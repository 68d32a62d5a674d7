//! The kernel's answer to: by which way does a packet leave? (`ip route get`)
use std::net::IpAddr;

use futures_util::TryStreamExt;
use netlink_packet_route::{
    AddressFamily,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia},
};
use nix::net::if_::if_indextoname;
use rtnetlink::Handle;

use super::network::ask;
use crate::exit::Failure;

/// A way out of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteTo {
    pub interface: String,
    /// None on-link.
    pub gateway: Option<IpAddr>,
    /// The address that a packet without one gets.
    pub source: Option<IpAddr>,
}

/// How the kernel routes a packet of this machine to `destination`, with `source` as its address if
/// it has one. None if it does not: no route, one that refuses, or a source that is not here.
pub async fn look_up(
    destination: IpAddr,
    source: Option<IpAddr>,
) -> Result<Option<RouteTo>, Failure> {
    let message = query(destination, source);
    let answer = ask(async |handle| match first(handle, message).await {
        // The kernel says why: unreachable, prohibited, invalid. It is all the same here.
        Err(rtnetlink::Error::NetlinkError(_)) => Ok(None),
        answer => answer,
    });
    Ok(answer.await?.as_ref().map(route_to))
}

async fn first(
    handle: &Handle,
    message: RouteMessage,
) -> Result<Option<RouteMessage>, rtnetlink::Error> {
    handle.route().get(message).execute().try_next().await
}

fn query(destination: IpAddr, source: Option<IpAddr>) -> RouteMessage {
    let route_address = |ip| match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    };
    let (family, bits) = match destination {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.destination_prefix_length = bits;
    message.attributes.push(RouteAttribute::Destination(route_address(destination)));
    if let Some(source) = source {
        message.header.source_prefix_length = bits;
        message.attributes.push(RouteAttribute::Source(route_address(source)));
    }
    message
}

fn route_to(message: &RouteMessage) -> RouteTo {
    let mut way = RouteTo { interface: "?".to_owned(), gateway: None, source: None };
    let ip = |address: &RouteAddress| match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => {
                if let Ok(name) = if_indextoname(*index) {
                    way.interface = name.to_string_lossy().into_owned();
                }
            }
            RouteAttribute::Gateway(address) => way.gateway = ip(address),
            RouteAttribute::Via(RouteVia::Inet6(gateway)) => way.gateway = Some((*gateway).into()),
            RouteAttribute::PrefSource(address) => way.source = ip(address),
            _ => {}
        }
    }
    way
}
