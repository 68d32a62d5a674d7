//! External tuples whose session has ended rest before they are used again: the server may still hold
//! the old connection in TIME_WAIT.
//!
//! A tuple rests from before its claim is removed from the inbound map, and a claim counts only after a
//! look at what rests: at no moment is a tuple neither claimed nor resting.
use core::{
    ffi::c_void,
    ptr::{read_volatile, write_volatile},
};

use aya_ebpf::{
    bindings::BPF_EXIST,
    helpers::{bpf_map_peek_elem, bpf_map_pop_elem},
    macros::map,
    maps::PerCpuArray,
};
use nat_common::{
    addr::{Ipv4, Port},
    cooldown::{Cooldown, Reason, Rested, Resting, Scope},
    flow::{FlowKey, Protocol},
    hint::Hint,
    mapping::Uses,
    session,
    settings::Lifetime,
    tcp::{self, window},
};

use super::{classify, hints, session::Holder};
use crate::{
    clock,
    entry::Entry,
    maps::{COOLDOWN_COUNTERS, COOLED, COOLING, COOLING_ORDER},
};

/// The settings in force; before the first there are no sessions.
#[inline(always)]
fn settings() -> Option<&'static Cooldown> {
    let generation = classify::generation().ok()?;
    classify::settings(generation).ok().map(|settings| &settings.cooldown)
}

/// Lets the tuple of a session that is being removed rest. `ended_ns` is when it ended, unless it was
/// closed before.
#[inline(always)]
pub fn rest(
    notes: &mut Notes,
    outbound: Entry,
    inbound: Option<Entry>,
    ended_ns: u64,
    now_ns: u64,
) {
    let tuple = &notes.rested.tuple;
    let Some(settings) = settings() else { return };
    let Some(protocol) = Protocol::from_number(tuple.protocol) else { return };
    let reason = Reason::of(protocol, outbound.state().connection());
    let closed_ns = closed_ns(outbound, inbound, now_ns).unwrap_or(ended_ns);
    notes.rested.closed_ns = closed_ns;
    notes.resting = Resting::new(closed_ns, reason);
    (notes.resting.closed_by_both, notes.resting.next) = last_of_client(outbound, inbound);
    let reason = notes.reason();
    // What is not asked for is not remembered: every DNS query would be.
    if settings.wait_ns(Reason::from_number(reason)) == 0 {
        return;
    }
    remember(notes);
    // That was about this destination.
    (notes.resting.closed_by_both, notes.resting.next) = (0, 0);
    let mapped = outbound.uses().0 != Uses::NOTHING;
    if mapped {
        (notes.resting.owner, notes.resting.owner_port) = (notes.key.local, notes.key.local_port);
    }
    if mapped || settings.scope == Scope::Port as u8 {
        rest_as_port(notes, settings, now_ns);
    }
}

/// Lets the port of a connection rest that is over but for late packets, if ports rest as such: its
/// own tuple is still the session's. For each of these packets, the last of which counts, but at most
/// once a tick: they are known to [`closed_ns`] as that.
#[inline(always)]
pub fn closing(tuple: &FlowKey, reason: Reason, now_ns: u64) {
    let (Some(settings), Some(notes)) = (settings(), notes()) else { return };
    if settings.scope == Scope::Port as u8 && settings.wait_ns(reason) != 0 {
        let closed_ns = session::end_of_tick(session::tick(now_ns), now_ns);
        notes.rested.tuple = *tuple;
        notes.rested.closed_ns = closed_ns;
        notes.resting = Resting::new(closed_ns, reason);
        rest_as_port(notes, settings, now_ns);
    }
}

/// Lets a port rest toward everybody, unless another session of it lets it rest for longer.
#[inline(always)]
fn rest_as_port(notes: &mut Notes, settings: &Cooldown, now_ns: u64) {
    let tuple = notes.rested.tuple;
    notes.rested.tuple = tuple.toward_everybody();
    // SAFETY: as in `rests`.
    let before = unsafe { COOLING.get(&notes.rested.tuple) };
    let before_ns = before.map_or(0, |resting| resting.remaining_ns(settings, now_ns));
    if notes.resting.remaining_ns(settings, now_ns) > before_ns {
        remember(notes);
    }
    notes.rested.tuple = tuple;
}

