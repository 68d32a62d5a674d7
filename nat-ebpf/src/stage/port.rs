//! An external port for a new session.
use core::{ffi::c_void, ptr};

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_loop};
use nat_common::{
    addr::Port,
    flow::Direction,
    hint::{self, Hint, TICK_NS},
    limits::{CLAIM_ROUNDS_MAX, PORT_TRIES_MAX, SPILL_ADDRESSES_MAX},
    session::Birth,
    stats::Effort,
    verdict::Verdict,
};

use crate::{
    entry::Entry,
    maps::INBOUND,
    stage::{
        cooldown, hints, mapping, open, pressure,
        request::{EXISTS, Request, refused, request},
        search::{self, Outcome},
        session::{self, Holder},
        stats,
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

/// Claims an external endpoint for this CPU's [`Request`], of which the inbound key is then in
/// [`Request::claim`]: the number of a verdict, [`Verdict::TranslatedOut`] if there is one. `held`
/// says that a socket of this machine has the one that is there already.
///
/// The claim is the insertion itself, refused by the kernel if the tuple is there already, so two
/// CPUs cannot both succeed. A destination that few ports are used toward gets a random one. Where
/// that fails, the gateway begins to remember what is free toward it: see [`search`].
///
/// Goes from one address to the next where the rule says so. Exported, as all of the steps, so that the
/// verifier judges it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn claim_port(held: u32) -> u32 {
    let mut held = held;
    if is_mapped() {
        if held != 0 {
            find_place(held);
            held = 0;
        }
        // Its tuple is the same one again.
        open::end_before();
        match join_anywhere() {
            mapping::NONE => {}
            joined => return mapping::joined(joined),
        }
    }
    if held == 0 && is_kept() {
        return if is_mapped() { mapping::made() } else { Verdict::TranslatedOut as u32 };
    }
    match claim_somewhere(held) {
        verdict if verdict == Verdict::NoPort as u32 => pressure::claim(),
        verdict => verdict,
    }
}

/// Claims a port of the first address of the rule's that has one free: the number of a verdict.
#[inline(always)]
fn claim_somewhere(mut held: u32) -> u32 {
    for _ in 0..SPILL_ADDRESSES_MAX {
        let verdict = claim_here(held);
        if verdict != Verdict::NoPort as u32
            || open::spill_session() != Verdict::TranslatedOut as u32
        {
            return verdict;
        }
        held = 0;
    }
    claim_here(held)
}

/// Claims the port that a packet of this machine has already, if it is to keep that and nobody has it.
#[inline(always)]
fn is_kept() -> bool {
    may_keep_port() != 0
        && request().is_ok_and(|request| attempt(request.key.local_port) == Tried::Claimed)
}

/// Notes what this machine's own packets have of their own: whether this CPU's request may keep its port:
/// 0 or 1.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn may_keep_port() -> u32 {
    let Ok(request) = request() else { return 0 };
    request.keeps = request.own
        && request.external == request.source
        && request.ports().is_ok_and(|ports| ports.has(request.key.local_port));
    if request.joins {
        // The rule is not for this packet: nobody asked for smaller segments.
        request.birth.mss = 0;
    }
    request.keeps.into()
}

/// Joins the request's mapping, which may be on another address of the pool.
#[inline(always)]
fn join_anywhere() -> u32 {
    let Ok(Request { external, .. }) = request() else { return mapping::NONE };
    let first = *external;
    let mut step = mapping::join_mapping();
    for _ in 0..SPILL_ADDRESSES_MAX {
        if step != mapping::NONE || open::spill_session() != Verdict::TranslatedOut as u32 {
            break;
        }
        step = mapping::join_mapping();
    }
    if step == mapping::NONE
        && let Ok(request) = request()
    {
        request.external = first;
    }
    step
}

