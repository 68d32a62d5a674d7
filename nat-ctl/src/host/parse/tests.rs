//! Messages are written by the crate whose own parser is not used.
use netlink_packet_route::{
    address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo},
    link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage, LinkXdp, XdpAttached},
    route::{
        RouteAddress, RouteAttribute, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteProtocol,
        RouteVia,
    },
};
use rtnetlink::packet_core::{DefaultNla, Emitable};

use super::*;
use crate::host::routes::{Route, Routes};

fn bytes(message: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

#[test]
fn a_link() {
    let mut message = LinkMessage::default();
    message.header.index = 7;
    message.header.link_layer_type = LinkLayerType::Ether;
    message.header.flags = LinkFlags::Up | LinkFlags::Broadcast;
    message.attributes = vec![
        LinkAttribute::IfName("wan0".to_owned()),
        LinkAttribute::Other(DefaultNla::new(4000, vec![1, 2, 3])),
        LinkAttribute::Mtu(1492),
        LinkAttribute::Link(3),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
        LinkAttribute::Xdp(vec![LinkXdp::Attached(XdpAttached::Driver)]),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9]),
    ];
    let expected = Link {
        index: 7,
        name: "wan0".to_owned(),
        ethernet: true,
        mac: [2, 0, 0, 0, 0, 9],
        mtu: 1492,
        up: true,
        kind: Some("veth".to_owned()),
        parent: Some(3),
        has_xdp: true,
        xdp: None,
        addresses: Vec::new(),
    };
    assert_eq!(link(&bytes(&message)), Some(expected));
    message.header.flags = LinkFlags::Running;
    message.header.link_layer_type = LinkLayerType::None;
    message.attributes.truncate(2);
    message.attributes.push(LinkAttribute::Xdp(vec![LinkXdp::Attached(XdpAttached::None)]));
    let other = link(&bytes(&message)).unwrap();
    assert!(!other.has_xdp && other.kind.is_none());
    assert!(!other.up && !other.ethernet && other.mac == [0; 6], "{other:?}");
}

fn address_message(ip: IpAddr, attributes: &[AddressAttribute]) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = 7;
    message.header.prefix_len = 24;
    message.attributes = vec![AddressAttribute::Address(ip)];
    message.attributes.extend_from_slice(attributes);
    message
}

#[test]
fn the_local_end_of_an_address() {
    let ours = IpAddr::from([192, 0, 2, 1]);
    let message = address_message([192, 0, 2, 9].into(), &[AddressAttribute::Local(ours)]);
    let expected = Address { ip: ours, prefix_len: 24, flags: Flags::default() };
    assert_eq!(address(&bytes(&message)), Some((7, expected)));
    let v6: IpAddr = "2001:db8::1".parse().unwrap();
    assert_eq!(address(&bytes(&address_message(v6, &[]))).unwrap().1.ip, v6);
}

#[test]
fn flags_of_addresses() {
    let v4 = IpAddr::from([192, 0, 2, 1]);
    let v6: IpAddr = "2001:db8::1".parse().unwrap();
    let flags = |ip, attributes: &[AddressAttribute]| {
        let (_, address) = address(&bytes(&address_message(ip, attributes))).unwrap();
        address.flags.iter().collect::<Vec<_>>()
    };
    let set = |bits| [AddressAttribute::Flags(bits)];
    assert_eq!(flags(v4, &set(AddressFlags::Secondary)), [Flag::Secondary]);
    assert_eq!(flags(v6, &set(AddressFlags::Secondary)), [Flag::Temporary]);
    assert_eq!(flags(v4, &set(AddressFlags::Deprecated)), [Flag::Deprecated]);
    assert_eq!(flags(v6, &set(AddressFlags::Tentative)), [Flag::Tentative]);
    assert_eq!(flags(v6, &set(AddressFlags::Tentative | AddressFlags::Optimistic)), []);
    assert_eq!(flags(v6, &set(AddressFlags::Dadfailed)), [Flag::Duplicate]);
    assert_eq!(flags(v6, &set(AddressFlags::Homeaddress)), [Flag::Home]);
    let lifetime = |preferred| {
        let mut info = CacheInfo::default();
        (info.ifa_preferred, info.ifa_valid) = (preferred, u32::MAX);
        [AddressAttribute::CacheInfo(info)]
    };
    assert_eq!(flags(v4, &lifetime(0)), [Flag::Deprecated]);
    assert_eq!(flags(v4, &lifetime(u32::MAX)), []);
}

/// A route to 198.51.100.0/24 with metric 5 in a table whose number has no room in the header.
fn route_message(attributes: &[RouteAttribute]) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = 24;
    message.header.kind = RouteType::Unicast;
    message.header.protocol = RouteProtocol::Static;
    message.attributes = vec![
        RouteAttribute::Table(1000),
        RouteAttribute::Destination(RouteAddress::Inet([198, 51, 100, 0].into())),
        RouteAttribute::Priority(5),
    ];
    message.attributes.extend_from_slice(attributes);
    message
}

