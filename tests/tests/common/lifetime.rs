//! When sessions end: what docs/config.md promises under `[timeouts]`, written down once more.
use std::time::Duration;

/// By how much later than configured a session with this timeout, in seconds, may end: one second,
/// or a 32nd part of a longer timeout. Within it, packets do not move a deadline again.
pub const fn grace(timeout_s: u64) -> Duration {
    let part = Duration::from_nanos(timeout_s * 1_000_000_000 / 32);
    if part.as_nanos() > SECOND.as_nanos() { part } else { SECOND }
}

/// For how long a session with this timeout, in seconds, is there after the packet that has moved its
/// deadline, to the nanosecond: from then on it has ended, whether or not it has been removed.
pub const fn life(timeout_s: u64) -> Duration {
    Duration::from_secs(timeout_s).saturating_add(grace(timeout_s))
}

/// By how much later a port may be found free: what is remembered of ports is in units of 2^22 ns.
pub const LATE: Duration = Duration::from_millis(10);

const SECOND: Duration = Duration::from_secs(1);
