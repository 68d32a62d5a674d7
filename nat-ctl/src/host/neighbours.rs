//! Neighbours that only XDP sends to. The kernel looks from time to time whether a neighbour that it sends
//! to is still there; of what XDP sends it knows nothing, and would believe for ever.
use std::{collections::BTreeSet, net::IpAddr};

use futures_util::TryStreamExt as _;
use netlink_packet_route::{
    AddressFamily,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
};
use rtnetlink::Handle;

use super::network::ask;
use crate::{datapath::NextHop, exit::Failure};

/// Tells the kernel that these neighbours are in use: it then asks those that have been silent for too
/// long (NTF_USE of net/core/neighbour.c), and announces what comes of it.
pub async fn look_after(in_use: &BTreeSet<NextHop>) -> Result<(), Failure> {
    if in_use.is_empty() {
        return Ok(());
    }
    ask(async |handle| {
        let mut silent = Vec::new();
        let mut all = handle.neighbours().get().set_address_family(AddressFamily::Inet).execute();
        while let Some(neighbour) = all.try_next().await? {
            if neighbour.header.state == NeighbourState::Stale {
                silent.extend(next_hop(&neighbour).filter(|(hop, _)| in_use.contains(hop)));
            }
        }
        for (hop, address) in silent {
            using(handle, hop, address).await?;
        }
        Ok(())
    })
    .await
}

/// A neighbour as what packets are sent to, and its address.
fn next_hop(neighbour: &NeighbourMessage) -> Option<(NextHop, IpAddr)> {
    let (mut mac, mut address) = (None, None);
    for attribute in &neighbour.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => {
                address = Some(IpAddr::V4(*ip));
            }
            _ => {}
        }
    }
    Some((NextHop { ifindex: neighbour.header.ifindex, mac: mac? }, address?))
}

async fn using(handle: &Handle, hop: NextHop, address: IpAddr) -> Result<(), rtnetlink::Error> {
    let mut request = handle.neighbours().add(hop.ifindex, address).replace();
    request = request.state(NeighbourState::None).flags(NeighbourFlags::Use);
    request.execute().await
}