/// When a closing connection had its last packet. Such a one is refreshed by every packet, so that
/// this is the time of the last one and not of some before.
#[inline(always)]
fn closed_ns(outbound: Entry, inbound: Option<Entry>, now_ns: u64) -> Option<u64> {
    if !matches!(outbound.lifetime(), Lifetime::TcpClosing) {
        return None;
    }
    let out_ns = session::end_of_tick(outbound.refresh_ticks(), now_ns);
    let in_ns = inbound.map_or(0, |entry| session::end_of_tick(entry.refresh_ticks(), now_ns));
    Some(out_ns.max(in_ns))
}

/// Whether both sides have closed a connection, 0 or 1, and what follows the client's last sequence
/// number, as far as the gateway has seen it or the server has acknowledged it.
#[inline(always)]
fn last_of_client(outbound: Entry, inbound: Option<Entry>) -> (u8, u32) {
    let both = matches!(outbound.state().connection().state(), tcp::State::BothFin);
    let seen = outbound.track().next;
    let acknowledged = inbound.map_or(seen, |entry| entry.track().ack);
    let last = if window::reaches(acknowledged, seen) { acknowledged } else { seen };
    (both.into(), last)
}

/// What would rest of a connection that is over but for late packets, if both sides have closed it.
#[inline(always)]
pub fn closed_by_both(outbound: Entry, inbound: Entry, now_ns: u64) -> Option<Resting> {
    let closed_ns = closed_ns(outbound, Some(inbound), now_ns)?;
    match last_of_client(outbound, Some(inbound)) {
        (0, _) => None,
        (_, next) => Some(Resting::new(closed_ns, Reason::Fin).closed_by_both(next)),
    }
}

/// Whether a tuple may be used before its time at all.
#[inline(always)]
pub fn reuses_under_pressure() -> bool {
    settings().is_some_and(|settings| {
        settings.pressure_reuse != 0 && settings.scope == Scope::Destination as u8
    })
}

/// Whether a tuple that has just been claimed and rests gives way to a SYN of this sequence number.
#[inline(always)]
pub fn gives_way(tuple: &FlowKey, sequence: u32, now_ns: u64) -> bool {
    resting(tuple).is_some_and(|resting| resting.gives_way(sequence, now_ns))
}

/// What rests.
#[inline(always)]
pub fn resting(tuple: &FlowKey) -> Option<&'static Resting> {
    // SAFETY: as in `rests`.
    unsafe { COOLING.get(tuple) }
}

/// Counts a tuple that is used before its time. It goes on resting until its session ends anew: if the
/// session does not come to be, nothing has happened.
#[inline(always)]
pub fn count_reused() {
    if let Some(counters) = COOLDOWN_COUNTERS.get_ptr_mut(0) {
        // SAFETY: this CPU's copy.
        unsafe { (*counters).reused_early += 1 };
    }
}

/// What is being written: the calls that lead here leave no room for it on the stack.
pub struct Notes {
    /// The outbound key of the session that is to be removed, whether it is, though live, and when.
    pub key: FlowKey,
    pub ordered: bool,
    pub now_ns: u64,
    /// The tuple of a session that is being removed.
    pub rested: Rested,
    resting: Resting,
    oldest: Rested,
}

#[map]
static NOTES: PerCpuArray<Notes> = PerCpuArray::with_max_entries(1, 0);

impl Notes {
    /// Why the tuple rests: a [`Reason`].
    #[inline(always)]
    pub fn reason(&self) -> u8 {
        // SAFETY: a field of a map value. Read back, so that the verifier does not walk what follows
        // once for each reason.
        unsafe { read_volatile(&raw const self.resting.reason) }
    }
}

/// This CPU's.
#[inline(always)]
pub fn notes() -> Option<&'static mut Notes> {
    // SAFETY: the programs of a CPU do not interrupt each other, and of one only one reference is
    // used at a time.
    NOTES.get_ptr_mut(0).map(|notes| unsafe { &mut *notes })
}

#[inline(always)]
fn remember(notes: &mut Notes) {
    let tuple = &notes.rested.tuple;
    note_protocol(tuple.protocol);
    if COOLING.insert(tuple, &notes.resting, 0).is_err() {
        make_some_room(&mut notes.oldest, Room::Tuple);
        if COOLING.insert(tuple, &notes.resting, 0).is_err() {
            return count_early();
        }
    }
    if COOLING_ORDER.push(&notes.rested, 0).is_err() {
        make_some_room(&mut notes.oldest, Room::Place);
        let _ = COOLING_ORDER.push(&notes.rested, BPF_EXIST as u64);
    }
    if let Some(counters) = COOLDOWN_COUNTERS.get_ptr_mut(0) {
        // SAFETY: this CPU's copy.
        unsafe { (*counters).rested += 1 };
    }
}

