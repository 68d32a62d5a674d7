//! This machine's own addresses.
use nat_common::{addr::Ipv4, guard::LocalKey};

use super::classify;
use crate::maps::LOCALS;

/// Stands for every interface.
pub const ANY_INTERFACE: u32 = 0;

/// The interface that has an address.
#[inline(always)]
pub fn interface_of(address: Ipv4) -> Option<u32> {
    let generation = classify::generation().ok()?;
    let key = LocalKey { generation, ifindex: ANY_INTERFACE, address };
    // SAFETY: entries of the generation in force are not changed.
    unsafe { LOCALS.get(&key) }.copied()
}

/// Whether an interface, or [`ANY_INTERFACE`], has an address.
#[inline(always)]
pub fn has(ifindex: u32, address: Ipv4) -> bool {
    let Ok(generation) = classify::generation() else {
        return false;
    };
    let key = LocalKey { generation, ifindex, address };
    // SAFETY: the value is not looked at.
    unsafe { LOCALS.get(&key) }.is_some()
}
