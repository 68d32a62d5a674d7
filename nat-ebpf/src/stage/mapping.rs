//! Mappings that depend on the inside endpoint alone: made with their first session, shared by the
//! others, gone with the last.
//!
//! A mapping is an entry in `MAPPINGS`, and the claim on its external endpoint in `OWNERS`. Whoever
//! uses it has been counted in it by compare-and-exchange; whoever takes the count to zero removes
//! both. No user, no mapping; no mapping without its users' consent: two packets of one inside
//! endpoint can meet at any moment and find one mapping.
use core::ptr::read_volatile;

use aya_ebpf::{bindings::BPF_NOEXIST, macros::map, maps::PerCpuArray};
use nat_common::{
    addr::{Ipv4, Port},
    flow::{Direction, FlowKey},
    hint::Hint,
    mapping::{self, Mapping, Owner, Shared, Users, Uses},
    session::{Session, deadline, live, seconds},
    stats::Effort,
    verdict::Verdict,
};

use crate::{
    atomic, clock,
    entry::Entry,
    maps::{INBOUND, MAPPINGS, OWNERS, PERMISSIONS},
    stage::{
        cooldown, hints,
        port::{self, Tried},
        request::{EXISTS, Request, refused, request},
        session, stats,
    },
};

/// What is being used, and memory for what is being made.
pub struct Desk {
    /// Of the mapping.
    key: FlowKey,
    /// Of its external endpoint.
    claim: FlowKey,
    /// Of the permission.
    permission: FlowKey,
    /// One of [`Uses`].
    uses: u8,
    /// For [`extend_mapping`].
    deadline_ns: u64,

    /// For [`extend_session`]: what the packet's key becomes.
    other: FlowKey,

    mapping: Mapping,
    owner: Owner,
    shared: Shared,
}

/// One a CPU: the programs of a CPU do not interrupt each other.
#[map]
static DESK: PerCpuArray<Desk> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's. Take it anew after every call that takes it, too.
#[inline(always)]
fn desk() -> Result<&'static mut Desk, Verdict> {
    // SAFETY: this CPU's own copy, and the references do not overlap in use, as said above.
    DESK.get_ptr_mut(0).map(|desk| unsafe { &mut *desk }).ok_or(Verdict::NotConfigured)
}

/// A packet has moved the deadline of a session that uses a mapping: that stays open as long. `key` is
/// the packet's, and `own` its entry.
///
/// Exported, as the functions below, so that the verifier judges it once. Null, as it must expect, is
/// no session.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn extend_session(
    own: *mut Session,
    outbound: u32,
    key: *const FlowKey,
    now_ns: u64,
) -> u32 {
    // SAFETY: null, or a reference of the caller's.
    let key = unsafe { key.as_ref() };
    let (Some(own), Some(key), Ok(desk)) = (Entry::at(own), key, desk()) else {
        return 0;
    };
    let Ok(timeout_ns) = session::timeout_ns(own.lifetime()) else { return 0 };
    let (uses, range) = own.uses();
    let to = own.translation();
    desk.other = key.translated(to.address, to.port);
    if outbound != 0 {
        note(uses, range, key, &desk.other);
    } else {
        note(uses, range, &desk.other, key);
    }
    desk.deadline_ns = deadline(now_ns, timeout_ns);
    extend_mapping();
    0
}

/// A session has been removed.
#[inline(always)]
pub fn leave(uses: u8, range: Port, outbound: &FlowKey, inbound: &FlowKey) {
    if uses != Uses::NOTHING {
        note(uses, range, outbound, inbound);
        leave_mapping();
    }
}

#[inline(always)]
fn note(uses: u8, range: Port, outbound: &FlowKey, inbound: &FlowKey) {
    if let Ok(desk) = desk() {
        desk.key = mapping::key(outbound, inbound.local, range);
        desk.claim = inbound.toward_everybody();
        desk.permission = mapping::permission_key(inbound);
        desk.uses = uses;
    }
}