/// Claims a port of the address that the request is for now: the number of a verdict.
///
/// Here only the order of its steps: each is a function of its own, because there is no room on the
/// stack for one below the other.
#[inline(always)]
fn claim_here(held: u32) -> u32 {
    let mut step = find_place(held);
    if step == BY_CHANCE {
        step = try_by_chance();
    }
    if step == MAKE_PLACE {
        step = make_place();
    }
    if step == GO_ON {
        step = begin_search();
    }
    for _ in 0..CLAIM_ROUNDS_MAX {
        if step != GO_ON {
            break;
        }
        step = search_port();
    }
    if is_mapped() {
        if step == Verdict::NoPort as u32 {
            // One that rests may be this inside endpoint's own, which the search does not know.
            step = match try_by_chance() {
                MAKE_PLACE => step,
                tried => tried,
            };
        }
        if step == Verdict::TranslatedOut as u32 {
            return mapping::made();
        }
    }
    if step >= BY_CHANCE { Verdict::Contended as u32 } else { step }
}

/// What a step returns for the next one; else it is the number of a verdict,
/// [`Verdict::TranslatedOut`] if a port is claimed.
const BY_CHANCE: u32 = 0x100;
const MAKE_PLACE: u32 = 0x101;
const GO_ON: u32 = 0x102;

fn code(result: Result<u32, Verdict>) -> u32 {
    match result {
        Ok(next) => next,
        Err(verdict) => verdict as u32,
    }
}

/// Looks whether the destination is a busy one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_place(held: u32) -> u32 {
    let begin = || {
        let request = request()?;
        request.learns = false;
        if held != 0 {
            give_back(request);
        }
        request.toward = destination(request);
        let Some(at) = hints::find(request.toward, request.generation) else {
            return Ok(BY_CHANCE);
        };
        if held != 0 {
            at.held(request.claim.local_port, request.now_ns);
        }
        Ok(GO_ON)
    };
    code(begin())
}

/// Tries a few random ports.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn try_by_chance() -> u32 {
    code(by_chance())
}

/// Begins to remember what is free toward the destination.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn make_place() -> u32 {
    if let Ok(request) = request() {
        hints::assign(request.toward, request.now_ns / TICK_NS);
    }
    GO_ON
}

/// Prepares the search.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn begin_search() -> u32 {
    let begin = || {
        let request = request()?;
        // Without a place, another destination was given it at this moment.
        let at = hints::find(request.toward, request.generation).ok_or(Verdict::Contended)?;
        match search::begin(at, request)? {
            true => Ok(GO_ON),
            false => Err(Verdict::NoPort),
        }
    };
    code(begin())
}

#[inline(always)]
fn destination(request: &Request) -> u64 {
    let toward = request.key.translated(request.external, Port::NONE);
    // A mapping's external endpoint is its own toward everybody.
    let toward = if request.maps() { toward.toward_everybody() } else { toward };
    hint::destination(&toward)
}

/// Whether a mapping is what this CPU's request asks for.
#[inline(always)]
fn is_mapped() -> bool {
    request().is_ok_and(|request| request.maps())
}

/// A search. Takes away what is in its way, if anything; then another one claims the port.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn search_port() -> u32 {
    match search::go_on() {
        Outcome::Claimed => Verdict::TranslatedOut as u32,
        Outcome::InTheWay => {
            if let Ok(request) = request() {
                session::take(&request.occupant, request.now_ns);
            }
            GO_ON
        }
        Outcome::Refused => code(request().and_then(|request| Err(refused(request.result)))),
        Outcome::Full => code(Err(Verdict::NoPort)),
        Outcome::Going => code(Err(Verdict::Searching)),
        Outcome::Lost => code(Err(Verdict::Contended)),
    }
}

#[inline(always)]
fn by_chance() -> Result<u32, Verdict> {
    request()?.tried = Tried::Taken;
    let body = try_next_port as unsafe extern "C" fn(u32, *mut c_void) -> i64;
    // A loop of the kernel's, because the verifier follows a loop of ours once for every turn.
    // SAFETY: the callback has the signature that the helper expects and takes no context.
    unsafe { bpf_loop(PORT_TRIES_MAX, body as *mut c_void, ptr::null_mut(), 0) };
    match request()?.tried {
        Tried::Claimed => Ok(Verdict::TranslatedOut as u32),
        Tried::Refused => Err(refused(request()?.result)),
        _ => Ok(MAKE_PLACE),
    }
}

