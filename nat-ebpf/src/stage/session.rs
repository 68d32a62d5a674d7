//! Key → session: found, kept alive, ended. [`super::open`] makes them.
use nat_common::{
    cooldown::{Reason, Resting},
    flow::{Direction, FlowKey, Protocol},
    hint::Hint,
    hop::Hop,
    mapping::Uses,
    session::{self, DELETED, Session},
    settings::Lifetime,
    tcp::{self, window},
    verdict::Verdict,
};

use crate::{
    entry::{Entry, Translation},
    hook::Weight,
    maps::{INBOUND, OUTBOUND},
    stage::{
        classify, client,
        cooldown::{self, Notes},
        hints, mapping, parse, stats,
    },
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

impl Live {
    /// Whether the connection is over but for late packets.
    #[inline(always)]
    pub fn is_closing(&self) -> bool {
        matches!(self.entry.lifetime(), Lifetime::TcpClosing)
    }
}

impl Live {
    /// Whether a TCP segment of this sequence number, sent toward where a packet of this direction
    /// comes from, can be on its way.
    #[inline(always)]
    pub fn awaits_answer_to(&self, direction: Direction, key: &FlowKey, sequence: u32) -> bool {
        let other_key = key.translated(self.to.address, self.to.port);
        let Some(sender) = Entry::find(direction.reverse(), &other_key) else {
            return false;
        };
        let receiver = self.entry;
        let out = match direction {
            Direction::Outbound => receiver,
            Direction::Inbound => sender,
        };
        let connection = out.state().connection();
        let (own, peer) = (sender.track(), receiver.track());
        window::on_its_way(connection, direction.reverse(), sequence, &own, &peer)
    }
}

impl Live {
    /// Keeps the way on for the next packets of this direction.
    #[inline(always)]
    pub fn keep_hop(&self, hop: Hop) {
        self.entry.set_hop(hop);
    }

    /// What the maximum segment size is limited to; 0 for no limit.
    #[inline(always)]
    pub fn mss(&self, key: &FlowKey) -> Result<u16, Verdict> {
        let mss = self.entry.mss();
        if self.entry.belongs_to(key) { Ok(mss) } else { Err(Verdict::Contended) }
    }
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

/// The session of an inbound key whose entry has just been made.
#[inline(always)]
pub fn of(key: &FlowKey) -> Result<Live, Verdict> {
    let entry = Entry::find(Direction::Inbound, key).ok_or(Verdict::Contended)?;
    let to = entry.translation();
    if entry.belongs_to(key) { Ok(Live { entry, to }) } else { Err(Verdict::Contended) }
}

/// What a packet that will be translated, and may reach its receiver, does to its session.
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
    let lifetime = entry.lifetime();
    let counts = match lifetime {
        // The way of nearly all packets: this direction's own entry is all there is to it.
        Lifetime::TcpEstablished if !flags.eventful() => {
            if let Some(segment) = parse::segment() {
                entry.note(segment);
            }
            true
        }
        Lifetime::TcpOpening | Lifetime::TcpEstablished | Lifetime::TcpClosing => {
            let other_key = key.translated(live.to.address, live.to.port);
            let outbound = matches!(direction, Direction::Outbound);
            let event = tcp_segment(entry.pointer(), outbound.into(), &other_key);
            if event >= CLOSES {
                settle_session(entry.pointer(), outbound.into(), &other_key, now_ns, event);
            }
            event != IGNORED
        }
        Lifetime::Udp | Lifetime::UdpDns | Lifetime::Icmp => lifetime.refreshed_by(direction),
    };
    if counts {
        let after = entry.lifetime();
        keep_alive(entry, direction, key, after as u8 != lifetime as u8, now_ns);
    }
    live.count(weight);
}

/// What a packet does to its session that can change no state: false, and nothing done, if it may. Not
/// for SYN, FIN and RST.
#[inline(always)]
pub fn goes_on(
    entry: Entry,
    direction: Direction,
    key: &FlowKey,
    weight: Weight,
    now_ns: u64,
) -> bool {
    let lifetime = entry.lifetime();
    let counts = match lifetime {
        Lifetime::TcpEstablished => {
            if let Some(segment) = parse::segment() {
                entry.note(segment);
            }
            true
        }
        Lifetime::TcpOpening | Lifetime::TcpClosing => return false,
        Lifetime::Udp | Lifetime::UdpDns | Lifetime::Icmp => lifetime.refreshed_by(direction),
    };
    if counts {
        keep_alive(entry, direction, key, false, now_ns);
    }
    entry.count(weight.packets, weight.bytes);
    true
}

/// Moves the deadline of a session, if that is due, and then or if its lifetime has changed that of its
/// mapping.
#[inline(always)]
fn keep_alive(entry: Entry, direction: Direction, key: &FlowKey, changed: bool, now_ns: u64) {
    let due = entry.due(now_ns);
    if due || changed {
        let outbound = matches!(direction, Direction::Outbound);
        let what = (u32::from(outbound) * OUTBOUND_KEY) | (u32::from(due) * DUE);
        renew(entry.pointer(), what, key, now_ns);
    }
}

/// What [`renew`] is told: that the key is the outbound one, and that the deadline has to be moved.
const OUTBOUND_KEY: u32 = 1;
const DUE: u32 = 2;

/// At most once in [`session::refresh_interval_ns`] for each direction: the rest of [`keep_alive`]. `what` is the sum of the
/// constants above.
///
/// Exported, so that the verifier judges it once. Null, as it must expect, is no session.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn renew(own: *mut Session, what: u32, key: *const FlowKey, now_ns: u64) -> u32 {
    // SAFETY: null, or a reference of the caller's.
    let key = unsafe { key.as_ref() };
    let (Some(own), Some(key)) = (Entry::at(own), key) else { return 0 };
    let outbound = what & OUTBOUND_KEY != 0;
    if what & DUE != 0 && refresh(own, now_ns) {
        // The settings have made a timeout shorter: it ends earlier than is remembered of its port.
        let to = own.translation();
        let claim = if outbound { key.translated(to.address, to.port) } else { *key };
        hints::claimed(&claim, own.deadline_ns(), now_ns);
    }
    // What comes from outside keeps a mapping open only if the client has answered it (RFC 4787
    // REQ-6).
    let opens = outbound || matches!(own.lifetime(), Lifetime::TcpEstablished);
    if opens && own.uses().0 != Uses::NOTHING {
        mapping::extend_session(own.pointer(), outbound.into(), key, now_ns);
    }
    0
}

