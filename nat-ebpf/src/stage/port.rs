//! An external port for a new session.
use core::{ffi::c_void, ptr};

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_loop};
use nat_common::{limits::PORT_TRIES_MAX, session::Session};

use crate::{
    maps::INBOUND,
    stage::{
        cooldown,
        open::{EXISTS, Request, request},
        session,
    },
};

/// Claims an external endpoint for this CPU's [`Request`], by its candidates. The result of
/// the last insertion is in [`Request::result`]: 0 with the inbound key in [`Request::claim`], or an
/// error number.
///
/// The claim is the insertion itself, refused by the kernel if the tuple is there already, so two
/// CPUs cannot both succeed.
#[inline(always)]
pub fn claim() {
    let Ok(before) = request() else { return };
    before.result = EXISTS;
    let body = try_next_port as unsafe extern "C" fn(u32, *mut c_void) -> i64;
    // A loop of the kernel's, because the verifier follows a loop of ours once for every turn.
    // SAFETY: the callback has the signature that the helper expects and takes no context.
    unsafe { bpf_loop(PORT_TRIES_MAX, body as *mut c_void, ptr::null_mut(), 0) };
    let Ok(request) = request() else { return };
    if request.result == IN_THE_WAY {
        // A dead controller sweeps no more; its ended sessions shall cost no ports.
        session::take(&request.occupant, request.now_ns);
        request.result = insert(request);
        if request.result == 0 && !rested(request) {
            request.result = EXISTS;
        }
    }
}

/// What [`try_next_port`] returns to be called again, or not.
const AGAIN: i64 = 0;
const ENOUGH: i64 = 1;

/// [`Request::result`] when [`Request::claim`] is held by the session [`Request::occupant`], whose
/// time is up.
const IN_THE_WAY: i32 = 1;

/// # Safety
///
/// To be called by `bpf_loop` only.
unsafe extern "C" fn try_next_port(_turn: u32, _context: *mut c_void) -> i64 {
    let Ok(request) = request() else {
        return ENOUGH;
    };
    let Request { key, external, now_ns, .. } = *request;
    request.claim = key.translated(external, request.candidates.next_port());
    let inside = (key.local, key.local_port);
    request.entry = Session::new(&request.claim, inside, &request.birth, now_ns);
    request.result = insert(request);
    if request.result == 0 && !rested(request) {
        request.result = EXISTS;
        return AGAIN;
    }
    if request.result != EXISTS {
        return ENOUGH;
    }
    let Some(occupant) = session::to_be_taken(&request.claim, now_ns) else {
        return AGAIN;
    };
    request.occupant = occupant;
    request.result = IN_THE_WAY;
    ENOUGH
}

/// Whether the tuple that was claimed just now may be used; gives it up if not.
#[inline(always)]
fn rested(request: &Request) -> bool {
    let rested = cooldown::may_use(&request.claim, request.now_ns);
    if !rested {
        let _ = INBOUND.remove(&request.claim);
    }
    rested
}

/// Claims the tuple.
#[inline(always)]
pub fn insert(request: &Request) -> i32 {
    match INBOUND.insert(&request.claim, &request.entry, BPF_NOEXIST as u64) {
        Ok(()) => 0,
        Err(error) => error,
    }
}
