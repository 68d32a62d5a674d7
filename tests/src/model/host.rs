//! The gateway as the kernel sees it: what a packet's destination means to it.
use std::{collections::HashMap, net::Ipv4Addr};

use nat_common::{instance::Role, verdict::Verdict};

use super::rules::Prefix;

pub type Mac = [u8; 6];

/// An interface.
#[derive(Clone, Debug)]
pub struct Device {
    pub role: Role,
    pub mac: Mac,
    pub mtu: u16,
    /// Its addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// What can be reached without another router.
    pub on_link: Prefix,
    /// Known neighbours.
    pub neighbours: HashMap<Ipv4Addr, Mac>,
}

/// The gateway.
#[derive(Clone, Debug)]
pub struct Host {
    pub devices: Vec<Device>,
    /// Where frames for it go, on every interface.
    pub link_address: Mac,
    /// The default route: position of the device, and the router.
    pub default_route: (usize, Ipv4Addr),
}

/// How a packet leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    pub source: Mac,
    pub destination: Mac,
}

impl Host {
    /// Device and next hop of a packet that the gateway would forward; none for its own addresses,
    /// broadcasts, and what may not be forwarded at all.
    pub(super) fn route(&self, destination: Ipv4Addr) -> Option<(&Device, Ipv4Addr)> {
        if self.has(destination) || !one_host(destination) {
            return None;
        }
        let on_link = self.devices.iter().find(|device| device.on_link.holds(destination));
        match on_link {
            Some(device) if device.is_broadcast(destination) => None,
            Some(device) => Some((device, destination)),
            None => {
                let (position, router) = self.default_route;
                Some((self.devices.get(position)?, router))
            }
        }
    }

    /// Whether the stack would forward a packet to this destination.
    #[must_use]
    pub fn forwards(&self, destination: Ipv4Addr) -> bool {
        self.route(destination).is_some()
    }

    /// Whether an address is the gateway's own.
    #[must_use]
    pub fn has(&self, address: Ipv4Addr) -> bool {
        self.devices.iter().any(|device| device.addresses.contains(&address))
    }

    /// Whether an outside interface has this address: the gateway's packets leave by one only.
    #[must_use]
    pub fn outside_has(&self, address: Ipv4Addr) -> bool {
        let mut outside = self.devices.iter().filter(|device| device.role == Role::Outside);
        outside.any(|device| device.addresses.contains(&address))
    }

    /// The next hop of a packet that is to leave by an interface of this role, or why it is left to
    /// the stack.
    pub fn next_hop(&self, destination: Ipv4Addr, length: u16, by: Role) -> Result<Hop, Verdict> {
        let (device, router) = self.route(destination).ok_or(Verdict::LeftRoute)?;
        if length > device.mtu {
            return Err(Verdict::LeftMtu);
        }
        let neighbour = device.neighbours.get(&router).ok_or(Verdict::LeftNeighbour)?;
        if device.role != by {
            return Err(Verdict::LeftRoute);
        }
        Ok(Hop { source: device.mac, destination: *neighbour })
    }
}

/// Whether an address can be that of one host (RFC 1122 section 3.2.1.3).
pub(super) fn one_host(address: Ipv4Addr) -> bool {
    let this_network = Prefix::new([0, 0, 0, 0], 8).holds(address);
    let reserved = Prefix::new([240, 0, 0, 0], 4).holds(address);
    !(this_network || address.is_loopback() || address.is_multicast() || reserved)
}

impl Device {
    fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        let host_bits = u32::MAX.checked_shr(u32::from(self.on_link.length)).unwrap_or(0);
        u32::from(address) & host_bits == host_bits
    }
}
