//! The kernel's messages → links, addresses and routes. Pure.
//!
//! Only the attributes that are of use are looked at, so that one of a kind that nobody knows yet,
//! beside them, does no harm; and a million routes are read in a second.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::{
    AddressFamily,
    address::AddressHeader,
    link::{LinkFlags, LinkHeader, LinkLayerType},
    neighbour::{NeighbourHeader, NeighbourState},
    route::{RouteFlags, RouteHeader, RouteType},
};
use rtnetlink::packet_core::{NLA_HEADER_SIZE, NlasIterator};

use super::{
    network::{Address, Link},
    routes::{Key, Kind, Path, Paths},
};
use crate::source::{Flag, Flags};

/// Lengths of the headers before the attributes, in bytes (include/uapi/linux/rtnetlink.h,
/// if_addr.h).
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const ROUTE_HEADER: usize = 12;
const NEXT_HOP_HEADER: usize = 8;
const NEIGHBOUR_HEADER: usize = 12;

/// include/uapi/linux/if_addr.h; not in libc.
const IFA_FLAGS: u16 = 8;

/// include/uapi/linux/if_link.h; not in libc.
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const XDP_ATTACHED_NONE: u8 = 0;

/// Attributes within one.
fn nested(value: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    attributes(value, 0)
}

/// Zero-terminated text.
fn text(value: &[u8]) -> String {
    let bytes = value.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

/// Attributes by kind; a broken one ends the list.
pub(super) fn attributes(payload: &[u8], header: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let list = NlasIterator::new(payload.get(header..).unwrap_or_default());
    list.map_while(Result::ok).map(|attribute| {
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        let value = attribute.into_inner().get(NLA_HEADER_SIZE..length);
        (kind, value.unwrap_or_default())
    })
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        16 => <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => ipv4(bytes).map(IpAddr::from),
    }
}

/// RTM_NEWLINK, RTM_DELLINK; without addresses.
pub(super) fn link(payload: &[u8]) -> Option<Link> {
    let header = LinkHeader::parse(payload).ok()?;
    let mut link = Link {
        index: header.index,
        ethernet: header.link_layer_type == LinkLayerType::Ether,
        up: header.flags.contains(LinkFlags::Up),
        ..Link::default()
    };
    for (kind, value) in attributes(payload, LINK_HEADER) {
        match kind {
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_LINK => link.parent = number(value),
            libc::IFLA_MTU => link.mtu = number(value).unwrap_or_default(),
            libc::IFLA_LINKINFO => {
                let kind = nested(value).find(|(kind, _)| *kind == libc::IFLA_INFO_KIND);
                link.kind = kind.map(|(_, value)| text(value));
            }
            IFLA_XDP => {
                let attached = nested(value).find(|(kind, _)| *kind == IFLA_XDP_ATTACHED);
                link.has_xdp = attached.is_some_and(|(_, mode)| mode != [XDP_ATTACHED_NONE]);
            }
            libc::IFLA_ADDRESS => link.mac = value.try_into().unwrap_or_default(),
            _ => {}
        }
    }
    Some(link)
}

/// What the kernel knows of a host on a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Neighbour {
    /// Of the link.
    pub index: u32,
    pub address: IpAddr,
    /// Link-layer address; empty if none is known.
    pub mac: Vec<u8>,
    /// Whether the kernel sends to that address.
    pub usable: bool,
}

/// RTM_NEWNEIGH, RTM_DELNEIGH of IP.
pub(super) fn neighbour(payload: &[u8]) -> Option<Neighbour> {
    let header = NeighbourHeader::parse(payload).ok()?;
    if !matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6) {
        return None;
    }
    let (mut address, mut mac) = (None, Vec::new());
    for (kind, value) in attributes(payload, NEIGHBOUR_HEADER) {
        match kind {
            libc::NDA_DST => address = ip(value),
            libc::NDA_LLADDR => mac = value.to_vec(),
            _ => {}
        }
    }
    // NUD_VALID of include/net/neighbour.h.
    let usable = matches!(
        header.state,
        NeighbourState::Permanent
            | NeighbourState::Noarp
            | NeighbourState::Reachable
            | NeighbourState::Probe
            | NeighbourState::Stale
            | NeighbourState::Delay
    );
    Some(Neighbour { index: header.ifindex, address: address?, mac, usable })
}

