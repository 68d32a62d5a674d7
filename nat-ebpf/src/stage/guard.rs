//! Where a packet has come from: forged sources are dropped before anything else is done for them.
use core::ffi::c_void;

use aya_ebpf::maps::lpm_trie::Key;
use nat_common::{
    addr::Ipv4,
    guard::{Arrival, Guard},
    packet::Packet,
    rule::PrefixKey,
    verdict::Verdict,
};

use super::{
    classify,
    redirect::{self, WayBack},
};
use crate::maps::GUARDS;

/// Judges a packet that arrived by an interface. `ctx` is the context of the running program.
#[inline(always)]
pub fn check(ctx: *mut c_void, packet: &Packet, ifindex: u32) -> Result<(), Verdict> {
    match judge(ctx, packet.source.to_be32(), packet.destination.to_be32(), ifindex) {
        GENUINE => Ok(()),
        verdict => Err(Verdict::from_number(verdict)),
    }
}

/// Result of [`judge`] that is no verdict.
const GENUINE: u8 = u8::MAX;

/// A function of its own: few gateways ask for it, and the others' packets should not pay for it
/// with stack, nor the verifier walk what comes after it once for each answer. Addresses are in
/// network byte order.
#[inline(never)]
fn judge(ctx: *mut c_void, source: u32, destination: u32, ifindex: u32) -> u8 {
    let (source, destination) = (Ipv4::from_be32(source), Ipv4::from_be32(destination));
    let Some(guard) = guard(source) else {
        return GENUINE;
    };
    match guard.arrival(ifindex) {
        Arrival::Free => GENUINE,
        Arrival::Elsewhere => Verdict::SpoofedSource as u8,
        // A host that asks for its address, or for a group's packets, has none yet (RFC 2131 section
        // 4.1, RFC 3376 section 4.2.13).
        Arrival::Guarded if source == Ipv4::UNSPECIFIED && !destination.is_unicast() => GENUINE,
        Arrival::Guarded => match redirect::way_back(ctx, source, destination, ifindex) {
            WayBack::By(back) if back == ifindex => GENUINE,
            // A route of several next hops has several ways back, of which one was answered. The
            // network is at home on both.
            WayBack::By(back) if guard.names(back) => {
                match redirect::reaches(ctx, source, ifindex) {
                    true => GENUINE,
                    false => Verdict::NoReversePath as u8,
                }
            }
            WayBack::By(_) | WayBack::None => Verdict::NoReversePath as u8,
            WayBack::Unasked => GENUINE,
        },
    }
}

/// What is asked of packets from a source, if anything is.
#[inline(always)]
fn guard(source: Ipv4) -> Option<&'static Guard> {
    // Before the first rules are in force nothing is known of networks.
    let generation = classify::generation().ok()?;
    if classify::settings(generation).ok()?.guarded == 0 {
        return None;
    }
    GUARDS.get(Key::new(PrefixKey::BITS, PrefixKey { generation, address: source }))
}
