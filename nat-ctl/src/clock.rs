//! The data path's clock, read from user space.
use std::time::{SystemTime, UNIX_EPOCH};

use nat_common::cooldown::Clocks;
use nix::time::{ClockId, clock_gettime};

/// Both clocks.
pub fn both() -> Clocks {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall_ns = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
    Clocks { monotonic_ns: now_ns(), wall_ns }
}

/// Nanoseconds of CLOCK_MONOTONIC_COARSE, the clock of `bpf_ktime_get_coarse_ns`.
pub fn now_ns() -> u64 {
    // The clock exists on every kernel that runs the data path.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map(std::time::Duration::from);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}
