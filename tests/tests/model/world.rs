//! Who takes part: few addresses and ports, so that everything meets everything.
use std::{net::Ipv4Addr, sync::Arc};

use nat_common::instance::Role;
use nat_tests::{
    lab::{
        Lab, process,
        topology::{CLIENT, CLIENT2, EXTERNAL, INSIDE, SERVER, SERVER2},
    },
    model::{
        host::{Device, Host, Mac},
        rules::Prefix,
    },
};

use super::common::{
    bench::{EXTERNAL2, NEIGHBOUR, laboratory, neighbour_at},
    frames::GATEWAY_MAC,
};

/// A client whose link-layer address the gateway does not know.
const SILENT_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 5);
/// Servers behind the next router.
const FAR: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 51, 100, 9), Ipv4Addr::new(192, 0, 2, 80)];
/// A server whose link-layer address the gateway does not know.
const SILENT_SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);

/// Inside, covered by the rules.
pub const CLIENTS: [Ipv4Addr; 5] =
    [CLIENT, CLIENT, CLIENT2, Ipv4Addr::new(10, 77, 0, 4), SILENT_CLIENT];
/// In no rule by themselves, the gateway among them.
pub const STRANGERS: [Ipv4Addr; 4] =
    [Ipv4Addr::new(192, 168, 7, 7), Ipv4Addr::new(10, 78, 0, 2), EXTERNAL, INSIDE];
/// Outside.
pub const SERVERS: [Ipv4Addr; 6] = [SERVER, SERVER, SERVER2, FAR[0], FAR[1], SILENT_SERVER];
/// Neither here nor there.
pub const ODD_DESTINATIONS: [Ipv4Addr; 9] = [
    INSIDE,
    EXTERNAL,
    CLIENT2,
    STRANGERS[0],
    Ipv4Addr::new(10, 77, 0, 255),
    Ipv4Addr::new(203, 0, 113, 255),
    Ipv4Addr::new(224, 0, 0, 251),
    Ipv4Addr::new(239, 255, 255, 250),
    Ipv4Addr::BROADCAST,
];
/// Below the outside's 1500, so that a reply can be too long for the inside.
const INSIDE_MTU: u16 = 1400;

/// The laboratory, and the model's view of its gateway.
pub fn build() -> (Arc<Lab>, Host) {
    let lab = laboratory().external([EXTERNAL2]).build();
    let mtu = format!("link set lan0 mtu {INSIDE_MTU}\n");
    process::ip(&lab.gateway, &mtu);
    let inside = [CLIENT, CLIENT2, CLIENTS[3]];
    let outside = [SERVER, SERVER2];
    let device = |name: &str, role, mtu, addresses: &[Ipv4Addr], neighbours: &[Ipv4Addr]| {
        for neighbour in neighbours {
            neighbour_at(&lab, name, &neighbour.to_string());
        }
        let [a, b, c, _] = addresses[0].octets();
        Device {
            role,
            mac: mac(&lab, name),
            mtu,
            addresses: addresses.to_vec(),
            on_link: Prefix::new([a, b, c, 0], 24),
            neighbours: neighbours.iter().map(|address| (*address, NEIGHBOUR)).collect(),
        }
    };
    let lan0 = device("lan0", Role::Inside, INSIDE_MTU, &[INSIDE], &inside);
    let wan0 = device("wan0", Role::Outside, 1500, &[EXTERNAL, EXTERNAL2], &outside);
    let host =
        Host { devices: vec![lan0, wan0], link_address: GATEWAY_MAC, default_route: (1, SERVER) };
    (Arc::new(lab), host)
}

/// A device's own link-layer address.
fn mac(lab: &Lab, device: &str) -> Mac {
    let text = process::tool(&lab.gateway, "ip", &["-o", "link", "show", "dev", device]);
    let after = text.split("link/ether ").nth(1).unwrap();
    let bytes: Vec<u8> =
        after[..17].split(':').map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}