/// Makes room, and tells that a port is free by it if it is.
#[inline(always)]
fn make_some_room(oldest: &mut Rested, room: Room) {
    if make_room(oldest, room) {
        hints::freed(&oldest.tuple, 0, clock::now_ns());
    }
}

/// Notes that a tuple of a protocol rests. Before it does, and so before its claim is gone: whoever claims
/// it next sees this.
#[inline(always)]
fn note_protocol(protocol: u8) {
    if let Some(cooled) = COOLED.get_ptr_mut(protocol.into()) {
        // SAFETY: a whole word of a map value, which is written once and read by all: not every time.
        unsafe {
            if read_volatile(cooled) == 0 {
                write_volatile(cooled, 1);
            }
        }
    }
}

/// Whether a tuple of a protocol may rest. By default those of UDP never do: a new flow is spared a look
/// into a large map, which is most often not in the cache.
#[inline(always)]
fn may_rest(protocol: u8) -> bool {
    COOLED.get_ptr_mut(protocol.into()).is_none_or(|cooled| {
        // SAFETY: a whole word of a map value.
        unsafe { read_volatile(cooled) != 0 }
    })
}

/// Where there is none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    /// For another tuple.
    Tuple,
    /// In the queue, which also holds places of tuples that have been used again.
    Place,
}

/// Elements of the queue that are looked at to make room.
const ROOM_TRIES: u32 = 4;

/// Makes room: best by what has rested long enough, or has been used again. Else the tuple goes that
/// has rested longest: then it returns true.
///
/// Not inlined: the verifier would walk its turns from every place where it stood.
#[inline(never)]
fn make_room(oldest: &mut Rested, room: Room) -> bool {
    let Some(settings) = settings() else { return false };
    let now_ns = clock::now_ns();
    for turn in 1..=ROOM_TRIES {
        if !pop(oldest) {
            return false;
        }
        // SAFETY: as in `rests`.
        let resting = unsafe { COOLING.get(&oldest.tuple) };
        match resting.filter(|resting| resting.closed_ns == oldest.closed_ns) {
            None if room == Room::Place => return false,
            None => {}
            Some(resting) if resting.over(settings, now_ns) => {
                forget(oldest);
                return false;
            }
            Some(_) if room == Room::Place && turn < ROOM_TRIES => {
                // Later than its turn, but not before its time.
                let _ = COOLING_ORDER.push(&*oldest, 0);
            }
            Some(_) => {
                forget(oldest);
                count_early();
                return true;
            }
        }
    }
    false
}

/// Takes the head of the queue out, and puts it where it is wanted rather than on the stack. Returns
/// whether there was one.
#[inline(always)]
fn pop(into: &mut Rested) -> bool {
    // SAFETY: the map is a queue of such values, and the place is one.
    unsafe { bpf_map_pop_elem(queue(), (&raw mut *into).cast()) == 0 }
}

/// Looks at the head of the queue, likewise.
#[inline(always)]
fn peek(into: &mut Rested) -> bool {
    // SAFETY: as above.
    unsafe { bpf_map_peek_elem(queue(), (&raw mut *into).cast()) == 0 }
}

#[inline(always)]
fn queue() -> *mut c_void {
    (&raw const COOLING_ORDER).cast_mut().cast()
}

#[inline(always)]
fn count_early() {
    if let Some(counters) = COOLDOWN_COUNTERS.get_ptr_mut(0) {
        // SAFETY: this CPU's copy.
        unsafe { (*counters).released_early += 1 };
    }
}

/// Forgets a tuple, if it still rests since then. Returns whether it did.
#[inline(always)]
fn forget(rested: &Rested) -> bool {
    // SAFETY: read at once; an element that has been recycled has another close time.
    let same = unsafe { COOLING.get(&rested.tuple) }
        .is_some_and(|resting| resting.closed_ns == rested.closed_ns);
    same && COOLING.remove(&rested.tuple).is_ok()
}

/// Whether a tuple that has just been claimed rests still: since when. Forgets it if it has rested
/// long enough.
#[inline(always)]
pub fn blocker(tuple: &FlowKey, now_ns: u64) -> Option<Hint> {
    tuple_blocker(tuple, now_ns).or_else(|| port_blocker(tuple, now_ns))
}