/// Moves the deadlines of what is on the desk. Exported as [`extend_session`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn extend_mapping() -> u32 {
    let Ok(desk) = desk() else { return 0 };
    if let Some(mapping) = MAPPINGS.get_ptr_mut(&desk.key) {
        later(mapping.cast(), desk.deadline_ns);
    }
    if desk.uses == Uses::PERMISSION
        && let Some(permission) = PERMISSIONS.get_ptr_mut(&desk.permission)
    {
        later(permission, desk.deadline_ns);
    }
    0
}

/// A deadline is tried to be moved so often: each try that fails is another CPU's, to about the same
/// time.
const TRIES: u32 = 4;

/// Moves a deadline, never back. Its entry has a user and cannot be removed meanwhile.
#[inline(always)]
fn later(shared: *mut Shared, deadline_ns: u64) {
    for _ in 0..TRIES {
        // SAFETY: a map value's field, which others write whole.
        let word = unsafe { &raw mut (*shared).deadline_ns };
        // SAFETY: the same.
        let before_ns = unsafe { read_volatile(word) };
        if before_ns >= deadline_ns {
            return;
        }
        // SAFETY: the same; aligned.
        if unsafe { atomic::compare_exchange(word, before_ns, deadline_ns) } == before_ns {
            return;
        }
    }
}

/// Gives up the use of what is on the desk; the last one to do so removes it. Exported as
/// [`extend_session`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn leave_mapping() -> u32 {
    let Ok(desk) = desk() else { return 0 };
    if desk.uses == Uses::PERMISSION
        && let Some(permission) = PERMISSIONS.get_ptr_mut(&desk.permission)
        && was_last(permission)
    {
        let _ = PERMISSIONS.remove(&desk.permission);
    }
    if let Some(mapping) = MAPPINGS.get_ptr_mut(&desk.key)
        && was_last(mapping.cast())
    {
        // The claim goes first: while the mapping stands, its inside endpoint makes no other.
        let _ = OWNERS.remove(&desk.claim);
        let _ = MAPPINGS.remove(&desk.key);
        let now_ns = clock::now_ns();
        hints::freed(&desk.claim, cooldown::left_ns(&desk.claim, now_ns), now_ns);
    }
    0
}

/// Takes one user off. Its entry is there: this was its user.
#[inline(always)]
fn was_last(shared: *mut Shared) -> bool {
    // SAFETY: an aligned field of a map value. The count is at least one, and the fingerprint above
    // it stays as it is.
    let before = unsafe { atomic::fetch_add(&raw mut (*shared).users, u64::MAX) };
    Users(before).count() == 1
}

/// Becomes a user of an entry, unless it is being removed or another one's by now.
#[inline(always)]
fn joins(shared: *mut Shared, key: &FlowKey) -> bool {
    for _ in 0..TRIES {
        // SAFETY: a map value's field, which others write whole.
        let word = unsafe { &raw mut (*shared).users };
        // SAFETY: the same.
        let before = unsafe { read_volatile(word) };
        let Some(after) = Users(before).joined(key) else {
            return false;
        };
        // SAFETY: the same; aligned.
        if unsafe { atomic::compare_exchange(word, before, after.0) } == before {
            return true;
        }
    }
    false
}

/// Becomes a user of the mapping on the desk: its external port, or nothing if there is none.
#[inline(always)]
fn join() -> Result<Option<Port>, Verdict> {
    let desk = desk()?;
    let Some(mapping) = MAPPINGS.get_ptr_mut(&desk.key) else {
        return Ok(None);
    };
    if !joins(mapping.cast(), &desk.key) {
        return Err(Verdict::Contended);
    }
    // SAFETY: a field that is never changed while the mapping has a user.
    Ok(Some(unsafe { read_volatile(&raw const (*mapping).port) }))
}

