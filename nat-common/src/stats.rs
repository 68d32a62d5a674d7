//! Counters, one copy a CPU.
use crate::verdict::Verdict;

/// Packets and the bytes in them.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counter {
    pub packets: u64,
    /// Bytes of the frame from the IPv4 header on; of the whole frame if it is not IPv4.
    pub bytes: u64,
}

/// What became of a rule's packets, by rule identity. What live sessions have carried so far is in
/// their entries and joins `ended_*` when they end.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RuleCounters {
    /// Sessions made.
    pub sessions: u64,
    /// Packets of `route` rules.
    pub routed_packets: u64,
    /// Packets that this rule matched and that were discarded, for whatever reason.
    pub dropped_packets: u64,
    pub ended_packets_out: u64,
    pub ended_packets_in: u64,
    pub ended_bytes_out: u64,
    pub ended_bytes_in: u64,
}

impl RuleCounters {
    /// Both together.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            sessions: self.sessions + other.sessions,
            routed_packets: self.routed_packets + other.routed_packets,
            dropped_packets: self.dropped_packets + other.dropped_packets,
            ended_packets_out: self.ended_packets_out + other.ended_packets_out,
            ended_packets_in: self.ended_packets_in + other.ended_packets_in,
            ended_bytes_out: self.ended_bytes_out + other.ended_bytes_out,
            ended_bytes_in: self.ended_bytes_in + other.ended_bytes_in,
        }
    }
}

/// What a search for ports spends.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// A claim that was tried.
    Try = 0,
    /// A chunk of ports that was looked at, or passed over by its word.
    Look = 1,
}

impl Effort {
    pub const COUNT: u32 = 2;
}

/// The places where packets are seen.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// XDP on an inside interface.
    XdpInside = 0,
    /// XDP on an outside interface.
    XdpOutside = 1,
    /// TC egress on an outside interface.
    TcEgress = 2,
    /// TC ingress on an outside interface.
    TcIngress = 3,
    /// TC ingress on an inside interface.
    TcInside = 4,
}

impl Hook {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::XdpInside, Self::XdpOutside, Self::TcEgress, Self::TcIngress, Self::TcInside];

    /// The name in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::XdpInside => "xdp_inside",
            Self::XdpOutside => "xdp_outside",
            Self::TcEgress => "tc_egress",
            Self::TcIngress => "tc_ingress",
            Self::TcInside => "tc_inside",
        }
    }
}

/// Verdicts a hook has room for in the counter map.
pub const VERDICTS_PER_HOOK: u32 = 64;

/// Entries of the counter map.
pub const COUNTERS: u32 = Hook::ALL.len() as u32 * VERDICTS_PER_HOOK;

const _: () = assert!(Verdict::ALL.len() <= VERDICTS_PER_HOOK as usize);

/// Where the counter map holds a verdict of a hook.
#[inline(always)]
#[must_use]
pub const fn counter_index(hook: Hook, verdict: Verdict) -> u32 {
    hook as u32 * VERDICTS_PER_HOOK + verdict as u32
}