impl Live {
    /// Counts a packet, and nothing more: it will not reach its receiver.
    #[inline(always)]
    pub fn count(&self, weight: Weight) {
        self.entry.count(weight.packets, weight.bytes);
    }
}

/// Moves an entry's deadline. Once more if the session has entered another state meanwhile, so that
/// the last deadline is that of the last state. Returns whether it is earlier than the one before.
#[inline(always)]
fn refresh(entry: Entry, now_ns: u64) -> bool {
    let mut earlier = false;
    for _ in 0..2 {
        let lifetime = entry.lifetime();
        let before_ns = entry.deadline_ns();
        let Ok(timeout_ns) = timeout_ns(lifetime) else { break };
        if before_ns == DELETED {
            break;
        }
        // A closing connection's last packet is the beginning of its cooldown: each one counts.
        let closing = matches!(lifetime, Lifetime::TcpClosing);
        entry.refreshed(now_ns, timeout_ns, closing);
        let to_ns = session::deadline(now_ns, timeout_ns);
        earlier = entry.move_deadline(before_ns, to_ns) && to_ns < before_ns;
        if entry.lifetime() as u8 == lifetime as u8 {
            break;
        }
    }
    earlier
}

#[inline(always)]
pub fn timeout_ns(lifetime: Lifetime) -> Result<u64, Verdict> {
    let settings = classify::settings(classify::generation()?)?;
    Ok(settings.timeout_ns(lifetime))
}

/// The state of a connection is tried to be moved so often: each try that fails is another CPU's
/// step, of which there are few in a connection's life.
const STATE_TRIES: u32 = 3;