/// What [`join_mapping`] and [`make_mapping`] return: there is no mapping, or one of another CPU's by
/// now. Else it is the number of a verdict, [`Verdict::TranslatedOut`] if they have what they want.
pub const NONE: u32 = 0x200;
const THERE: u32 = 0x201;

/// The number of the verdict that a claim ends with: 0, or the kernel's error number.
#[inline(always)]
fn code(result: i32) -> u32 {
    match result {
        0 => Verdict::TranslatedOut as u32,
        EXISTS => Verdict::NoPort as u32,
        error => refused(error) as u32,
    }
}

/// Claims, for this CPU's [`Request`], the external endpoint of its mapping toward its remote
/// endpoint, if there is a mapping: its user it is then. Exported as [`extend_session`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn join_mapping() -> u32 {
    let (Ok(request), Ok(desk)) = (request(), desk()) else {
        return Verdict::NotConfigured as u32;
    };
    let (key, external, range) = (&request.key, request.external, request.birth.range);
    (desk.key, desk.uses) = (mapping::key(key, external, range), Uses::MAPPING);
    match join() {
        Ok(None) => NONE,
        Ok(Some(port)) => code(share(port)),
        Err(verdict) => verdict as u32,
    }
}

/// Claims the tuple of the request with the port of the mapping that has been joined; leaves it again
/// on failure.
#[inline(always)]
fn share(port: Port) -> i32 {
    let (Ok(request), Ok(desk)) = (request(), desk()) else {
        return EXISTS;
    };
    let Request { key, external, now_ns, .. } = *request;
    request.claim = key.translated(external, port);
    desk.claim = request.claim.toward_everybody();
    request.write_claim();
    let mut result = insert(request);
    if result == EXISTS && is_claimed_for(request) {
        leave_mapping();
        request.theirs = true;
        return 0;
    }
    if result == 0 && cooldown::tuple_blocker(&request.claim, now_ns).is_some() {
        let _ = INBOUND.remove(&request.claim);
        result = EXISTS;
    }
    if result != 0 {
        leave_mapping();
    }
    result
}

/// Whether the tuple of the request is claimed for its own flow. Toward the same remote endpoint its
/// mapping has that tuple only, so packets that meet on two CPUs, or come from both sides at once,
/// want the same one.
#[inline(always)]
fn is_claimed_for(request: &Request) -> bool {
    let Some(entry) = Entry::find(Direction::Inbound, &request.claim) else { return false };
    let to = entry.translation();
    let inside = to.address == request.key.local && to.port == request.key.local_port;
    inside && entry.belongs_to(&request.claim)
}

/// Claims the tuple of the request.
#[inline(always)]
fn insert(request: &Request) -> i32 {
    match INBOUND.insert(&request.claim, &request.entry, BPF_NOEXIST as u64) {
        Ok(()) => 0,
        Err(error) => error,
    }
}

/// Ends the claim of a request whose mapping was there: `step` is what [`join_mapping`] has returned.
#[inline(always)]
pub fn joined(step: u32) -> u32 {
    if step == Verdict::TranslatedOut as u32 {
        if request().is_ok_and(|request| request.theirs) { step } else { open_mapping() }
    } else if step >= NONE {
        Verdict::Contended as u32
    } else {
        step
    }
}

/// Ends that of a request whose endpoint has been claimed just now.
#[inline(always)]
pub fn made() -> u32 {
    match make_mapping() {
        THERE => joined(join_mapping()),
        // Open already, as long as its first session.
        step if step == Verdict::TranslatedOut as u32 && !permits() => step,
        step => joined(step),
    }
}

/// Whether this CPU's request asks for a permission, too.
#[inline(always)]
fn permits() -> bool {
    request().is_ok_and(|request| request.birth.uses == Uses::PERMISSION)
}

