//! What is to rest when the data path is gone: what rests now, and the tuples of live sessions, which
//! their servers will hold as connections for a while. Pure.
use std::collections::HashMap;

use nat_common::{
    addr::{Ipv4, Port},
    cooldown::{Clocks, Cooldown, Reason, Resting},
    flow::{FlowKey, Protocol},
    mapping::Uses,
    session::{self, DELETED},
    settings::Lifetime,
};

use crate::datapath::{Error, SessionPair, State};

/// A boot of a machine: from one to the next, the data path's clock begins anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Boot(pub [u8; 16]);

/// Tuples with the ends of their sessions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// When it was made, and in which boot.
    pub written: Clocks,
    pub boot: Boot,
    pub tuples: Vec<Kept>,
}

/// An external tuple.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    pub tuple: FlowKey,
    /// Why its session ended, or would end if nothing more came.
    pub reason: Reason,
    pub end: End,
    /// As in [`Resting`].
    pub owner: Owner,
}

/// The inside endpoint that may use an external one again although it rests; [`NOBODY`] else.
pub type Owner = (Ipv4, Port);

/// See [`Owner`].
pub const NOBODY: Owner = (Ipv4::UNSPECIFIED, Port::NONE);

/// When a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    At {
        wall_ns: u64,
    },
    /// At some time after the snapshot.
    Live,
}

/// What becomes of the sessions that are live in a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sessions {
    /// They go on: when they will end is not known.
    GoOn,
    /// No program translates their packets any more.
    EndNow,
}

impl Snapshot {
    /// What is to rest, of everything that the data path knows.
    pub fn of(
        state: &impl State,
        sessions: Sessions,
        written: Clocks,
        boot: Boot,
    ) -> Result<Self, Error> {
        let Some(settings) = state.cooldown()? else {
            return Ok(Self { written, boot, tuples: Vec::new() });
        };
        let mut found = Found { settings, written, tuples: Vec::new(), ports: HashMap::new() };
        // Sessions first: one that ends in between is found twice rather than not at all.
        for pair in state.sessions()? {
            found.session(&pair, sessions);
        }
        state.each_resting(&mut |tuple, resting| found.resting(tuple, resting))?;
        let Found { mut tuples, ports, .. } = found;
        tuples.extend(ports.into_values());
        Ok(Self { written, boot, tuples })
    }

    /// What rests by the clocks of this boot, oldest first.
    ///
    /// Whenever it is not known exactly when a session ended, it is the latest time that it can have
    /// been: of one that was live, the beginning of this boot, or now if that was this one.
    pub fn resting(&self, now: Clocks, boot: Boot) -> Vec<(FlowKey, Resting)> {
        let same_boot = self.boot == boot;
        let closed_ns = |end| match end {
            // Whatever has been done to the wall clock since.
            End::At { wall_ns } if same_boot => self.written.from_wall(wall_ns),
            End::At { wall_ns } => earlier(now.from_wall(wall_ns), BOOT_NS),
            End::Live if same_boot => now.monotonic_ns,
            End::Live => BOOT_NS,
        };
        let resting = self.tuples.iter().map(|kept| {
            let (owner, owner_port) = kept.owner;
            let resting = Resting::new(closed_ns(kept.end), kept.reason);
            (kept.tuple, Resting { owner, owner_port, ..resting })
        });
        let mut resting: Vec<_> = resting.collect();
        resting.sort_by_key(|(_, resting)| resting.closed_ns.cast_signed());
        resting
    }
}

/// When a boot begins on its own clock.
const BOOT_NS: u64 = 0;

/// Of two times of the data path's clock, which are signed.
const fn earlier(one_ns: u64, other_ns: u64) -> u64 {
    if one_ns.cast_signed() < other_ns.cast_signed() { one_ns } else { other_ns }
}

/// What has been found so far.
struct Found {
    settings: Cooldown,
    written: Clocks,
    tuples: Vec<Kept>,
    /// What rests toward everybody: a mapping's sessions say so one by one.
    ports: HashMap<FlowKey, Kept>,
}

impl Found {
    /// A tuple that rests already.
    fn resting(&mut self, tuple: &FlowKey, resting: &Resting) {
        let Self { settings, written, .. } = self;
        if !resting.over(settings, written.monotonic_ns) {
            let end = End::At { wall_ns: written.to_wall(resting.closed_ns) };
            let reason = Reason::from_number(resting.reason);
            let owner = (resting.owner, resting.owner_port);
            self.add(Kept { tuple: *tuple, reason, end, owner });
        }
    }

    /// The tuple of a session, unless it need not rest. As in the data path, the external endpoint of
    /// a mapping rests besides.
    fn session(&mut self, pair: &SessionPair, sessions: Sessions) {
        let Some(kept) = of_session(pair, &self.settings, sessions, self.written) else { return };
        self.add(kept);
        if pair.outbound.uses != Uses::NOTHING {
            let owner = (pair.key.local, pair.key.local_port);
            self.add(Kept { tuple: kept.tuple.toward_everybody(), owner, ..kept });
        }
    }

    /// Of what rests toward everybody with one port, the one stays that does so longest.
    fn add(&mut self, kept: Kept) {
        if kept.tuple != kept.tuple.toward_everybody() {
            self.tuples.push(kept);
            return;
        }
        let before_ns = self.ports.get(&kept.tuple).map(|before| self.rests_ns(before));
        if before_ns.is_none_or(|before_ns| before_ns < self.rests_ns(&kept)) {
            self.ports.insert(kept.tuple, kept);
        }
    }

    /// How long it rests from now on; what is live, if it ended now.
    fn rests_ns(&self, kept: &Kept) -> u64 {
        let now_ns = self.written.monotonic_ns;
        let closed_ns = match kept.end {
            End::At { wall_ns } => self.written.from_wall(wall_ns),
            End::Live => now_ns,
        };
        self.settings.remaining_ns(closed_ns, kept.reason, now_ns)
    }
}

/// The tuple of a session, unless it need not rest.
fn of_session(
    pair: &SessionPair,
    settings: &Cooldown,
    sessions: Sessions,
    written: Clocks,
) -> Option<Kept> {
    let SessionPair { key, outbound, .. } = pair;
    let now_ns = written.monotonic_ns;
    let protocol = Protocol::from_number(key.protocol)?;
    let reason = Reason::of(protocol, outbound.connection());
    if settings.wait_ns(reason) == 0 {
        return None;
    }
    let live = session::live(pair.deadline_ns(), now_ns);
    let end = if live && sessions == Sessions::GoOn {
        End::Live
    } else {
        let ended_ns =
            if live || outbound.deadline_ns == DELETED { now_ns } else { pair.deadline_ns() };
        let closed_ns = last_packet_ns(pair, now_ns).unwrap_or(ended_ns);
        if settings.reusable(closed_ns, reason, now_ns) {
            return None;
        }
        End::At { wall_ns: written.to_wall(closed_ns) }
    };
    let tuple = key.translated(outbound.address, outbound.port);
    Some(Kept { tuple, reason, end, owner: NOBODY })
}

/// When a connection had its last packet that is closing: the data path counts from there, too.
fn last_packet_ns(pair: &SessionPair, now_ns: u64) -> Option<u64> {
    let is_closing = pair.outbound.lifetime == Lifetime::TcpClosing as u8;
    let entries = [Some(pair.outbound), pair.inbound].into_iter().flatten();
    let last_ns = entries.map(|entry| session::end_of_tick(entry.refresh_ticks, now_ns)).max();
    last_ns.filter(|_| is_closing)
}

#[cfg(test)]
mod tests;
