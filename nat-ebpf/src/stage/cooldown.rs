//! External tuples whose session has ended rest before they are used again: the server may still hold
//! the old connection in TIME_WAIT.
//!
//! A tuple rests from before its claim is removed from the inbound map, and a claim counts only after a
//! look at what rests: at no moment is a tuple neither claimed nor resting.
use aya_ebpf::bindings::BPF_EXIST;
use nat_common::{
    cooldown::{Cooldown, Reason, Rested, Resting, Scope},
    flow::{FlowKey, Protocol},
    session::DELETED,
    settings::Lifetime,
};

use super::classify;
use crate::{
    entry::Entry,
    maps::{COOLDOWN_COUNTERS, COOLING, COOLING_ORDER},
};

/// The settings in force; before the first there are no sessions.
#[inline(always)]
fn settings() -> Option<&'static Cooldown> {
    let generation = classify::generation().ok()?;
    classify::settings(generation).ok().map(|settings| &settings.cooldown)
}

/// Lets the tuple of a session that is being removed rest. `ended_ns` is when it ended, unless it was
/// closed before.
///
/// Not inlined: it stands where sessions are removed, in loops.
#[inline(never)]
pub fn rest(tuple: &FlowKey, outbound: Entry, inbound: Option<Entry>, ended_ns: u64) {
    let Some(settings) = settings() else { return };
    let Some(protocol) = Protocol::from_number(tuple.protocol) else { return };
    let seen = inbound.map_or(outbound.seen(), Entry::seen);
    let reason = Reason::of(protocol, outbound.seen(), seen);
    // What is not asked for is not remembered: every DNS query would be.
    if settings.wait_ns(reason) == 0 {
        return;
    }
    let closed_ns = closed_ns(outbound, inbound).unwrap_or(ended_ns);
    let resting = Resting::new(closed_ns, reason);
    remember(tuple, &resting);
    if settings.scope == Scope::Port as u8 {
        remember(&tuple.toward_everybody(), &resting);
    }
}

/// When a closing connection had its last packet. Such a one is refreshed by every packet, so that
/// this is the time of the last one and not of some before.
#[inline(always)]
fn closed_ns(outbound: Entry, inbound: Option<Entry>) -> Option<u64> {
    if !matches!(outbound.lifetime(), Lifetime::TcpClosing) {
        return None;
    }
    let inbound_ns = inbound.map_or(DELETED, Entry::refresh_ns);
    Some(outbound.refresh_ns().max(inbound_ns))
}

#[inline(always)]
fn remember(tuple: &FlowKey, resting: &Resting) {
    let rested = Rested { tuple: *tuple, closed_ns: resting.closed_ns };
    if COOLING.insert(tuple, resting, 0).is_err() {
        // No room: the one that has rested longest goes.
        release_oldest();
        if COOLING.insert(tuple, resting, 0).is_err() {
            return count_early();
        }
    }
    if COOLING_ORDER.push(&rested, 0).is_err() {
        release_oldest();
        let _ = COOLING_ORDER.push(&rested, BPF_EXIST as u64);
    }
    if let Some(counters) = COOLDOWN_COUNTERS.get_ptr_mut(0) {
        // SAFETY: this CPU's copy.
        unsafe { (*counters).rested += 1 };
    }
}

/// Elements of the queue that are looked at to find one that still rests.
const RELEASE_TRIES: u32 = 4;

#[inline(always)]
fn release_oldest() {
    for _ in 0..RELEASE_TRIES {
        let Ok(Some(oldest)) = COOLING_ORDER.pop() else { return };
        if forget(&oldest) {
            return count_early();
        }
    }
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

/// Whether a tuple that has just been claimed may be used, and forgets that it rested.
#[inline(always)]
pub fn may_use(tuple: &FlowKey, now_ns: u64) -> bool {
    let Some(settings) = settings() else { return true };
    rested(tuple, settings, now_ns)
        && (settings.scope != Scope::Port as u8
            || rested(&tuple.toward_everybody(), settings, now_ns))
}

#[inline(always)]
fn rested(tuple: &FlowKey, settings: &Cooldown, now_ns: u64) -> bool {
    // SAFETY: two fields that are written together before the element is linked in; one that is
    // recycled at this moment is of a tuple that nobody else may touch.
    let Some(resting) = (unsafe { COOLING.get(tuple) }) else { return true };
    if !resting.over(settings, now_ns) {
        return false;
    }
    let _ = COOLING.remove(tuple);
    true
}

/// Whether the tuple of a session could be used again at once, were it removed: it is over, or it is
/// closing and has rested long enough, although its late packets would still be translated.
/// `ended_ns` is when its time was up, if it is.
#[inline(always)]
pub fn may_take(
    tuple: &FlowKey,
    inbound: Entry,
    outbound: Entry,
    ended_ns: Option<u64>,
    now_ns: u64,
) -> bool {
    let Some(settings) = settings() else { return false };
    let Some(closed_ns) = closed_ns(outbound, Some(inbound)).or(ended_ns) else { return false };
    let Some(protocol) = Protocol::from_number(tuple.protocol) else { return false };
    let reason = Reason::of(protocol, outbound.seen(), inbound.seen());
    settings.reusable(closed_ns, reason, now_ns)
}

/// Forgets tuples that have rested long enough, oldest first, at most so many; returns how many.
#[inline(always)]
pub fn clear(most: u32, now_ns: u64) -> u32 {
    let Some(settings) = settings() else { return 0 };
    let mut cleared = 0;
    for _ in 0..most {
        let Ok(Some(oldest)) = COOLING_ORDER.peek() else { break };
        // SAFETY: as in `rested`.
        let resting = unsafe { COOLING.get(&oldest.tuple) };
        let still = resting.is_some_and(|resting| {
            resting.closed_ns == oldest.closed_ns && !resting.over(settings, now_ns)
        });
        if still {
            break;
        }
        // Another CPU may have taken it in between: then this is the next one, and goes back.
        let Ok(Some(taken)) = COOLING_ORDER.pop() else { break };
        if taken != oldest {
            let _ = COOLING_ORDER.push(&taken, BPF_EXIST as u64);
            continue;
        }
        forget(&oldest);
        cleared += 1;
    }
    cleared
}
