//! From inside to an external address, where a client may hide (RFC 4787 REQ-9): the way out, and then
//! back in as if the packet had been outside in between. The stack would take it in instead, as the
//! address is this machine's.
//!
//! The way back in is that of [`crate::inbound`], on the interface by which the packet would have left:
//! it goes there by a redirection, with a mark that nothing on a wire can carry.
use nat_common::{
    flow::Direction,
    instance::Role,
    packet::{Packet, Transport},
    verdict::Verdict,
};

use crate::{clock, hook::Hook, outbound::way_out};

/// Turns a packet from inside back, if it is for a port that translation uses and that no socket of
/// this machine has. An error that drops nothing means that nothing has been changed.
#[inline(always)]
pub fn turn<H: Hook>(hook: &mut H, packet: &Packet) -> Result<(), Verdict> {
    let fragment = matches!(packet.transport, Transport::Untranslatable(Verdict::Fragment));
    if fragment || packet.is_icmp_error() {
        return turn_part(hook, packet, fragment, clock::now_ns());
    }
    if !hook.unclaimed(packet) {
        return Err(Verdict::LeftUntouched);
    }
    if packet.ttl <= 1 {
        return Err(Verdict::HairpinTtl);
    }
    match way_out(hook, packet, clock::now_ns()) {
        // The rules speak of what leaves outside: without one, this is for the gateway itself.
        Err(Verdict::UnmatchedDrop) => Err(Verdict::LeftUntouched),
        done => done,
    }
}

/// What belongs to a packet that was turned back: an error about it, which for both of its sessions is
/// one like any other (RFC 5508 REQ-7), or a later fragment of it.
#[inline(always)]
fn turn_part<H: Hook>(
    hook: &mut H,
    packet: &Packet,
    fragment: bool,
    now_ns: u64,
) -> Result<(), Verdict> {
    // For an address of this machine, like what it belongs to.
    let route = hook.route(packet, packet.destination, Role::Outside)?;
    if packet.ttl <= 1 {
        return Err(Verdict::LeftUntouched);
    }
    let translated = if fragment {
        hook.fragment(packet, Direction::Outbound)?
    } else {
        hook.error(packet, Direction::Outbound, now_ns)?
    };
    if !translated {
        return Err(Verdict::LeftUntouched);
    }
    hook.send_on(packet, Direction::Outbound, &route)
}
