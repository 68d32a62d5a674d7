//! The data path's clock, read from user space.
use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC_COARSE, the clock of `bpf_ktime_get_coarse_ns`.
pub fn now_ns() -> u64 {
    // The clock exists on every kernel that runs the data path.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map(std::time::Duration::from);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}