/// Publishes the mapping of an endpoint that was claimed just now, with the request as its first user.
/// Gives the endpoint back on failure. Exported as [`extend_session`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn make_mapping() -> u32 {
    let (Ok(request), Ok(desk)) = (request(), desk()) else {
        return Verdict::NotConfigured as u32;
    };
    let deadline_ns = deadline(request.now_ns, request.birth.timeout_ns);
    desk.mapping = Mapping {
        shared: Shared::new(&desk.key, deadline_ns),
        port: request.claim.local_port,
        zero: 0,
        created_s: seconds(request.now_ns),
    };
    match MAPPINGS.insert(&desk.key, &desk.mapping, BPF_NOEXIST as u64) {
        Ok(()) => Verdict::TranslatedOut as u32,
        Err(error) => {
            // Nobody knows of the claims yet: no packet has left with them.
            let _ = INBOUND.remove(&request.claim);
            let _ = OWNERS.remove(&desk.claim);
            hints::freed(&desk.claim, 0, request.now_ns);
            if error == EXISTS { THERE } else { refused(error) as u32 }
        }
    }
}

/// What a port is left alone for whose mapping's sessions are over, and not removed yet.
const OVER_NS: u64 = 1_000_000_000;

/// Tries to claim a port for the mapping on the desk, toward everybody and toward the request's remote
/// endpoint: as [`super::port::try_port`], of which it takes the place. Exported as [`extend_session`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn try_endpoint(port: u32) -> u32 {
    if let (Ok(request), Ok(desk)) = (request(), desk()) {
        request.claim = request.key.translated(request.external, Port::new(port as u16));
        desk.claim = request.claim.toward_everybody();
        request.tried = tried(request, desk);
    }
    0
}

#[inline(always)]
fn tried(request: &mut Request, desk: &mut Desk) -> Tried {
    stats::spend(Effort::Try);
    let now_ns = request.now_ns;
    let inside = (request.key.local, request.key.local_port);
    desk.key = mapping::key(&request.key, request.external, request.birth.range);
    desk.owner = Owner::new(&desk.claim, inside, request.birth.range);
    match OWNERS.insert(&desk.claim, &desk.owner, BPF_NOEXIST as u64) {
        Ok(()) => {}
        Err(EXISTS) => {
            if request.learns {
                let held_ns = held_ns(&desk.claim);
                request.truth = Hint::taken(held_ns.max(now_ns + OVER_NS), now_ns);
            }
            return Tried::Taken;
        }
        Err(error) => {
            request.result = error;
            return Tried::Refused;
        }
    }
    let tried = match cooldown::endpoint_blocker(&desk.claim, inside, now_ns) {
        Some(truth) => {
            request.truth = truth;
            Tried::Rests
        }
        None => claim_tuple(request),
    };
    if tried != Tried::Claimed {
        let _ = OWNERS.remove(&desk.claim);
    }
    tried
}

/// Claims the tuple of an endpoint that is the request's.
#[inline(always)]
fn claim_tuple(request: &mut Request) -> Tried {
    let now_ns = request.now_ns;
    request.write_claim();
    request.result = insert(request);
    match request.result {
        0 => {}
        // Its session is older than the rule that maps.
        EXISTS => return port::held(request),
        _ => return Tried::Refused,
    }
    if let Some(truth) = cooldown::tuple_blocker(&request.claim, now_ns) {
        let _ = INBOUND.remove(&request.claim);
        request.truth = truth;
        return Tried::Rests;
    }
    request.truth = Hint::taken(request.entry.deadline_ns, now_ns);
    Tried::Claimed
}

/// Until when an owned endpoint is another's at least.
#[inline(always)]
fn held_ns(claim: &FlowKey) -> u64 {
    let Ok(Some((address, port, range))) = owner(claim) else { return 0 };
    let inside = claim.translated(address, port);
    let Some(mapping) = MAPPINGS.get_ptr_mut(mapping::key(&inside, claim.local, range)) else {
        return 0;
    };
    // SAFETY: a map value's field, which others write whole.
    unsafe { read_volatile(&raw const (*mapping).shared.deadline_ns) }
}

