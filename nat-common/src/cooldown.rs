//! How long an external tuple rests after its session has ended.
//!
//! A server that closed first keeps its side of a connection in TIME_WAIT and may refuse, or
//! mistake for the old one, a new connection from the same external endpoint (RFC 9293 section
//! 3.6.1). RFC 6888 REQ-8 asks for such a rest, and that its length can be set.
//!
//! Of an ended session only the time and the [`Reason`] of its end are stored, never a time of
//! release: so new settings hold at once for tuples that are resting already.
//!
//! All times are nanoseconds. Those of the data path's clock are signed numbers in two's
//! complement, because a session may have ended before this boot: compare two of them by
//! [`elapsed_ns`], not by `<`. No number means "never": that is the caller's to tell apart.
use crate::{
    addr::{Ipv4, Port},
    flow::{FlowKey, Protocol},
    limits::COOLDOWN_MAX_NS,
    tcp,
};

/// Why a session ended, as far as the far end's memory of it depends on that.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// TCP, closed by both sides; or established and then silent for too long: the server may
    /// still hold it.
    Fin = 2,
    /// TCP, reset.
    Rst = 0,
    /// TCP, an opening that the server did not answer.
    HalfOpen = 1,
    /// UDP and ICMP, which end by silence alone.
    UdpIcmp = 3,
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// The reason of a stored number; unknown numbers give the one with the longest wait by
    /// default. That is not the first or last one: the compiler would then compare a copy of the
    /// number, and the verifier not see that the number is in bounds.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Rst,
            1 => Self::HalfOpen,
            3 => Self::UdpIcmp,
            _ => Self::Fin,
        }
    }

    /// The name used in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
            Self::HalfOpen => "half-open",
            Self::UdpIcmp => "udp-icmp",
        }
    }

    /// Why a session ended whose connection was last in this state.
    ///
    /// A reset after both FINs does not shorten the wait: a server that heeds RFC 1337 stays in
    /// TIME_WAIT.
    #[inline(always)]
    #[must_use]
    pub const fn of(protocol: Protocol, connection: tcp::Connection) -> Self {
        match protocol {
            Protocol::Udp | Protocol::Icmp => Self::UdpIcmp,
            Protocol::Tcp => match connection.state() {
                tcp::State::Init => Self::HalfOpen,
                tcp::State::Transitory => Self::Rst,
                _ => Self::Fin,
            },
        }
    }
}

/// What of an ended session's tuple rests.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The external endpoint toward the same remote endpoint.
    Destination = 0,
    /// The external endpoint toward everybody.
    Port = 1,
}

impl Scope {
    /// The scope of a stored number; unknown numbers give the one that rests more.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Destination,
            _ => Self::Port,
        }
    }
}

/// The settings, as the data path reads them.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cooldown {
    /// How long a tuple rests, by [`Reason`]; 0 is not at all. At most [`COOLDOWN_MAX_NS`].
    pub wait_ns: [u64; Reason::COUNT],
    /// 0: nothing rests. 1: tuples rest.
    pub enabled: u8,
    /// A [`Scope`].
    pub scope: u8,
    /// Whether a resting port is taken when nothing else is free and the new SYN cannot be mistaken
    /// for the old connection: see [`Resting::gives_way`]. 0 or 1.
    pub pressure_reuse: u8,
    pub zero: [u8; 5],
}

const _: () = assert!(size_of::<Cooldown>() == 40);

impl Cooldown {
    /// How long a tuple rests after a session that ended for this reason; 0 is not at all.
    #[inline(always)]
    #[must_use]
    pub const fn wait_ns(&self, reason: Reason) -> u64 {
        if self.enabled == 0 { 0 } else { self.wait_ns[reason as usize] }
    }

    /// How much longer a tuple rests whose session ended at `closed_ns`; 0 when it is free. By
    /// these settings it is free at `now_ns` plus this, and not a nanosecond earlier.
    #[inline(always)]
    #[must_use]
    pub const fn remaining_ns(&self, closed_ns: u64, reason: Reason, now_ns: u64) -> u64 {
        remaining_of_ns(self.wait_ns(reason), closed_ns, now_ns)
    }

    /// [`Cooldown::remaining_ns`] for the number of a reason, whatever that is: the verifier has to
    /// see that it is in bounds.
    #[inline(always)]
    #[must_use]
    pub const fn remaining_by_number_ns(&self, reason: usize, closed_ns: u64, now_ns: u64) -> u64 {
        let wait_ns = if self.enabled == 0 { 0 } else { self.wait_ns[reason % Reason::COUNT] };
        remaining_of_ns(wait_ns, closed_ns, now_ns)
    }

    /// Whether the tuple of a session that ended at `closed_ns` may be used again.
    #[inline(always)]
    #[must_use]
    pub const fn reusable(&self, closed_ns: u64, reason: Reason, now_ns: u64) -> bool {
        self.remaining_ns(closed_ns, reason, now_ns) == 0
    }
}

/// Value of the map of resting tuples: when and why the last session of a tuple ended.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resting {
    /// The data path's clock.
    pub closed_ns: u64,
    /// A [`Reason`].
    pub reason: u8,
    /// Whether [`Resting::next`] is known. 0 or 1.
    pub closed_by_both: u8,
    /// Of an external endpoint that belonged to a mapping, the inside endpoint of that: it may use it
    /// again. Otherwise nobody.
    pub owner_port: Port,
    pub owner: Ipv4,
    /// Of a TCP connection that both sides have closed, and which the server keeps in TIME_WAIT at most:
    /// the sequence number that follows the client's last one.
    pub next: u32,
    pub zero: [u8; 4],
}

