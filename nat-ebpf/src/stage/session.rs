//! Key → session: found, kept alive, ended. [`super::open`] makes them.
use nat_common::{
    flow::{Direction, FlowKey},
    limits::REFRESH_INTERVAL_NS,
    session::{self, DELETED},
    settings::Lifetime,
    tcp,
    verdict::Verdict,
};

use crate::{
    entry::{Entry, Translation},
    hook::Weight,
    maps::{INBOUND, OUTBOUND},
    stage::{classify, stats},
};

/// What a look-up found.
#[derive(Clone, Copy)]
pub enum Found {
    /// A live session.
    Live(Live),
    /// A session whose time is up; its entries are still there.
    Ended,
    /// Nothing.
    Absent,
}

/// A live session, as seen by one direction.
#[derive(Clone, Copy)]
pub struct Live {
    entry: Entry,
    pub to: Translation,
}

/// Looks a packet's session up. Changes nothing that a later look-up would see differently.
#[inline(always)]
pub fn find(direction: Direction, key: &FlowKey, now_ns: u64) -> Result<Found, Verdict> {
    let Some(entry) = Entry::find(direction, key) else {
        return Ok(Found::Absent);
    };
    let to = entry.translation();
    let deadline_ns = entry.deadline_ns();
    if !entry.belongs_to(key) {
        return Err(Verdict::Contended);
    }
    if !session::live(deadline_ns, now_ns) {
        // This direction has been silent; the other one may have kept the session alive.
        let other = Entry::find(direction.reverse(), &key.translated(to.address, to.port));
        match other.map(Entry::deadline_ns) {
            // Whoever moves this one at the same moment keeps the session alive as well.
            Some(other_ns) if session::live(other_ns, now_ns) => {
                entry.move_deadline(deadline_ns, other_ns);
            }
            _ => return Ok(Found::Ended),
        }
    }
    Ok(Found::Live(Live { entry, to }))
}

/// What a packet that will be translated does to its session.
#[inline(always)]
pub fn touch(
    live: &Live,
    direction: Direction,
    key: &FlowKey,
    flags: tcp::Flags,
    weight: Weight,
    now_ns: u64,
) {
    let entry = live.entry;
    if flags.events() != tcp::Flags::NONE {
        tcp_event(live, direction, key, flags, now_ns);
    }
    if now_ns >= entry.refresh_ns() && entry.lifetime().refreshed_by(direction) {
        refresh(entry, now_ns);
    }
    entry.count(weight.packets, weight.bytes);
}

/// Moves an entry's deadline. Once more if the session has entered another state meanwhile, so that
/// the last deadline is that of the last state.
#[inline(always)]
fn refresh(entry: Entry, now_ns: u64) {
    for _ in 0..2 {
        let lifetime = entry.lifetime();
        let before_ns = entry.deadline_ns();
        let Ok(timeout_ns) = timeout_ns(lifetime) else {
            return;
        };
        if before_ns == DELETED {
            return;
        }
        entry.set_refresh_ns(now_ns + REFRESH_INTERVAL_NS);
        entry.move_deadline(before_ns, session::deadline(now_ns, timeout_ns));
        if entry.lifetime() as u8 == lifetime as u8 {
            return;
        }
    }
}

#[inline(always)]
fn timeout_ns(lifetime: Lifetime) -> Result<u64, Verdict> {
    let settings = classify::settings(classify::generation()?)?;
    Ok(settings.timeout_ns(lifetime))
}

