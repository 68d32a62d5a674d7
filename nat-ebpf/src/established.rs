//! The way of nearly all packets at XDP: of a session that goes on as it is, and whose way on it has
//! kept. One look-up, no question to the kernel. Whatever is not so simple goes the way of the first
//! packet, with the same outcome: this is a shorter way, not another one.
use nat_common::{
    flow::{Direction, FlowKey, Protocol},
    packet::Packet,
    session as sessions,
    verdict::Verdict,
};

use crate::{
    entry::Entry,
    hook::Hook,
    stage::{
        redirect,
        session::{self, Live},
    },
};

/// Translates a packet and sends it on; nothing, and nothing changed, for one that has to go the long
/// way.
///
/// What has been asked of the maps before the session is looked up, and what is read of it after
/// everything else, need not wait on the stack.
#[inline(always)]
pub fn forward<H: Hook>(
    hook: &mut H,
    packet: &Packet,
    direction: Direction,
    key: &FlowKey,
    now_ns: u64,
) -> Option<Result<(), Verdict>> {
    if !H::KEEPS_ROUTES || packet.tcp_flags().eventful() {
        return None;
    }
    let protocol = Protocol::from_number(packet.protocol)?;
    let ways = redirect::ways_followed(now_ns);
    let entry = Entry::find(direction, key)?;
    let hop = entry.hop();
    let usable = hop.takes(ways, now_ns, packet.total_length)
        && sessions::live(entry.deadline_ns(), now_ns)
        && entry.belongs_to(key);
    if !usable {
        return None;
    }
    let device = redirect::device(hop.ifindex.into())?;
    if !session::goes_on(entry, direction, key, hook.weight(), now_ns) {
        return None;
    }
    let (to, hop) = (entry.translation(), entry.hop());
    if !entry.belongs_to(key) {
        return Some(Err(Verdict::Contended));
    }
    let route = H::kept_route(&hop, device)?;
    Some(hook.translate(packet, direction, protocol, &to, &route))
}

/// Keeps how a packet of a session leaves, for the next ones.
#[inline(always)]
pub fn keep_route<H: Hook>(live: &Live, route: &H::Route, now_ns: u64) {
    if H::KEEPS_ROUTES
        && let Some(hop) = H::route_to_keep(route, now_ns)
    {
        live.keep_hop(hop);
    }
}
