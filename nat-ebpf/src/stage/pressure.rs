//! A port that rests, for a connection that would be refused otherwise: one whose server, as the sequence
//! numbers say, cannot mistake the new connection for the old one ([`Resting::gives_way`]).
//!
//! Sampled rather than searched: of some random ports the one goes that has rested longest. The work is
//! bounded, and next to nobody can say which one it will be.
use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::generated::bpf_loop;
use nat_common::{
    addr::Port,
    cooldown::elapsed_ns,
    flow::{Direction, Protocol},
    limits::PRESSURE_PORTS,
    verdict::Verdict,
};

use crate::entry::Entry;

use super::{
    cooldown, hints,
    port::{self, Tried},
    request::{Request, request},
    session,
};

/// The best port so far, in this CPU's [`Request`].
#[derive(Clone, Copy)]
pub struct Pressed {
    /// Whether the port that is tried is to be taken though it rests.
    pub takes: bool,
    port: Port,
    /// How long it has rested; 0 is not at all.
    rested_ns: u64,
}

impl Pressed {
    const NONE: Self = Self { takes: false, port: Port::NONE, rested_ns: 0 };
}

/// Claims a port that rests: the number of a verdict, as [`port::claim_port`].
#[inline(always)]
pub fn claim() -> u32 {
    if weigh_ports() != 0 && take_port() != 0 {
        Verdict::TranslatedOut as u32
    } else {
        Verdict::NoPort as u32
    }
}

/// Looks for a port that gives way: 0 or 1. Exported as [`port::claim_port`]'s steps are.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn weigh_ports() -> u32 {
    let Ok(request) = request() else { return 0 };
    request.pressed = Pressed::NONE;
    let may = request.key.protocol == Protocol::Tcp as u8 && !request.maps();
    if !may || !cooldown::reuses_under_pressure() {
        return 0;
    }
    let body = weigh_next as unsafe extern "C" fn(u32, *mut c_void) -> i64;
    // SAFETY: the callback has the signature that the helper expects and takes no context.
    unsafe { bpf_loop(PRESSURE_PORTS, body as *mut c_void, ptr::null_mut(), 0) };
    super::request::request().map_or(0, |request| u32::from(request.pressed.rested_ns != 0))
}

/// # Safety
///
/// To be called by `bpf_loop` only.
unsafe extern "C" fn weigh_next(_turn: u32, _context: *mut c_void) -> i64 {
    weigh_port();
    0
}

/// Looks at the next random port. Exported as [`weigh_ports`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn weigh_port() -> u32 {
    let Ok(request) = request() else { return 0 };
    let Ok(ports) = request.ports() else { return 0 };
    let port = request.candidates.next_port(ports);
    request.claim = request.key.translated(request.external, port);
    if let Some(rested_ns) = rested_ns(request)
        && rested_ns > request.pressed.rested_ns
    {
        (request.pressed.port, request.pressed.rested_ns) = (port, rested_ns);
    }
    0
}

/// How long the claimed tuple has rested, if it gives way.
#[inline(always)]
fn rested_ns(request: &mut Request) -> Option<u64> {
    let resting = match Entry::find(Direction::Inbound, &request.claim) {
        Some(inbound) => {
            session::closed(inbound, &request.claim, &mut request.occupant, request.now_ns)?
        }
        None => *cooldown::resting(&request.claim)?,
    };
    let gives_way = resting.gives_way(request.birth.first.sequence, request.now_ns);
    gives_way.then_some(elapsed_ns(resting.closed_ns, request.now_ns) as u64)
}

/// Claims the port that has been found: 0 or 1. Exported as [`weigh_ports`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn take_port() -> u32 {
    let Ok(request) = request() else { return 0 };
    let port = request.pressed.port;
    request.claim = request.key.translated(request.external, port);
    // What is over but for late packets goes; from then on its tuple rests, until it is claimed.
    let Request { claim, occupant, now_ns, .. } = request;
    let closed = Entry::find(Direction::Inbound, claim)
        .and_then(|inbound| session::closed(inbound, claim, occupant, *now_ns));
    if closed.is_some() {
        session::take(occupant, *now_ns);
    }
    request.pressed.takes = true;
    let tried = port::attempt(port);
    let Ok(request) = super::request::request() else { return 0 };
    request.pressed.takes = false;
    if tried == Tried::Claimed {
        // What is known of the port is when the session before would have rested long enough: the new one
        // may end earlier, without a packet that says so.
        hints::claimed(&request.claim, request.entry.deadline_ns, request.now_ns);
        cooldown::count_reused();
        return 1;
    }
    0
}