/// The same for what follows a state: once more for another CPU's step meanwhile.
const SETTLE_TRIES: u32 = 2;

/// A segment that may move its connection to another state: the only time that one direction looks
/// at the other. Returns [`IGNORED`], or [`COUNTS`] if it may move the deadline, too, or [`CLOSES`] or
/// [`MOVES`] if [`settle_session`] is to follow: after it, because on the stack there is no room for
/// both.
///
/// Exported, so that the verifier judges it once. Null, as it must expect, is no session.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tcp_segment(own: *mut Session, outbound: u32, other_key: *const FlowKey) -> u32 {
    // SAFETY: null, or a reference of the caller's.
    let other_key = unsafe { other_key.as_ref() };
    match (Entry::at(own), other_key) {
        (Some(own), Some(other_key)) => tcp_event(own, outbound != 0, other_key),
        _ => IGNORED,
    }
}

#[inline(always)]
fn tcp_event(own: Entry, outbound: bool, other_key: &FlowKey) -> u32 {
    let direction = if outbound { Direction::Outbound } else { Direction::Inbound };
    let (Some(other), Some(segment)) =
        (Entry::find(direction.reverse(), other_key), parse::segment())
    else {
        return IGNORED;
    };
    let segment = &*segment;
    let out = if outbound { own } else { other };
    let connection = out.state().connection();
    let verdict = window::judge(connection, direction, segment, &own.track(), &other.track());
    let syn = segment.flags.has(tcp::Flags::SYN) && !segment.flags.has(tcp::Flags::RST);
    let first = segment.sequence.wrapping_add(1);
    let replaces = match verdict {
        window::Judgement::Ignored => return IGNORED,
        window::Judgement::Asks => {
            other.set_asked(first);
            return IGNORED;
        }
        window::Judgement::Counts => false,
        window::Judgement::Replaces => true,
    };
    let answers = outbound && syn && connection.awaits_client();
    if answers {
        let acks = segment.flags.has(tcp::Flags::ACK);
        own.note_syn(segment, if acks { segment.acknowledgement } else { own.track().ack });
        other.set_ack(first);
        if acks {
            other.set_next(segment.acknowledgement);
        }
    } else if syn && !outbound {
        let acks = segment.flags.has(tcp::Flags::ACK);
        own.note_syn(segment, if acks { segment.acknowledgement } else { own.track().ack });
        own.set_scale(segment.scale);
        other.set_ack(first);
        if replaces {
            other.set_next(segment.acknowledgement);
        }
    } else if !segment.flags.has(tcp::Flags::RST) {
        own.note(segment);
    }
    for _ in 0..STATE_TRIES {
        let before = out.state();
        let (connection, scale) = (before.connection(), before.scale());
        let connection = if replaces {
            tcp::Connection::ANSWERED
        } else {
            connection.after(direction, segment.flags)
        };
        let after = before.with(connection, if answers { segment.scale } else { scale });
        if after == before {
            // The last packet of a connection that is over is when its port begins to rest.
            if matches!(before.lifetime(), Lifetime::TcpClosing) {
                return CLOSES;
            }
            break;
        }
        if out.move_state(before, after) {
            let (from, to) = (before.lifetime(), after.lifetime());
            if is_opening(from) != is_opening(to) {
                let inside = if outbound { other } else { own }.translation().address;
                client::add_half_open(&inside, if is_opening(to) { 1 } else { -1 });
            }
            if from as u8 != to as u8 {
                return MOVES;
            }
            if matches!(to, Lifetime::TcpClosing) {
                return CLOSES;
            }
            break;
        }
    }
    COUNTS
}

/// The tuple of a connection that is over but for late packets can be had before its session ends. If
/// it has survived a RST, it can be had when it has been silent for long enough, which may be sooner.
#[inline(always)]
fn closing(out: Entry, key: &FlowKey, now_ns: u64) {
    let closes = matches!(out.lifetime(), Lifetime::TcpClosing);
    let to = out.translation();
    let reason = Reason::of(Protocol::Tcp, out.state().connection());
    let tuple = key.translated(to.address, to.port);
    let closed_ns = if closes { now_ns } else { out.deadline_ns() };
    hints::ended(&tuple, closed_ns, reason as u8, now_ns);
    // A mapping's port is its own, as long as it has a session.
    if closes && out.uses().0 == Uses::NOTHING {
        cooldown::closing(&tuple, reason, now_ns);
    }
}

