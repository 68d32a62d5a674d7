//! Whether a packet's way through this machine may be another one now. No more than that is asked of
//! what the kernel announces, but it is asked at once: XDP keeps the ways of sessions, and asks the
//! kernel again after any change.
use std::{collections::HashMap, io, net::IpAddr};

use super::{
    netlink::{Message, Netlink, is_loss, messages},
    parse,
};
use crate::exit::Failure;

const GROUPS: [u32; 7] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV4_NETCONF,
    libc::RTNLGRP_NEXTHOP,
];

/// A subscription to this network namespace.
pub struct Ways {
    netlink: Netlink,
    neighbours: Neighbours,
}

impl Ways {
    /// Subscribes. Changes from here on are noticed.
    pub fn new() -> Result<Self, Failure> {
        let netlink = Netlink::open(&GROUPS).map_err(unwatchable)?;
        Ok(Self { netlink, neighbours: Neighbours::default() })
    }

    /// Waits until a way may have changed. May be given up and called again: nothing is lost.
    pub async fn changed(&mut self) -> Result<(), Failure> {
        loop {
            match self.netlink.receive().await {
                // All of a datagram, so that every neighbour's state is known.
                Ok(datagram) => {
                    let changes = messages(datagram).filter(|one| self.neighbours.change(one));
                    if changes.count() > 0 {
                        return Ok(());
                    }
                }
                Err(error) if is_loss(&error) => {
                    self.netlink.discard().map_err(unwatchable)?;
                    self.neighbours = Neighbours::default();
                    return Ok(());
                }
                Err(error) => return Err(unwatchable(error)),
            }
        }
    }
}

fn unwatchable(cause: io::Error) -> Failure {
    Failure::host(format!("cannot follow changes of this host's ways\n  caused by: {cause}"))
}

/// Link-layer addresses by interface and address, as far as they can be used: the kernel says a word at
/// each step of checking whether a neighbour is still there, most of which change nothing.
#[derive(Debug, Default)]
struct Neighbours(HashMap<(u32, IpAddr), Vec<u8>>);

impl Neighbours {
    /// Takes note of a message; whether it says that a way may have changed.
    fn change(&mut self, message: &Message<'_>) -> bool {
        if !matches!(message.kind, libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH) {
            return true;
        }
        let Some(neighbour) = parse::neighbour(message.payload) else {
            // Of a bridge, say.
            return false;
        };
        let key = (neighbour.index, neighbour.address);
        if message.kind == libc::RTM_DELNEIGH || !neighbour.usable {
            self.0.remove(&key);
            return true;
        }
        let before = self.0.insert(key, neighbour.mac.clone());
        before.is_none_or(|before| before != neighbour.mac)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use netlink_packet_route::{
        AddressFamily,
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    };
    use rtnetlink::packet_core::Emitable as _;

    use super::*;

    fn said(
        neighbours: &mut Neighbours,
        kind: u16,
        family: AddressFamily,
        state: NeighbourState,
        mac: u8,
    ) -> bool {
        let mut neighbour = NeighbourMessage::default();
        neighbour.header.family = family;
        neighbour.header.ifindex = 7;
        neighbour.header.state = state;
        let address = Ipv4Addr::new(192, 0, 2, 1);
        neighbour.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)),
            NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, mac]),
        ];
        let mut payload = vec![0; neighbour.buffer_len()];
        neighbour.emit(&mut payload);
        neighbours.change(&Message::new(kind, &payload))
    }

    #[test]
    fn a_neighbour_that_is_only_looked_after_changes_no_way() {
        use NeighbourState::{Delay, Failed, Incomplete, Probe, Reachable, Stale};
        let mut neighbours = Neighbours::default();
        let mut is =
            |state, mac| said(&mut neighbours, libc::RTM_NEWNEIGH, AddressFamily::Inet, state, mac);
        assert!(is(Reachable, 1), "nothing was known of it");
        for state in [Stale, Delay, Probe, Reachable, Stale] {
            assert!(!is(state, 1), "{state:?}");
        }
        assert!(is(Reachable, 2), "another host has its address");
        assert!(is(Failed, 2));
        assert!(is(Incomplete, 2));
        assert!(is(Reachable, 2), "it is back");
    }

    #[test]
    fn whatever_else_is_said_may_change_a_way() {
        let mut neighbours = Neighbours::default();
        let reachable = NeighbourState::Reachable;
        let (new, del) = (libc::RTM_NEWNEIGH, libc::RTM_DELNEIGH);
        assert!(said(&mut neighbours, new, AddressFamily::Inet, reachable, 1));
        assert!(said(&mut neighbours, del, AddressFamily::Inet, reachable, 1));
        assert!(said(&mut neighbours, new, AddressFamily::Inet, reachable, 1));
        assert!(!said(&mut neighbours, new, AddressFamily::Bridge, reachable, 5));
        for kind in [libc::RTM_NEWROUTE, libc::RTM_DELLINK, libc::RTM_NEWADDR, libc::RTM_DELRULE] {
            assert!(neighbours.change(&Message::new(kind, &[])));
        }
    }
}