/// Whether some mapping has the external endpoint of a tuple.
#[inline(always)]
pub fn has_owner(tuple: &FlowKey) -> bool {
    OWNERS.get_ptr_mut(tuple.toward_everybody()).is_some()
}

/// Opens the mapping for whoever may answer this request: its number of a verdict. Undoes the claim on
/// failure. Exported as [`extend_session`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn open_mapping() -> u32 {
    let (Ok(request), Ok(desk)) = (request(), desk()) else {
        return Verdict::NotConfigured as u32;
    };
    desk.deadline_ns = deadline(request.now_ns, request.birth.timeout_ns);
    if request.birth.uses == Uses::PERMISSION {
        let permitted = permit(request, desk);
        if permitted != 0 {
            let _ = INBOUND.remove(&request.claim);
            leave_mapping();
            return refused(permitted) as u32;
        }
        desk.uses = Uses::PERMISSION;
    }
    extend_mapping();
    Verdict::TranslatedOut as u32
}

/// As an error number: another CPU is at it, too.
const CONTENDED: i32 = -16;

/// Notes that the inside endpoint sends to the request's remote address.
#[inline(always)]
fn permit(request: &Request, desk: &mut Desk) -> i32 {
    desk.permission = mapping::permission_key(&request.claim);
    desk.shared = Shared::new(&desk.permission, desk.deadline_ns);
    // Once more if another CPU's packet comes in between.
    for _ in 0..2 {
        if let Some(there) = PERMISSIONS.get_ptr_mut(&desk.permission) {
            return if joins(there, &desk.permission) { 0 } else { CONTENDED };
        }
        match PERMISSIONS.insert(&desk.permission, &desk.shared, BPF_NOEXIST as u64) {
            Ok(()) => return 0,
            Err(EXISTS) => {}
            Err(error) => return error,
        }
    }
    CONTENDED
}

/// Becomes a user of what a session from outside shares ([`nat_common::session::Birth::uses`]). All of
/// it has to be open.
#[inline(always)]
pub fn enter(request: &Request) -> Result<(), Verdict> {
    note(Uses::MAPPING, request.birth.range, &request.key, &request.claim);
    let desk = desk()?;
    let mapping = MAPPINGS.get_ptr_mut(&desk.key).ok_or(Verdict::Filtered)?;
    if !open(mapping.cast(), request.now_ns) {
        return Err(Verdict::Filtered);
    }
    if request.birth.uses == Uses::PERMISSION {
        let there = PERMISSIONS.get_ptr_mut(&desk.permission).ok_or(Verdict::Filtered)?;
        if !open(there, request.now_ns) {
            return Err(Verdict::Filtered);
        }
        if !joins(mapping.cast(), &desk.key) {
            return Err(Verdict::Contended);
        }
        if !joins(there, &desk.permission) {
            leave_mapping();
            return Err(Verdict::Contended);
        }
        desk.uses = Uses::PERMISSION;
        return Ok(());
    }
    if joins(mapping.cast(), &desk.key) { Ok(()) } else { Err(Verdict::Contended) }
}

#[inline(always)]
fn open(shared: *mut Shared, now_ns: u64) -> bool {
    // SAFETY: a map value's field, which others write whole.
    live(unsafe { read_volatile(&raw const (*shared).deadline_ns) }, now_ns)
}

/// The inside endpoint that owns an external one, and the first port of its range. `claim` is
/// [`FlowKey::toward_everybody`].
#[inline(always)]
pub fn owner(claim: &FlowKey) -> Result<Option<(Ipv4, Port, Port)>, Verdict> {
    let Some(owner) = OWNERS.get_ptr_mut(claim) else {
        return Ok(None);
    };
    // SAFETY: a map value, read before it is made sure of that it still is that of its key.
    let Owner { address, port, range, .. } = unsafe { read_volatile(owner) };
    // SAFETY: the same.
    if unsafe { read_volatile(&raw const (*owner).check) } != claim.fingerprint() {
        return Err(Verdict::Contended);
    }
    Ok(Some((address, port, range)))
}