/// Whether a session of this lifetime is half-open: see [`nat_common::limit::Counts`].
#[inline(always)]
fn is_opening(lifetime: Lifetime) -> bool {
    matches!(lifetime, Lifetime::TcpOpening)
}

/// Whether a session that is being removed is still counted as half-open. Moves it on if it is, so
/// that a packet which answers it at this moment does not count it once more.
#[inline(always)]
fn ended_half_open(outbound: Entry) -> bool {
    let state = outbound.state();
    is_opening(state.lifetime())
        && outbound.move_state(state, state.with(tcp::Connection::ANSWERED, state.scale()))
}

/// What [`tcp_segment`] returns.
const IGNORED: u32 = 0;
const COUNTS: u32 = 1;
/// A connection that was closing is closing still, or for another reason.
const CLOSES: u32 = 2;
/// The session lives for another time.
const MOVES: u32 = 3;

/// Makes both entries follow the state that is in the outbound one: another CPU may be at it, too,
/// and whoever writes last looks whether what it has written still holds.
///
/// `event` is what [`tcp_segment`] has returned. Exported, as that.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn settle_session(
    own: *mut Session,
    outbound: u32,
    other_key: *const FlowKey,
    now_ns: u64,
    event: u32,
) -> u32 {
    // SAFETY: null, or a reference of the caller's.
    let other_key = unsafe { other_key.as_ref() };
    if let (Some(own), Some(other_key)) = (Entry::at(own), other_key) {
        settle(own, outbound != 0, other_key, now_ns, event);
    }
    0
}

#[inline(always)]
fn settle(own: Entry, outbound: bool, other_key: &FlowKey, now_ns: u64, event: u32) {
    let direction = if outbound { Direction::Inbound } else { Direction::Outbound };
    let Some(other) = Entry::find(direction, other_key) else {
        return;
    };
    let (out, inbound) = if outbound { (own, other) } else { (other, own) };
    let tries = if event == MOVES { SETTLE_TRIES } else { 0 };
    for _ in 0..tries {
        let lifetime = out.lifetime();
        inbound.set_lifetime(lifetime);
        refresh_settled(out, now_ns);
        refresh_settled(inbound, now_ns);
        if out.lifetime() as u8 == lifetime as u8 {
            break;
        }
    }
    closing(out, other_key, now_ns);
}

/// [`refresh`], not inlined: the verifier would follow its loop anew from every place where it
/// stood.
#[inline(never)]
fn refresh_settled(entry: Entry, now_ns: u64) {
    refresh(entry, now_ns);
}

/// Who holds an inbound key.
pub enum Holder {
    /// Nobody, by now.
    Gone,
    /// A session that lives, or is over but for late packets, and rests.
    There(Hint),
    /// A session that can be removed to use its tuple at once.
    Over,
}

/// Finds the session that holds an inbound key; its outbound key is written to `key`.
#[inline(always)]
pub fn holder(claim: &FlowKey, key: &mut FlowKey, now_ns: u64) -> Holder {
    let Some(inbound) = Entry::find(Direction::Inbound, claim) else { return Holder::Gone };
    let to = inbound.translation();
    let inbound_ns = inbound.deadline_ns();
    if !inbound.belongs_to(claim) {
        return Holder::Gone;
    }
    *key = claim.translated(to.address, to.port);
    let Some(outbound) = Entry::find(Direction::Outbound, key) else {
        // Being made: whoever fails to gives the claim back.
        return Holder::There(Hint::taken(inbound_ns, now_ns));
    };
    let latest_ns = inbound_ns.max(outbound.deadline_ns());
    cooldown::holder(claim, inbound, outbound, latest_ns, now_ns)
}

