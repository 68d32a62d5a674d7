//! Mappings that depend on the inside endpoint alone: made with their first session, shared by the
//! others, gone with the last.
//!
//! A mapping is an entry in `MAPPINGS`, and the claim on its external endpoint in `OWNERS`. Whoever
//! uses it has been counted in it by compare-and-exchange; whoever takes the count to zero removes
//! both. No user, no mapping; no mapping without its users' consent: two packets of one inside
//! endpoint can meet at any moment and find one mapping.
use core::{
    ffi::c_void,
    ptr::{self, read_volatile},
};

use aya_ebpf::{
    bindings::BPF_NOEXIST, helpers::generated::bpf_loop, macros::map, maps::PerCpuArray,
};
use nat_common::{
    addr::{Ipv4, Port},
    flow::{Direction, FlowKey},
    limits::PORT_TRIES_MAX,
    mapping::{self, Mapping, Owner, Shared, Users, Uses},
    session::{Session, deadline, live, seconds},
    settings::Lifetime,
    verdict::Verdict,
};

use crate::{
    atomic,
    maps::{INBOUND, MAPPINGS, OWNERS, PERMISSIONS},
    stage::{
        cooldown,
        open::{EXISTS, Request, request},
        port, session,
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

    /// For [`extend`]: the packet's key, what it becomes, and the session's.
    packet: FlowKey,
    to: (Ipv4, Port),
    outbound: bool,
    range: Port,
    lifetime: u8,
    now_ns: u64,

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

/// A packet has moved the deadline of a session that shares a mapping: that stays open as long. What
/// comes from outside does not do that before the client has answered it (RFC 4787 REQ-6).
///
/// `key` is the packet's and `to` what its local endpoint becomes.
#[inline(always)]
pub fn extend(
    (uses, range): (u8, Port),
    direction: Direction,
    key: &FlowKey,
    to: (Ipv4, Port),
    lifetime: Lifetime,
    now_ns: u64,
) {
    let outbound = matches!(direction, Direction::Outbound);
    if !outbound && !matches!(lifetime, Lifetime::TcpEstablished) {
        return;
    }
    if let Ok(desk) = desk() {
        (desk.packet, desk.to, desk.outbound) = (*key, to, outbound);
        (desk.uses, desk.range) = (uses, range);
        (desk.lifetime, desk.now_ns) = (lifetime as u8, now_ns);
        extend_session();
    }
}

/// [`extend`]'s work. Exported as [`super::open::open`]'s steps.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn extend_session() -> u32 {
    let Ok(desk) = desk() else { return 0 };
    let Desk { packet, to, outbound, uses, range, now_ns, .. } = *desk;
    let timeout = session::timeout_ns(Lifetime::from_number(desk.lifetime));
    let Ok(timeout_ns) = timeout else { return 0 };
    let other = packet.translated(to.0, to.1);
    let (out, inbound) = if outbound { (packet, other) } else { (other, packet) };
    note(uses, range, &out, &inbound);
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
        // SAFETY: the same; aligned.
        if before_ns >= deadline_ns
            || unsafe { atomic::compare_exchange(word, before_ns, deadline_ns) } == before_ns
        {
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

/// Claims, for this CPU's [`Request`], the external endpoint of its mapping toward its remote
/// endpoint; makes the mapping if there is none. Leaves the result in [`Request::result`], as
/// [`port::claim`] does.
#[inline(always)]
pub fn claim() {
    let result = match claimed() {
        Ok(()) => 0,
        Err(error) => error,
    };
    if let Ok(request) = request() {
        request.result = result;
    }
}

/// As an error number: another CPU is at it, too.
pub const CONTENDED: i32 = -16;

#[inline(always)]
fn claimed() -> Result<(), i32> {
    let contended = |_: Verdict| CONTENDED;
    {
        let (request, desk) = (request().map_err(contended)?, desk().map_err(contended)?);
        desk.key = mapping::key(&request.key, request.external, request.birth.range);
        desk.uses = Uses::MAPPING;
    }
    let found = match join().map_err(contended)? {
        Some(port) => Some(port),
        None if make()? => None,
        // Another CPU was first.
        None => Some(join().map_err(contended)?.ok_or(CONTENDED)?),
    };
    if let Some(port) = found {
        match share_mapping(port.number().into()) {
            0 => {}
            error => return Err(error),
        }
    }
    let request = request().map_err(contended)?;
    let desk = desk().map_err(contended)?;
    desk.deadline_ns = deadline(request.now_ns, request.birth.timeout_ns);
    if request.birth.uses == Uses::PERMISSION {
        match permit_remote() {
            0 => {}
            error => return Err(error),
        }
    }
    extend_mapping();
    Ok(())
}

/// Claims the tuple of the request with the port of a mapping that has been joined; leaves it again on
/// failure. Returns as [`port::claim`].
///
/// Exported as [`extend_session`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn share_mapping(port: u32) -> i32 {
    let (Ok(request), Ok(desk)) = (request(), desk()) else {
        return CONTENDED;
    };
    let Request { key, external, now_ns, .. } = *request;
    request.claim = key.translated(external, Port::new(port as u16));
    desk.claim = request.claim.toward_everybody();
    request.entry =
        Session::new(&request.claim, (key.local, key.local_port), &request.birth, now_ns);
    let result = insert(request);
    if result != 0 {
        leave_mapping();
    }
    result
}

/// Claims the tuple, if it has rested.
#[inline(always)]
fn insert(request: &Request) -> i32 {
    let result = port::insert(request);
    if result == 0 && !cooldown::tuple_rested(&request.claim, request.now_ns) {
        let _ = INBOUND.remove(&request.claim);
        return EXISTS;
    }
    result
}

/// Makes the mapping on the desk, with the request as its first user. False if there is one by now.
#[inline(always)]
fn make() -> Result<bool, i32> {
    request().map_err(|_| CONTENDED)?.result = EXISTS;
    let body = try_next_endpoint as unsafe extern "C" fn(u32, *mut c_void) -> i64;
    // As in `port`.
    // SAFETY: the callback has the signature that the helper expects and takes no context.
    unsafe { bpf_loop(PORT_TRIES_MAX, body as *mut c_void, ptr::null_mut(), 0) };
    let (request, desk) = (request().map_err(|_| CONTENDED)?, desk().map_err(|_| CONTENDED)?);
    if request.result != 0 {
        return Err(request.result);
    }
    let deadline_ns = deadline(request.now_ns, request.birth.timeout_ns);
    desk.mapping = Mapping {
        shared: Shared::new(&desk.key, deadline_ns),
        port: request.claim.local_port,
        zero: 0,
        created_s: seconds(request.now_ns),
    };
    match MAPPINGS.insert(&desk.key, &desk.mapping, BPF_NOEXIST as u64) {
        Ok(()) => Ok(true),
        Err(error) => {
            // Nobody knows of the claims yet: no packet has left with them.
            let _ = INBOUND.remove(&request.claim);
            let _ = OWNERS.remove(&desk.claim);
            if error == EXISTS { Ok(false) } else { Err(error) }
        }
    }
}

/// What the callback returns to be called again, or not.
const AGAIN: i64 = 0;
const ENOUGH: i64 = 1;

/// # Safety
///
/// To be called by `bpf_loop` only.
unsafe extern "C" fn try_next_endpoint(_turn: u32, _context: *mut c_void) -> i64 {
    let (Ok(request), Ok(desk)) = (request(), desk()) else {
        return ENOUGH;
    };
    let Request { key, external, now_ns, .. } = *request;
    let inside = (key.local, key.local_port);
    request.claim = key.translated(external, request.candidates.next_port());
    desk.claim = request.claim.toward_everybody();
    desk.owner = Owner::new(&desk.claim, inside, request.birth.range);
    request.result = match OWNERS.insert(&desk.claim, &desk.owner, BPF_NOEXIST as u64) {
        Ok(()) => 0,
        Err(EXISTS) => return again(request),
        Err(error) => error,
    };
    if request.result != 0 {
        return ENOUGH;
    }
    if !cooldown::endpoint_rested(&desk.claim, inside, now_ns) {
        let _ = OWNERS.remove(&desk.claim);
        return again(request);
    }
    request.entry = Session::new(&request.claim, inside, &request.birth, now_ns);
    request.result = insert(request);
    if request.result == 0 {
        return ENOUGH;
    }
    let _ = OWNERS.remove(&desk.claim);
    if request.result == EXISTS { AGAIN } else { ENOUGH }
}

#[inline(always)]
fn again(request: &mut Request) -> i64 {
    request.result = EXISTS;
    AGAIN
}

/// Notes that the inside endpoint sends to the request's remote address. Undoes the claim on failure.
/// Exported as [`extend_session`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn permit_remote() -> i32 {
    let (Ok(request), Ok(desk)) = (request(), desk()) else {
        return CONTENDED;
    };
    desk.permission = mapping::permission_key(&request.claim);
    desk.shared = Shared::new(&desk.permission, desk.deadline_ns);
    let result = match PERMISSIONS.get_ptr_mut(&desk.permission) {
        Some(there) if joins(there, &desk.permission) => 0,
        Some(_) => CONTENDED,
        None => match PERMISSIONS.insert(&desk.permission, &desk.shared, BPF_NOEXIST as u64) {
            Ok(()) => 0,
            Err(EXISTS) => CONTENDED,
            Err(error) => error,
        },
    };
    if result == 0 {
        desk.uses = Uses::PERMISSION;
        return 0;
    }
    let _ = INBOUND.remove(&request.claim);
    leave_mapping();
    result
}

/// Gives up what [`claim`] has got, but for the tuple.
#[inline(always)]
pub fn give_back() {
    leave_mapping();
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
