//! Where a packet has come from: forged sources are dropped before anything else is done for them.
use core::ffi::c_void;

use aya_ebpf::maps::lpm_trie::Key;
use nat_common::{addr::Ipv4, guard::Arrival, packet::Packet, rule::PrefixKey, verdict::Verdict};

use super::{classify, redirect};
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
    match arrival(source, ifindex) {
        Arrival::Free => GENUINE,
        Arrival::Elsewhere => Verdict::SpoofedSource as u8,
        // A host that asks for its address has none yet (RFC 2131 section 4.1).
        Arrival::Guarded if source == Ipv4::UNSPECIFIED => GENUINE,
        Arrival::Guarded => match redirect::way_back(ctx, source, destination, ifindex) {
            Some(back) if back == ifindex => GENUINE,
            _ => Verdict::NoReversePath as u8,
        },
    }
}

#[inline(always)]
fn arrival(source: Ipv4, ifindex: u32) -> Arrival {
    // Before the first rules are in force nothing is known of networks.
    let Ok(generation) = classify::generation() else {
        return Arrival::Free;
    };
    match classify::settings(generation) {
        Ok(settings) if settings.guarded != 0 => {}
        _ => return Arrival::Free,
    }
    let key = Key::new(PrefixKey::BITS, PrefixKey { generation, address: source });
    GUARDS.get(&key).map_or(Arrival::Free, |guard| guard.arrival(ifindex))
}