const _: () = assert!(size_of::<Resting>() == 24);

/// How long a connection must be silent before its tuple gives way: its last ACK, or the FIN that is sent
/// again because that was lost, may be on its way.
pub const SILENT_NS: u64 = 1_000_000_000;

impl Resting {
    #[inline(always)]
    #[must_use]
    pub const fn new(closed_ns: u64, reason: Reason) -> Self {
        let (owner, owner_port) = (Ipv4::UNSPECIFIED, Port::NONE);
        let reason = reason as u8;
        Self { closed_ns, reason, closed_by_both: 0, owner_port, owner, next: 0, zero: [0; 4] }
    }

    /// The same of a connection that both sides have closed.
    #[inline(always)]
    #[must_use]
    pub const fn closed_by_both(self, next: u32) -> Self {
        Self { closed_by_both: 1, next, ..self }
    }

    /// Whether the tuple may be used before its time by a SYN of this sequence number: a server that
    /// keeps the old connection in TIME_WAIT takes one that lies beyond all that it has seen for a new
    /// connection (RFC 9293 section 3.6.1, RFC 6191 section 2; Linux, `tcp_timewait_state_process`).
    #[inline(always)]
    #[must_use]
    pub const fn gives_way(&self, sequence: u32, now_ns: u64) -> bool {
        self.closed_by_both != 0
            && sequence.wrapping_sub(self.next) as i32 > 0
            && elapsed_ns(self.closed_ns, now_ns) >= SILENT_NS as i64
    }

    /// Whether an inside endpoint may use it, over or not.
    #[inline(always)]
    #[must_use]
    pub fn is_of(&self, inside: (Ipv4, Port)) -> bool {
        self.owner == inside.0 && self.owner_port == inside.1 && inside.0 != Ipv4::UNSPECIFIED
    }

    /// How much longer the tuple rests; 0 when it may be used again.
    #[inline(always)]
    #[must_use]
    pub const fn remaining_ns(&self, settings: &Cooldown, now_ns: u64) -> u64 {
        settings.remaining_ns(self.closed_ns, Reason::from_number(self.reason), now_ns)
    }

    /// Whether the tuple may be used again.
    #[inline(always)]
    #[must_use]
    pub const fn over(&self, settings: &Cooldown, now_ns: u64) -> bool {
        settings.reusable(self.closed_ns, Reason::from_number(self.reason), now_ns)
    }
}

/// Element of the queue of resting tuples, in the order in which their sessions ended. One whose
/// close time is not that of the tuple's [`Resting`] is a rest: the tuple has been used again.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rested {
    pub tuple: FlowKey,
    pub closed_ns: u64,
}

/// What became of resting tuples, a copy for each CPU.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CooldownCounters {
    /// Tuples that began to rest.
    pub rested: u64,
    /// Tuples given up before their time, because there was no room for more (`max_cooling`).
    pub released_early: u64,
    /// Tuples used before their time by [`Cooldown::pressure_reuse`].
    pub reused_early: u64,
}

#[inline(always)]
const fn remaining_of_ns(wait_ns: u64, closed_ns: u64, now_ns: u64) -> u64 {
    let elapsed_ns = elapsed_ns(closed_ns, now_ns);
    if wait_ns == 0 {
        0
    } else if elapsed_ns < 0 {
        wait_ns.saturating_add(elapsed_ns.unsigned_abs())
    } else {
        wait_ns.saturating_sub(elapsed_ns as u64)
    }
}

/// Time since a session's end; negative where that is still ahead, as it can be for a moment when
/// another CPU has read the clock.
#[inline(always)]
#[must_use]
pub const fn elapsed_ns(closed_ns: u64, now_ns: u64) -> i64 {
    now_ns.wrapping_sub(closed_ns) as i64
}

/// The data path's clock and the wall clock, read at one moment: what translates between the close
/// times in the maps and those in a file that outlives a boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clocks {
    /// The data path's clock.
    pub monotonic_ns: u64,
    /// Since 1970 in UTC.
    pub wall_ns: u64,
}

impl Clocks {
    /// A close time by the wall clock.
    #[must_use]
    pub const fn to_wall(self, closed_ns: u64) -> u64 {
        let elapsed_ns = elapsed_ns(closed_ns, self.monotonic_ns);
        if elapsed_ns < 0 {
            self.wall_ns.saturating_add(elapsed_ns.unsigned_abs())
        } else {
            // Nearer than the truth where the wall clock has not been set: never too early.
            self.wall_ns.saturating_sub(elapsed_ns as u64)
        }
    }

    /// A close time by the data path's clock of this boot: never earlier than the wall clock says
    /// that it was, and never ahead. One that lies ahead, because the wall clock was set back since
    /// or is not set yet, counts as now: the tuple rests for its whole time once more. One longer
    /// ago than anything rests counts as that long ago.
    ///
    /// A wall clock that was set forward since releases tuples too early by as much: nobody can
    /// tell that from a long time without power.
    #[must_use]
    pub const fn from_wall(self, closed_wall_ns: u64) -> u64 {
        let elapsed_ns = self.wall_ns.saturating_sub(closed_wall_ns);
        let elapsed_ns = if elapsed_ns < COOLDOWN_MAX_NS { elapsed_ns } else { COOLDOWN_MAX_NS };
        self.monotonic_ns.wrapping_sub(elapsed_ns)
    }
}

#[cfg(test)]
mod tests;
