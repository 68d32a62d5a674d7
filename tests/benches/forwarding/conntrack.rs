//! Room for the kernel's own sessions, which one number of the whole machine limits.
use std::fs;

const LIMIT: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// As many as the other systems have room for.
const ENOUGH: u64 = 1 << 20;

/// The machine has the limit that it had before when this value is dropped.
pub struct Room {
    before: Option<u64>,
}

impl Room {
    /// Raises the limit if it is lower. Where that cannot be done, the kernel drops packets, which the
    /// report counts as lost.
    pub fn make() -> Self {
        let read = fs::read_to_string(LIMIT).ok();
        let before = read.and_then(|text| text.trim().parse().ok()).filter(|limit| *limit < ENOUGH);
        if before.is_some()
            && let Err(error) = fs::write(LIMIT, ENOUGH.to_string())
        {
            eprintln!("{LIMIT} stays as it is ({error}): nftables will lose packets");
        }
        Self { before }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(before) = self.before
            && let Err(error) = fs::write(LIMIT, before.to_string())
        {
            eprintln!("{LIMIT} was {before}: {error}");
        }
    }
}
