//! What is to rest when the data path is gone: what rests now, and the tuples of live sessions, which
//! their servers will hold as connections for a while. Pure.
use nat_common::{
    cooldown::{Clocks, Cooldown, Reason, Resting},
    flow::{FlowKey, Protocol},
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
}

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
        let mut tuples = Vec::new();
        let Some(settings) = state.cooldown()? else {
            return Ok(Self { written, boot, tuples });
        };
        // Sessions first: one that ends in between is found twice rather than not at all.
        for pair in state.sessions()? {
            tuples.extend(of_session(&pair, &settings, sessions, written));
        }
        state.each_resting(&mut |tuple, resting| {
            if !resting.over(&settings, written.monotonic_ns) {
                let end = End::At { wall_ns: written.to_wall(resting.closed_ns) };
                let reason = Reason::from_number(resting.reason);
                tuples.push(Kept { tuple: *tuple, reason, end });
            }
        })?;
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
            let resting = Resting::new(closed_ns(kept.end), kept.reason);
            (kept.tuple, resting)
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
    Some(Kept { tuple: key.translated(outbound.address, outbound.port), reason, end })
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