/// # Safety
///
/// To be called by `bpf_loop` only.
unsafe extern "C" fn try_next_port(_turn: u32, _context: *mut c_void) -> i64 {
    let Some((request, ports)) =
        request().ok().and_then(|request| request.ports().ok().map(|ports| (request, ports)))
    else {
        return ENOUGH;
    };
    match attempt(request.candidates.next_port(ports)) {
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
    let number = port.number().into();
    if is_mapped() {
        mapping::try_endpoint(number);
    } else {
        try_port(number);
    }
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

/// Claims the tuple.
#[inline(always)]
fn tried(request: &mut Request, port: Port) -> Tried {
    stats::spend(Effort::Try);
    request.claim = request.key.translated(request.external, port);
    request.write_claim();
    request.result = match INBOUND.insert(&request.claim, &request.entry, BPF_NOEXIST as u64) {
        Ok(()) => 0,
        Err(error) => error,
    };
    match request.result {
        0 => match cooldown::blocker(&request.claim, request.now_ns) {
            Some(truth) if !takes(request) => {
                let _ = INBOUND.remove(&request.claim);
                request.truth = truth;
                Tried::Rests
            }
            _ => {
                request.truth = Hint::taken(request.entry.deadline_ns, request.now_ns);
                Tried::Claimed
            }
        },
        EXISTS => match held(request) {
            Tried::InTheWay => in_the_way(request),
            tried => tried,
        },
        _ => Tried::Refused,
    }
}

/// Nobody is removed for a port that rests toward everybody: it could not be had all the same.
#[inline(always)]
fn in_the_way(request: &mut Request) -> Tried {
    match cooldown::port_blocker(&request.claim, request.now_ns) {
        Some(truth) => {
            request.truth = truth;
            Tried::Rests
        }
        None => Tried::InTheWay,
    }
}

/// What a tuple is that a session has: one that is over can be taken away.
#[inline(always)]
pub fn held(request: &mut Request) -> Tried {
    if !request.learns {
        return Tried::Taken;
    }
    let truth = match session::holder(&request.claim, &mut request.occupant, request.now_ns) {
        Holder::Over => return Tried::InTheWay,
        Holder::There(truth) => truth,
        Holder::Gone => Hint::UNKNOWN,
    };
    request.truth = truth;
    Tried::Taken
}

/// Whether the request takes what it has claimed although that rests.
#[inline(always)]
fn takes(request: &Request) -> bool {
    request.pressed.takes
        && cooldown::gives_way(&request.claim, request.birth.first.sequence, request.now_ns)
}

/// What the last try has shown of its port.
#[inline(always)]
pub fn truth() -> Hint {
    request().map_or(Hint::UNKNOWN, |request| request.truth)
}

/// Whether anybody has what was claimed last.
#[inline(always)]
pub fn is_claimed() -> bool {
    request().is_ok_and(|request| {
        Entry::find(Direction::Inbound, &request.claim).is_some()
            || request.maps() && mapping::has_owner(&request.claim)
    })
}

/// Gives a claim back that nobody knows of yet.
#[inline(always)]
pub fn give_back(request: &Request) {
    if request.theirs {
        return;
    }
    let _ = INBOUND.remove(&request.claim);
    if request.maps() {
        let Birth { uses, range, .. } = request.birth;
        mapping::leave(uses, range, &request.key, &request.claim);
    } else {
        hints::forget(&request.claim);
    }
}

/// [`give_back`] of this CPU's request, exported as the steps are.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn give_back_port() -> u32 {
    if let Ok(request) = request() {
        give_back(request);
    }
    0
}