/// SYN, FIN and RST: the only time that one direction looks at the other.
#[inline(always)]
fn tcp_event(live: &Live, direction: Direction, key: &FlowKey, flags: tcp::Flags, now_ns: u64) {
    let entry = live.entry;
    let other_key = key.translated(live.to.address, live.to.port);
    let Some(other) = Entry::find(direction.reverse(), &other_key) else {
        return;
    };
    // Both sides may send their FIN at once, on two CPUs: write, pass a barrier, then read, so
    // that at least one of them sees both.
    let before = entry.seen();
    let noted = before.with(flags.events());
    entry.set_seen(noted);
    entry.barrier();
    let other_seen = other.seen();
    let change = session::tcp_event(direction, flags, before, other_seen);
    // The connection starts over, perhaps with nothing heard from the other side yet.
    let starts_over = change.seen != noted || change.other_seen != other_seen;
    if starts_over {
        entry.set_seen(change.seen);
        other.set_seen(change.other_seen);
    }
    for one in [entry, other] {
        if starts_over {
            one.set_lifetime(change.lifetime);
            refresh(one, now_ns);
        } else {
            advance(one, change.lifetime, now_ns);
        }
    }
}

/// Moves one direction's entry on to another state of its connection.
///
/// Not inlined: the verifier would follow its loops anew from every place where it stood.
#[inline(never)]
fn advance(entry: Entry, lifetime: Lifetime, now_ns: u64) {
    if entry.advance_lifetime(lifetime) {
        refresh(entry, now_ns);
    }
}

/// Whether the session that holds an inbound key has ended; its outbound key if so.
#[inline(always)]
pub fn ended_at(claim: &FlowKey, now_ns: u64) -> Option<FlowKey> {
    let inbound = Entry::find(Direction::Inbound, claim)?;
    let to = inbound.translation();
    let deadline_ns = inbound.deadline_ns();
    if !inbound.belongs_to(claim) || session::live(deadline_ns, now_ns) {
        return None;
    }
    let key = claim.translated(to.address, to.port);
    let outbound = Entry::find(Direction::Outbound, &key)?;
    (!session::live(outbound.deadline_ns(), now_ns)).then_some(key)
}

/// Removes a session whose time is up, by the key of its outbound entry. Does nothing to a live
/// session; of several CPUs that try at once, one removes it. Returns whether this one did.
///
/// Not inlined: it stands in loops.
#[inline(never)]
pub fn end(key: &FlowKey, now_ns: u64) -> bool {
    let Some(outbound) = Entry::find(Direction::Outbound, key) else {
        return false;
    };
    let to = outbound.translation();
    let rule = outbound.rule();
    let deadline_ns = outbound.deadline_ns();
    if !outbound.belongs_to(key) || deadline_ns == DELETED || session::live(deadline_ns, now_ns) {
        return false;
    }
    let inbound_key = key.translated(to.address, to.port);
    let inbound = Entry::find(Direction::Inbound, &inbound_key);
    let inbound_ns = inbound.map_or(DELETED, Entry::deadline_ns);
    if session::live(inbound_ns, now_ns) || !outbound.begin_removal(deadline_ns) {
        return false;
    }
    remove(key, outbound, &inbound_key, inbound, rule);
    true
}

/// Removes a session, live or not. Returns whether this CPU did.
#[inline(never)]
pub fn kill(key: &FlowKey) -> bool {
    let Some(outbound) = Entry::find(Direction::Outbound, key) else {
        return false;
    };
    let to = outbound.translation();
    let rule = outbound.rule();
    let deadline_ns = outbound.deadline_ns();
    // A packet that moves the deadline at this moment wins; whoever ordered this looks again.
    if !outbound.belongs_to(key) || deadline_ns == DELETED || !outbound.begin_removal(deadline_ns) {
        return false;
    }
    let inbound_key = key.translated(to.address, to.port);
    let inbound = Entry::find(Direction::Inbound, &inbound_key);
    remove(key, outbound, &inbound_key, inbound, rule);
    true
}

/// Removes both entries. Only for whoever has begun the removal.
#[inline(always)]
fn remove(
    key: &FlowKey,
    outbound: Entry,
    inbound_key: &FlowKey,
    inbound: Option<Entry>,
    rule: u32,
) {
    let carried_in = inbound.map_or((0, 0), Entry::totals);
    stats::count_ended(rule, outbound.totals(), carried_in);
    // The claim goes first: while the outbound entry stands, nobody else removes this key.
    let _ = INBOUND.remove(inbound_key);
    let _ = OUTBOUND.remove(key);
}
