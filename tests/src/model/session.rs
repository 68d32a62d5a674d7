//! Sessions: how long they live, and what becomes of their TCP connections.
//!
//! A session lives while either direction's deadline is ahead. Each direction keeps its own and
//! moves it at most once in a second, or in a 32nd part of a longer timeout, so a deadline set now is
//! that much later than configured. Of a connection that is over every packet counts: the last one is
//! when it was closed.
use nat_common::flow::Direction;

use super::{
    cooldown::End,
    counters::Weight,
    flow::{Endpoint, Flow, Protocol},
    mappings::Uses,
    packet::Segment,
    rules::Timeouts,
    tcp::{Connection, Meaning, Stream},
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

    /// Until when a packet keeps open what it keeps open.
    pub(super) fn deadline_ns(self, now_ns: u64, timeouts: &Timeouts) -> u64 {
        now_ns + self.idle_ns(timeouts) + self.pause_ns(timeouts)
    }

    /// For how long a deadline stays where it is: a second, or a thirty-second part of a longer timeout.
    fn pause_ns(self, timeouts: &Timeouts) -> u64 {
        (self.idle_ns(timeouts) >> 5).max(1_000_000_000)
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
    pub deadline_ns: u64,
    /// From when on a packet moves the deadline again.
    pub refresh_ns: u64,
    pub packets: u64,
    pub bytes: u64,
}

impl Half {
    fn prolong(&mut self, now_ns: u64, phase: Phase, timeouts: &Timeouts) {
        let pause_ns = if phase == Phase::Closing { 0 } else { phase.pause_ns(timeouts) };
        // Kept in units of 2^22 ns.
        self.refresh_ns = (now_ns + pause_ns) >> 22 << 22;
        self.deadline_ns = phase.deadline_ns(now_ns, timeouts);
    }
}

/// What a packet means for what is beside its session.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Touch {
    /// Until when it keeps a mapping open, if at all: whoever is outside keeps none, unless both sides
    /// have opened the connection (RFC 4787 REQ-6).
    pub open_ns: Option<u64>,
    /// Whether it is the last one of a connection that is over, until a later one comes.
    pub closes: bool,
}

/// What a session is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Birth<'a> {
    pub flow: Flow,
    pub external: Endpoint,
    /// Name of the rule.
    pub rule: &'a str,
    /// TCP: the SYN.
    pub first: Option<Segment>,
    /// Of the packet.
    pub from: Direction,
    pub uses: Option<Uses>,
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
    /// When the last packet came that has moved a deadline or the phase.
    last_ns: u64,
    pub out: Half,
    pub back: Half,
    /// Of TCP.
    pub connection: Option<Connection>,
    /// What it shares with other sessions.
    pub uses: Option<Uses>,
}

impl Session {
    /// A session that a packet of a direction makes.
    pub(super) fn new(birth: &Birth<'_>, now_ns: u64, timeouts: &Timeouts) -> Self {
        let Birth { flow, external, rule, first, from, uses } = *birth;
        let phase = Phase::first(&flow);
        let mut half = Half { deadline_ns: 0, refresh_ns: 0, packets: 0, bytes: 0 };
        half.prolong(now_ns, phase, timeouts);
        Self {
            flow,
            external,
            rule: rule.to_owned(),
            phase,
            created_ns: now_ns,
            last_ns: now_ns,
            out: half,
            back: half,
            connection: first.map(|syn| Connection::new(&syn, from)),
            uses,
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

    /// The flow as the outside sees it.
    #[must_use]
    pub fn outside(&self) -> Flow {
        self.flow.with_local(self.external)
    }

    /// Whether its connection is over but for late packets.
    #[must_use]
    pub fn closing(&self) -> bool {
        self.phase == Phase::Closing
    }

    /// When its connection was closed, if that is over.
    #[must_use]
    pub fn closed_ns(&self) -> Option<u64> {
        self.closing().then_some(self.last_ns)
    }

    /// The same as it is kept: in units of 2^22 ns, upwards.
    #[must_use]
    pub fn kept_ns(&self) -> Option<u64> {
        let last_ns = self.out.refresh_ns.max(self.back.refresh_ns);
        self.closing().then_some(((last_ns >> 22) + 1) << 22)
    }

    /// When it was over, if it is, whoever removes it.
    #[must_use]
    pub fn over(&self, now_ns: u64) -> Option<End> {
        let ended_ns = (!self.live(now_ns)).then(|| self.deadline_ns());
        Some(End::of(self, self.closed_ns().or(ended_ns)?))
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

    /// What a packet does to the session before it is translated. Returns what follows from it.
    pub(super) fn touch(
        &mut self,
        direction: Direction,
        segment: Option<Segment>,
        now_ns: u64,
        timeouts: &Timeouts,
    ) -> Touch {
        let before = self.phase;
        if let (Some(connection), Some(segment)) = (&mut self.connection, segment) {
            if connection.take(direction, &segment) == Meaning::Nothing {
                return Touch::default();
            }
            let phase = connection.phase();
            if phase != self.phase {
                self.phase = phase;
                for half in [&mut self.out, &mut self.back] {
                    half.prolong(now_ns, phase, timeouts);
                }
                self.last_ns = now_ns;
            }
        }
        let phase = self.phase;
        let (own, _) = self.halves(direction);
        let due = now_ns >= own.refresh_ns && phase.prolonged_by(direction);
        if due {
            own.prolong(now_ns, phase, timeouts);
            self.last_ns = now_ns;
        }
        let known = direction == Direction::Outbound || phase == Phase::Established;
        let opens = known && (due || phase != before);
        let open_ns = opens.then(|| phase.deadline_ns(now_ns, timeouts));
        Touch { open_ns, closes: self.closing() }
    }

    /// A packet is counted, whatever else it is.
    pub(super) fn count(&mut self, direction: Direction, weight: Weight) {
        let (own, _) = self.halves(direction);
        own.packets += weight.packets;
        own.bytes += weight.bytes;
    }

    /// What the sender of a direction has sent, if this is TCP; then what the other one has.
    #[must_use]
    pub fn streams(&self, direction: Direction) -> Option<(Stream, Stream)> {
        let connection = self.connection.as_ref()?;
        let (client, server) = (connection.client, connection.server);
        Some(match direction {
            Direction::Outbound => (client, server),
            Direction::Inbound => (server, client),
        })
    }
}
