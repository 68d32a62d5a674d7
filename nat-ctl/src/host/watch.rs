//! Changes of links, addresses, rules and IPv4 routes, as the kernel announces them.
use std::{io, time::Duration};

use netlink_packet_route::link::{LinkFlags, LinkHeader};
use rtnetlink::packet_core::{NLM_F_APPEND, NLM_F_EXCL, NLM_F_REPLACE};
use tokio::time::{Instant, timeout_at};

use super::{
    netlink::{Message, Netlink, is_loss, messages},
    parse,
    routes::{RouteChange, RouteEvent},
};
use crate::exit::Failure;

/// Changes come in bursts; what comes within this time is looked at together.
const BURST: Duration = Duration::from_millis(10);

/// Room for announcements that wait to be read, in bytes of the kernel's memory: some ten thousand
/// routes. Whatever is more is lost, and then everything is read again.
const ROOM_BYTES: usize = 16 << 20;

const GROUPS: [u32; 5] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_NEXTHOP,
];

/// include/uapi/linux/rtnetlink.h; not in libc.
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;

/// Something that has happened; what [`super::Network::follow`] wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change(pub(super) Event);

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// A link has changed; whether it is up now, and whether that is what has changed.
    Link {
        index: u32,
        up: bool,
        turned: bool,
    },
    LinkRemoved,
    /// An address is new or has changed: of which link.
    Address {
        index: u32,
    },
    AddressRemoved,
    Rule,
    Route(RouteEvent),
    /// An object of `ip nexthop`, to which routes may refer.
    NextHop,
    /// The kernel had more to say than there was room for.
    Lost,
}

/// A subscription to this network namespace.
pub struct Watch {
    netlink: Netlink,
    pending: Vec<Change>,
    /// When [`Self::pending`] is handed out.
    burst_ends: Option<Instant>,
}

impl Watch {
    /// Subscribes. Changes from here on are announced.
    pub fn new() -> Result<Self, Failure> {
        Self::with_room(ROOM_BYTES)
    }

    /// Subscribes with other room than usual.
    pub fn with_room(bytes: usize) -> Result<Self, Failure> {
        let open = || {
            let netlink = Netlink::open(&GROUPS)?;
            netlink.set_room(bytes)?;
            Ok(netlink)
        };
        let netlink = open().map_err(unwatchable)?;
        Ok(Self { netlink, pending: Vec::new(), burst_ends: None })
    }

    /// Waits until something has changed, and a moment more for what comes with it. May be given
    /// up and called again: nothing is lost.
    pub async fn changes(&mut self) -> Result<Vec<Change>, Failure> {
        while self.pending.is_empty() {
            self.receive().await?;
        }
        let ends = *self.burst_ends.get_or_insert_with(|| Instant::now() + BURST);
        while let Ok(received) = timeout_at(ends, self.receive()).await {
            received?;
        }
        self.burst_ends = None;
        Ok(std::mem::take(&mut self.pending))
    }

    /// Forgets what has been announced until now: whoever calls this reads everything.
    pub(super) fn discard(&mut self) -> Result<(), Failure> {
        self.pending.clear();
        self.burst_ends = None;
        self.netlink.discard().map_err(unwatchable)
    }

    async fn receive(&mut self) -> Result<(), Failure> {
        match self.netlink.receive().await {
            Ok(datagram) => self.pending.extend(messages(datagram).filter_map(event).map(Change)),
            Err(error) if is_loss(&error) => self.pending.push(Change(Event::Lost)),
            Err(error) => return Err(unwatchable(error)),
        }
        Ok(())
    }
}

fn unwatchable(cause: io::Error) -> Failure {
    Failure::host(format!("cannot follow changes of this host\n  caused by: {cause}"))
}

/// What a message says; None if it is of no interest. One that cannot be read is as good as lost.
fn event(message: Message<'_>) -> Option<Event> {
    let event = match message.kind {
        libc::RTM_NEWLINK => link(message.payload).unwrap_or(Event::Lost),
        libc::RTM_DELLINK => Event::LinkRemoved,
        libc::RTM_NEWADDR => {
            let address = parse::address(message.payload);
            address.map_or(Event::Lost, |(index, _)| Event::Address { index })
        }
        libc::RTM_DELADDR => Event::AddressRemoved,
        libc::RTM_NEWRULE | libc::RTM_DELRULE => Event::Rule,
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => {
            let what = route_change(message.kind, message.flags);
            let (key, paths) = parse::route(message.payload)?;
            Event::Route(RouteEvent { what, key, paths })
        }
        RTM_NEWNEXTHOP | RTM_DELNEXTHOP => Event::NextHop,
        _ => return None,
    };
    Some(event)
}

fn link(payload: &[u8]) -> Option<Event> {
    let header = LinkHeader::parse(payload).ok()?;
    Some(Event::Link {
        index: header.index,
        up: header.flags.contains(LinkFlags::Up),
        turned: header.change_mask.contains(LinkFlags::Up),
    })
}

/// The flags say what the kernel has done, not what it was asked to do (net/ipv4/fib_trie.c,
/// `fib_table_insert`): EXCL where there was no route of the key.
fn route_change(kind: u16, flags: u16) -> RouteChange {
    match kind {
        libc::RTM_DELROUTE => RouteChange::Removed,
        _ if flags & NLM_F_REPLACE != 0 => RouteChange::Replaced,
        _ if flags & NLM_F_EXCL != 0 && flags & NLM_F_APPEND == 0 => RouteChange::Only,
        _ => RouteChange::Beside,
    }
}