/// RTM_NEWADDR, RTM_DELADDR: the link's index and the address.
pub(super) fn address(payload: &[u8]) -> Option<(u32, Address)> {
    let header = AddressHeader::parse(payload).ok()?;
    let (mut local, mut peer, mut preferred) = (None, None, None);
    let mut bits = u32::from(header.flags.bits());
    for (kind, value) in attributes(payload, ADDRESS_HEADER) {
        match kind {
            libc::IFA_LOCAL => local = ip(value),
            libc::IFA_ADDRESS => peer = ip(value),
            // The header has room for the first eight only.
            IFA_FLAGS => bits = number(value).unwrap_or(bits),
            libc::IFA_CACHEINFO => preferred = number(value),
            _ => {}
        }
    }
    // IPv6 names the local address only where it differs from the peer's.
    let ip = local.or(peer)?;
    let mut flags = address_flags(bits, ip);
    if preferred == Some(0) {
        flags = flags.with(Flag::Deprecated);
    }
    Some((header.index, Address { ip, prefix_len: header.prefix_len, flags }))
}

fn address_flags(bits: u32, ip: IpAddr) -> Flags {
    let is = |flag: u32| bits & flag != 0;
    let secondary = if ip.is_ipv4() { Flag::Secondary } else { Flag::Temporary };
    // RFC 4429: an optimistic address may be used before its detection is over.
    let tentative = is(libc::IFA_F_TENTATIVE) && !is(libc::IFA_F_OPTIMISTIC);
    let flags = [
        // The same bit for both families: include/uapi/linux/if_addr.h.
        (is(libc::IFA_F_SECONDARY), secondary),
        (is(libc::IFA_F_DEPRECATED), Flag::Deprecated),
        (tentative, Flag::Tentative),
        (is(libc::IFA_F_DADFAILED), Flag::Duplicate),
        (is(libc::IFA_F_HOMEADDRESS), Flag::Home),
    ];
    flags.into_iter().filter(|(is, _)| *is).map(|(_, flag)| flag).collect()
}

/// RTM_NEWROUTE, RTM_DELROUTE of IPv4. None for what is no route of the forwarding table that
/// concerns packets in general: the table `local`, cached exceptions, routes for one type of
/// service.
pub(super) fn route(payload: &[u8]) -> Option<(Key, Paths)> {
    let header = RouteHeader::parse(payload).ok()?;
    let cached = header.flags.contains(RouteFlags::Cloned);
    if header.address_family != AddressFamily::Inet || cached || header.tos != 0 {
        return None;
    }
    let mut key = Key {
        table: header.table.into(),
        network: Ipv4Addr::UNSPECIFIED.to_bits(),
        prefix_len: header.destination_prefix_length,
        metric: 0,
    };
    let mut path = Path {
        protocol: header.protocol.into(),
        scope: header.scope.into(),
        kind: kind(header.kind),
        dead: header.flags.contains(RouteFlags::Dead),
        ..Path::default()
    };
    let mut several = None;
    for (kind, value) in attributes(payload, ROUTE_HEADER) {
        match kind {
            libc::RTA_TABLE => key.table = number(value)?,
            libc::RTA_DST => key.network = ipv4(value)?.to_bits(),
            libc::RTA_PRIORITY => key.metric = number(value)?,
            libc::RTA_PREFSRC => path.src = ipv4(value),
            libc::RTA_OIF => path.dev = number(value)?,
            // A gateway of IPv6 comes as RTA_VIA: see `Route::via`.
            libc::RTA_GATEWAY => path.via = ipv4(value),
            libc::RTA_MULTIPATH => several = Some(value),
            _ => {}
        }
    }
    if key.table == u32::from(libc::RT_TABLE_LOCAL) || key.prefix_len > 32 {
        return None;
    }
    Some((key, several.map_or(Paths::One(path), |value| Paths::Many(next_hops(path, value)))))
}

fn kind(kind: RouteType) -> Kind {
    match kind {
        RouteType::Unicast => Kind::Unicast,
        RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit => Kind::Unreachable,
        _ => Kind::Other,
    }
}

/// RTA_MULTIPATH: headers (length, flags, weight, interface) with attributes.
fn next_hops(route: Path, mut value: &[u8]) -> Vec<Path> {
    let mut paths = Vec::new();
    while let Some(header) = value.first_chunk::<NEXT_HOP_HEADER>() {
        let [low, high, flags, _, interface @ ..] = *header;
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let Some(hop) = value.get(..length).filter(|hop| hop.len() >= NEXT_HOP_HEADER) else {
            break;
        };
        let gateway = attributes(hop, NEXT_HOP_HEADER).find(|(kind, _)| *kind == libc::RTA_GATEWAY);
        paths.push(Path {
            via: gateway.and_then(|(_, value)| ipv4(value)),
            dev: u32::from_ne_bytes(interface),
            dead: RouteFlags::from_bits_retain(flags.into()).contains(RouteFlags::Dead),
            ..route
        });
        value = value.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    paths
}

#[cfg(test)]
mod tests;
