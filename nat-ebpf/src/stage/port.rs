//! An external port for a new session.
use core::{ffi::c_void, ptr};

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_loop};
use nat_common::{
    addr::Port,
    flow::Direction,
    hint::{self, Hint, TICK_NS},
    limits::{CLAIM_ROUNDS_MAX, PORT_TRIES_MAX},
    session::Session,
    verdict::Verdict,
};

use crate::{
    entry::Entry,
    maps::INBOUND,
    stage::{
        cooldown, hints,
        open::{self, EXISTS, Request, request},
        search::{self, Outcome},
        session::{self, Holder},
    },
};

/// What became of a try.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    Claimed,
    /// [`Request::occupant`] holds the port and can be taken away.
    InTheWay,
    /// The kernel would not insert: [`Request::result`].
    Refused,
    /// A session has the port.
    Taken,
    /// Its tuple rests.
    Rests,
}

/// Claims an external endpoint for this CPU's [`Request`]: afterwards its inbound key is in
/// [`Request::claim`].
///
/// The claim is the insertion itself, refused by the kernel if the tuple is there already, so two
/// CPUs cannot both succeed. A destination that few ports are used toward gets a random one. Where
/// that fails, the gateway begins to remember what is free toward it: see [`search`].
#[inline(always)]
pub fn claim() -> Result<(), Verdict> {
    let Request { key, external, generation, now_ns, held, .. } = *request()?;
    if held {
        give_back(request()?);
    }
    let destination = hint::destination(&key.translated(external, Port::NONE));
    let at = match hints::find(destination, generation) {
        Some(at) => at,
        None => {
            if by_chance()? {
                return Ok(());
            }
            hints::assign(destination, now_ns / TICK_NS);
            hints::find(destination, generation).ok_or(Verdict::Contended)?
        }
    };
    let Request { rule, ports, claim, .. } = *request()?;
    if held {
        at.held(claim.local_port, now_ns);
    }
    if !search::begin(at, generation, rule, ports, now_ns)? {
        return Err(Verdict::NoPort);
    }
    for _ in 0..CLAIM_ROUNDS_MAX {
        match search::go_on() {
            Outcome::Claimed => return Ok(()),
            Outcome::InTheWay => session::take(&request()?.occupant, now_ns),
            Outcome::Refused => return Err(open::refused(request()?.result)),
            Outcome::Full | Outcome::Going => return Err(Verdict::NoPort),
        }
    }
    Err(Verdict::Contended)
}

/// Claims a random port. Returns whether one of a few was free.
#[inline(always)]
fn by_chance() -> Result<bool, Verdict> {
    request()?.tried = Tried::Taken;
    let body = try_next_port as unsafe extern "C" fn(u32, *mut c_void) -> i64;
    // A loop of the kernel's, because the verifier follows a loop of ours once for every turn.
    // SAFETY: the callback has the signature that the helper expects and takes no context.
    unsafe { bpf_loop(PORT_TRIES_MAX, body as *mut c_void, ptr::null_mut(), 0) };
    match request()?.tried {
        Tried::Refused => Err(open::refused(request()?.result)),
        tried => Ok(tried == Tried::Claimed),
    }
}

/// # Safety
///
/// To be called by `bpf_loop` only.
unsafe extern "C" fn try_next_port(_turn: u32, _context: *mut c_void) -> i64 {
    let Ok(request) = request() else {
        return ENOUGH;
    };
    let port = request.candidates.next_port();
    match attempt(port) {
        Tried::Claimed | Tried::Refused => ENOUGH,
        // A port of another's whose time is over is found by the search.
        Tried::InTheWay | Tried::Taken | Tried::Rests => AGAIN,
    }
}

/// What [`try_next_port`] returns to be called again, or not.
const AGAIN: i64 = 0;
const ENOUGH: i64 = 1;

/// Tries to claim a port for this CPU's request.
#[inline(always)]
pub fn attempt(port: Port) -> Tried {
    try_port(port.number().into());
    request().map_or(Tried::Refused, |request| request.tried)
}

/// Exported, so that the verifier judges it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn try_port(port: u32) -> u32 {
    if let Ok(request) = request() {
        request.tried = tried(request, Port::new(port as u16));
    }
    0
}

#[inline(always)]
fn tried(request: &mut Request, port: Port) -> Tried {
    request.claim = request.key.translated(request.external, port);
    let inside = (request.key.local, request.key.local_port);
    request.entry = Session::new(&request.claim, inside, &request.birth, request.now_ns);
    request.result = match INBOUND.insert(&request.claim, &request.entry, BPF_NOEXIST as u64) {
        Ok(()) => 0,
        Err(error) => error,
    };
    match request.result {
        0 => match cooldown::blocker(&request.claim, request.now_ns) {
            None => {
                request.truth = Hint::taken(request.entry.deadline_ns, request.now_ns);
                Tried::Claimed
            }
            Some(truth) => {
                let _ = INBOUND.remove(&request.claim);
                request.truth = truth;
                Tried::Rests
            }
        },
        EXISTS => match session::holder(&request.claim, &mut request.occupant, request.now_ns) {
            Holder::Over => Tried::InTheWay,
            Holder::There(truth) => {
                request.truth = truth;
                Tried::Taken
            }
            Holder::Gone => {
                request.truth = Hint::UNKNOWN;
                Tried::Taken
            }
        },
        _ => Tried::Refused,
    }
}

/// What the last try has shown of its port.
#[inline(always)]
pub fn truth() -> Hint {
    request().map_or(Hint::UNKNOWN, |request| request.truth)
}

/// Whether anybody has what was claimed last.
#[inline(always)]
pub fn is_claimed() -> bool {
    request().is_ok_and(|request| Entry::find(Direction::Inbound, &request.claim).is_some())
}

/// Gives a claim back that nobody knows of yet.
#[inline(always)]
pub fn give_back(request: &Request) {
    let _ = INBOUND.remove(&request.claim);
    hints::forget(&request.claim);
}
