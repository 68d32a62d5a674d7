//! The data path's clock.
use aya_ebpf::{Global, helpers::generated::bpf_ktime_get_coarse_ns};

use crate::maps::TEST_CLOCK;

/// 0: the kernel's clock. 1: the number in [`TEST_CLOCK`], so that tests move the time of the very
/// object that ships. Set before loading, frozen after: the verifier removes the other branch.
#[unsafe(no_mangle)]
static CLOCK_IS_TEST: Global<u8> = Global::new(0);

/// Nanoseconds of CLOCK_MONOTONIC_COARSE, which moves once a tick and costs little.
#[inline(always)]
pub fn now_ns() -> u64 {
    if CLOCK_IS_TEST.load() != 0 {
        return TEST_CLOCK.get(0).copied().unwrap_or(0);
    }
    // SAFETY: the helper has no precondition.
    unsafe { bpf_ktime_get_coarse_ns() }
}
