//! Sessions: how long they live, and what TCP's flags do to them.
//!
//! A session lives while either direction's deadline is ahead. Each direction keeps its own and
//! moves it at most once a second, so a deadline set now is a second later than configured.
use nat_common::{flow::Direction, limits::REFRESH_INTERVAL_NS};

use super::{
    counters::Weight,
    flow::{Endpoint, Flow, Protocol},
    packet::tcp_flags::{ACK, FIN, RST, SYN},
    rules::Timeouts,
};

/// What decides how long an idle session lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Opening,
    Established,
    Closing,
    Udp,
    Dns,
    Echo,
}

impl Phase {
    /// Of a new session.
    #[must_use]
    pub fn first(flow: &Flow) -> Self {
        match (flow.protocol, flow.remote.1) {
            (Protocol::Tcp, _) => Self::Opening,
            (Protocol::Udp, 53) => Self::Dns,
            (Protocol::Udp, _) => Self::Udp,
            (Protocol::Icmp, _) => Self::Echo,
        }
    }

    fn idle_ns(self, timeouts: &Timeouts) -> u64 {
        let seconds = match self {
            Self::Opening => timeouts.tcp_opening,
            Self::Established => timeouts.tcp_established,
            Self::Closing => timeouts.tcp_closing,
            Self::Udp => timeouts.udp,
            Self::Dns => timeouts.udp_dns,
            Self::Echo => timeouts.icmp,
        };
        seconds * 1_000_000_000
    }

    /// Whether packets of a direction prolong the session. The outside alone keeps nothing open
    /// but TCP connections (RFC 4787 REQ-6).
    fn prolonged_by(self, direction: Direction) -> bool {
        let tcp = matches!(self, Self::Opening | Self::Established | Self::Closing);
        direction == Direction::Outbound || tcp
    }
}

/// What one direction keeps for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Half {
    /// TCP flags that this direction's sender has sent, of FIN, SYN and RST.
    pub sent: u8,
    pub deadline_ns: u64,
    /// From when on a packet moves the deadline again.
    pub refresh_ns: u64,
    pub packets: u64,
    pub bytes: u64,
}

impl Half {
    fn prolong(&mut self, now_ns: u64, idle_ns: u64) {
        self.refresh_ns = now_ns + REFRESH_INTERVAL_NS;
        self.deadline_ns = now_ns + idle_ns + REFRESH_INTERVAL_NS;
    }
}

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    /// As the inside sees it.
    pub flow: Flow,
    pub external: Endpoint,
    /// Name of the rule that made it.
    pub rule: String,
    pub phase: Phase,
    pub created_ns: u64,
    pub out: Half,
    pub back: Half,
}

impl Session {
    /// A session that a packet from inside makes.
    pub(super) fn new(
        flow: Flow,
        external: Endpoint,
        rule: &str,
        flags: u8,
        now_ns: u64,
        timeouts: &Timeouts,
    ) -> Self {
        let phase = Phase::first(&flow);
        let mut half = Half { sent: 0, deadline_ns: 0, refresh_ns: 0, packets: 0, bytes: 0 };
        half.prolong(now_ns, phase.idle_ns(timeouts));
        Self {
            flow,
            external,
            rule: rule.to_owned(),
            phase,
            created_ns: now_ns,
            out: Half { sent: flags & (FIN | SYN | RST), ..half },
            back: half,
        }
    }

    /// When it ends if no packet comes.
    #[must_use]
    pub fn deadline_ns(&self) -> u64 {
        self.out.deadline_ns.max(self.back.deadline_ns)
    }

    #[must_use]
    pub fn live(&self, now_ns: u64) -> bool {
        now_ns < self.deadline_ns()
    }

    /// A direction's own half, then the other.
    fn halves(&mut self, direction: Direction) -> (&mut Half, &mut Half) {
        match direction {
            Direction::Outbound => (&mut self.out, &mut self.back),
            Direction::Inbound => (&mut self.back, &mut self.out),
        }
    }

    /// A direction that has been silent takes over the deadline that the other one has set.
    pub(super) fn look_up(&mut self, direction: Direction, now_ns: u64) {
        let (own, other) = self.halves(direction);
        if own.deadline_ns <= now_ns && other.deadline_ns > now_ns {
            own.deadline_ns = other.deadline_ns;
        }
    }

    /// What a packet does to the session before it is translated.
    pub(super) fn touch(
        &mut self,
        direction: Direction,
        flags: u8,
        weight: Weight,
        now_ns: u64,
        timeouts: &Timeouts,
    ) {
        if self.flow.protocol == Protocol::Tcp && flags & (FIN | SYN | RST) != 0 {
            self.tcp_event(direction, flags, now_ns, timeouts);
        }
        let phase = self.phase;
        let (own, _) = self.halves(direction);
        if now_ns >= own.refresh_ns && phase.prolonged_by(direction) {
            own.prolong(now_ns, phase.idle_ns(timeouts));
        }
        own.packets += weight.packets;
        own.bytes += weight.bytes;
    }

    fn tcp_event(&mut self, direction: Direction, flags: u8, now_ns: u64, timeouts: &Timeouts) {
        let closing = self.tcp_phase() == Phase::Closing;
        let starts_over =
            direction == Direction::Outbound && flags & (SYN | ACK | RST) == SYN && closing;
        if starts_over {
            // The client uses its port again: a new connection on the same mapping.
            self.out.sent = SYN;
            self.back.sent = 0;
        } else {
            self.halves(direction).0.sent |= flags & (FIN | SYN | RST);
        }
        let phase = self.tcp_phase();
        if phase != self.phase {
            self.phase = phase;
            for half in [&mut self.out, &mut self.back] {
                half.prolong(now_ns, phase.idle_ns(timeouts));
            }
        }
    }

    /// What follows from the flags that the two sides have sent.
    fn tcp_phase(&self) -> Phase {
        let both = self.out.sent & self.back.sent;
        let any = self.out.sent | self.back.sent;
        if any & RST != 0 || both & FIN != 0 {
            Phase::Closing
        } else if both & SYN != 0 {
            Phase::Established
        } else {
            Phase::Opening
        }
    }
}