fn gateway(last: u8) -> RouteAttribute {
    RouteAttribute::Gateway(RouteAddress::Inet([192, 0, 2, last].into()))
}

fn expected(dev: u32, via: Option<u8>) -> Route {
    Route {
        dst: "198.51.100.0/24".parse().unwrap(),
        via: via.map(|last| [192, 0, 2, last].into()),
        dev,
        metric: 5,
        src: None,
        table: 1000,
    }
}

fn seen(message: &RouteMessage) -> Vec<Route> {
    let mut routes = Routes::default();
    if let Some((key, paths)) = route(&bytes(message)) {
        routes.push(key, paths);
    }
    routes.iter().collect()
}

#[test]
fn a_route() {
    let source = RouteAttribute::PrefSource(RouteAddress::Inet([192, 0, 2, 7].into()));
    let message = route_message(&[gateway(1), RouteAttribute::Oif(3), source]);
    let with_source = Route { src: Some([192, 0, 2, 7].into()), ..expected(3, Some(1)) };
    assert_eq!(seen(&message), [with_source]);
    assert_eq!(seen(&route_message(&[RouteAttribute::Oif(3)])), [expected(3, None)]);
    let over_ipv6 = RouteAttribute::Via(RouteVia::Inet6("fe80::1".parse().unwrap()));
    assert_eq!(seen(&route_message(&[RouteAttribute::Oif(3), over_ipv6])), [expected(3, None)]);

    let mut default = RouteMessage::default();
    default.header.address_family = AddressFamily::Inet;
    default.header.table = RouteHeader::RT_TABLE_MAIN;
    default.header.kind = RouteType::Unicast;
    default.attributes = vec![gateway(1), RouteAttribute::Oif(3)];
    let dst = Default::default();
    assert_eq!(seen(&default), [Route { dst, metric: 0, table: 254, ..expected(3, Some(1)) }]);
}

#[test]
fn a_route_by_several_next_hops() {
    let hop = |interface, via: Option<u8>, flags| {
        let mut hop = RouteNextHop::default();
        hop.interface_index = interface;
        hop.flags = flags;
        hop.attributes = via.map(gateway).into_iter().collect();
        hop
    };
    let none = RouteNextHopFlags::empty();
    let hops = vec![
        hop(3, Some(1), none),
        hop(4, None, none),
        hop(5, Some(2), RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown),
        hop(6, Some(3), RouteNextHopFlags::Linkdown),
    ];
    let message = route_message(&[RouteAttribute::MultiPath(hops)]);
    let all = [expected(3, Some(1)), expected(4, None), expected(6, Some(3))];
    assert_eq!(seen(&message), all);
}

#[test]
fn routes_to_nowhere_are_kept_and_those_of_no_interest_are_not_seen() {
    for kind in [RouteType::Unreachable, RouteType::BlackHole, RouteType::Prohibit] {
        let mut message = route_message(&[]);
        message.header.kind = kind;
        assert_eq!(seen(&message), [expected(0, None)], "{kind:?}");
    }
    // A next hop of which only the number is told.
    assert_eq!(seen(&route_message(&[RouteAttribute::NhId(9)])), [expected(0, None)]);
    for kind in [RouteType::Throw, RouteType::Local, RouteType::Broadcast, RouteType::Multicast] {
        let mut message = route_message(&[RouteAttribute::Oif(3)]);
        message.header.kind = kind;
        assert_eq!(seen(&message), [], "{kind:?}");
    }
    let mut other = route_message(&[RouteAttribute::Oif(3)]);
    other.header.flags = RouteFlags::Cloned;
    assert_eq!(seen(&other), []);
    let mut other = route_message(&[RouteAttribute::Oif(3)]);
    other.header.tos = 8;
    assert_eq!(seen(&other), []);
    let mut other = route_message(&[RouteAttribute::Oif(3)]);
    other.attributes[0] = RouteAttribute::Table(255);
    assert_eq!(seen(&other), []);
}

#[test]
fn cut_off_messages_do_no_harm() {
    let mut hop = RouteNextHop::default();
    hop.attributes = vec![gateway(1)];
    let route_bytes = bytes(&route_message(&[RouteAttribute::MultiPath(vec![hop])]));
    let address_bytes = bytes(&address_message([192, 0, 2, 1].into(), &[]));
    for length in 0..route_bytes.len() {
        let _ = route(&route_bytes[..length]);
    }
    for length in 0..address_bytes.len() {
        assert_eq!(address(&address_bytes[..length]), None);
    }
    assert!(address(&address_bytes).is_some() && link(&[0; 15]).is_none());
}