/// What is to rest of the connection that holds an inbound key, if both sides have closed it; its
/// outbound key is written to `key`.
#[inline(always)]
pub fn closed(inbound: Entry, claim: &FlowKey, key: &mut FlowKey, now_ns: u64) -> Option<Resting> {
    let to = inbound.translation();
    if !inbound.belongs_to(claim) {
        return None;
    }
    *key = claim.translated(to.address, to.port);
    let outbound = Entry::find(Direction::Outbound, key)?;
    cooldown::closed_by_both(outbound, inbound, now_ns)
}

/// Removes what [`holder`] has found to be over.
#[inline(always)]
pub fn take(key: &FlowKey, now_ns: u64) {
    if end(key, now_ns) {
        return;
    }
    let closing = Entry::find(Direction::Outbound, key)
        .is_some_and(|entry| matches!(entry.lifetime(), Lifetime::TcpClosing));
    if closing {
        kill(key, now_ns);
    }
}

/// Removes a session whose time is up, by the key of its outbound entry. Does nothing to a live
/// session; of several CPUs that try at once, one removes it. Returns whether this one did.
#[inline(always)]
pub fn end(key: &FlowKey, now_ns: u64) -> bool {
    removed(key, false, now_ns)
}

/// Removes a session, live or not. Returns whether this CPU did.
#[inline(always)]
pub fn kill(key: &FlowKey, now_ns: u64) -> bool {
    removed(key, true, now_ns)
}

#[inline(always)]
fn removed(key: &FlowKey, ordered: bool, now_ns: u64) -> bool {
    let Some(notes) = cooldown::notes() else {
        return false;
    };
    (notes.key, notes.ordered, notes.now_ns) = (*key, ordered, now_ns);
    remove_session() != 0
}

/// [`end`]'s and [`kill`]'s work. Exported as [`super::port::claim_port`]'s steps: it stands in loops, and
/// behind many ways.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn remove_session() -> u32 {
    u32::from(cooldown::notes().is_some_and(try_to_remove))
}

#[inline(always)]
fn try_to_remove(notes: &mut Notes) -> bool {
    let Notes { key, ordered, now_ns, .. } = *notes;
    let Some(outbound) = Entry::find(Direction::Outbound, &notes.key) else {
        return false;
    };
    let to = outbound.translation();
    let rule = outbound.rule();
    let deadline_ns = outbound.deadline_ns();
    if !outbound.belongs_to(&key) || deadline_ns == DELETED {
        return false;
    }
    if !ordered && session::live(deadline_ns, now_ns) {
        return false;
    }
    notes.rested.tuple = key.translated(to.address, to.port);
    let inbound = Entry::find(Direction::Inbound, &notes.rested.tuple);
    let inbound_ns = inbound.map_or(DELETED, Entry::deadline_ns);
    if !ordered && session::live(inbound_ns, now_ns) {
        return false;
    }
    // A packet that moves the deadline at this moment wins; whoever ordered this looks again.
    if !outbound.begin_removal(deadline_ns) {
        return false;
    }
    let ended_ns = if ordered { now_ns } else { deadline_ns.max(inbound_ns) };
    remove(outbound, notes, inbound, rule, ended_ns, now_ns);
    true
}

/// Removes both entries. Only for whoever has begun the removal.
#[inline(always)]
fn remove(
    outbound: Entry,
    notes: &mut Notes,
    inbound: Option<Entry>,
    rule: u32,
    ended_ns: u64,
    now_ns: u64,
) {
    let (uses, range) = outbound.uses();
    let carried_in = inbound.map_or((0, 0), Entry::totals);
    stats::count_ended(rule, outbound.totals(), carried_in);
    // The tuple rests before it is anybody's to claim.
    cooldown::rest(notes, outbound, inbound, ended_ns, now_ns);
    client::leave(&notes.key.local, ended_half_open(outbound), now_ns);
    // The claim goes first: while the outbound entry stands, nobody else removes this key.
    let _ = INBOUND.remove(&notes.rested.tuple);
    hints::ended(&notes.rested.tuple, notes.rested.closed_ns, notes.reason(), now_ns);
    let _ = OUTBOUND.remove(&notes.key);
    mapping::leave(uses, range, &notes.key, &notes.rested.tuple);
}