/// The same of its port alone, which rests toward everybody if ports rest as such.
#[inline(always)]
pub fn port_blocker(tuple: &FlowKey, now_ns: u64) -> Option<Hint> {
    let settings = settings()?;
    if settings.scope != Scope::Port as u8 {
        return None;
    }
    rests(&tuple.toward_everybody(), settings, now_ns)
}

/// The same of a tuple that a mapping's session has just claimed. The endpoint is the mapping's, so it
/// does not matter whether that rests.
#[inline(always)]
pub fn tuple_blocker(tuple: &FlowKey, now_ns: u64) -> Option<Hint> {
    rests(tuple, settings()?, now_ns)
}

/// The same of an external endpoint that a mapping of an inside endpoint has just claimed, which may
/// use it at once if it was its own before. `claim` is [`FlowKey::toward_everybody`].
#[inline(always)]
pub fn endpoint_blocker(claim: &FlowKey, inside: (Ipv4, Port), now_ns: u64) -> Option<Hint> {
    let truth = rests(claim, settings()?, now_ns)?;
    // SAFETY: as in `rests`.
    let own = unsafe { COOLING.get(claim) }.is_some_and(|resting| resting.is_of(inside));
    (!own).then_some(truth)
}

/// How long a tuple rests from now on.
#[inline(always)]
pub fn left_ns(tuple: &FlowKey, now_ns: u64) -> u64 {
    let Some(settings) = settings() else { return 0 };
    // SAFETY: as in `rests`.
    unsafe { COOLING.get(tuple) }.map_or(0, |resting| resting.remaining_ns(settings, now_ns))
}

#[inline(always)]
fn rests(tuple: &FlowKey, settings: &Cooldown, now_ns: u64) -> Option<Hint> {
    if !may_rest(tuple.protocol) {
        return None;
    }
    // SAFETY: two fields that are written together before the element is linked in; one that is
    // recycled at this moment is of a tuple that nobody else may touch.
    let resting = unsafe { COOLING.get(tuple) }?;
    if !resting.over(settings, now_ns) {
        return Some(Hint::rests(resting.remaining_ns(settings, now_ns), now_ns));
    }
    let _ = COOLING.remove(tuple);
    None
}

/// What the holder of a tuple is to somebody who wants it: one whose session is over may be
/// removed for it, or who is closing and has rested long enough, although its late packets would
/// still be translated. `latest_ns` is the later of its deadlines.
#[inline(always)]
pub fn holder(
    tuple: &FlowKey,
    inbound: Entry,
    outbound: Entry,
    latest_ns: u64,
    now_ns: u64,
) -> Holder {
    let ended_ns = (!session::live(latest_ns, now_ns)).then_some(latest_ns);
    let closed_ns = closed_ns(outbound, Some(inbound), now_ns).or(ended_ns);
    let (Some(closed_ns), Some(settings), Some(protocol)) =
        (closed_ns, settings(), Protocol::from_number(tuple.protocol))
    else {
        return Holder::There(Hint::taken(latest_ns, now_ns));
    };
    let reason = Reason::of(protocol, outbound.state().connection());
    match settings.remaining_ns(closed_ns, reason, now_ns) {
        0 => Holder::Over,
        left_ns => Holder::There(Hint::rests(left_ns, now_ns)),
    }
}

/// Forgets tuples that have rested long enough, oldest first, at most so many; returns how many.
#[inline(always)]
pub fn clear(most: u32, now_ns: u64) -> u32 {
    let Some(settings) = settings() else { return 0 };
    let Some(Notes { rested: oldest, oldest: taken, .. }) = notes() else { return 0 };
    let mut cleared = 0;
    for _ in 0..most {
        if !peek(oldest) {
            break;
        }
        // SAFETY: as in `rested`.
        let resting = unsafe { COOLING.get(&oldest.tuple) };
        let still = resting.is_some_and(|resting| {
            resting.closed_ns == oldest.closed_ns && !resting.over(settings, now_ns)
        });
        if still || !pop(taken) {
            break;
        }
        // Another CPU may have taken it in between: then this is the next one, and goes back.
        let same = taken.closed_ns == oldest.closed_ns
            && taken.tuple.fingerprint() == oldest.tuple.fingerprint();
        if same {
            forget(oldest);
            cleared += 1;
        } else {
            let _ = COOLING_ORDER.push(&*taken, BPF_EXIST as u64);
        }
    }
    cleared
}
