//! A free port toward a busy destination, found by what is known of its ports.
//!
//! Chunk by chunk from a random one on, until some have been seen that have a free port, or one of which
//! nothing is known, as there is no better one; of those the port is tried that has been free for longest. So ports come back late, and nobody knows
//! which one is next.
use core::{ffi::c_void, ptr};

use aya_ebpf::{
    helpers::generated::{bpf_get_prandom_u32, bpf_loop},
    macros::map,
    maps::PerCpuArray,
};
use nat_common::{
    addr::Port,
    hint::{self, CHUNK_PORTS, Hint, Rank, TICK_NS, When},
    limits::SEARCH_TURNS_MAX,
    stats::Effort,
    verdict::Verdict,
};

use crate::packet::opaque;

use super::{
    hints,
    port::{self, Tried},
    request::{Request, request},
    stats,
};

/// A search, in this CPU's memory.
pub struct Search {
    at: hints::At,
    stamp: u64,
    /// Now, as a tick.
    now: u64,
    /// What the destination's word was before.
    before: When,
    /// The first and the last chunk of the range, the next one, and how many are left.
    first: u32,
    last: u32,
    next: u32,
    left: u32,
    /// Makes equals unequal.
    turn: u32,
    /// Chunks with a free port that have been seen since the last try.
    seen: u32,
    /// Where the search goes on if the best port fails: the first of these chunks.
    again: u32,
    left_again: u32,
    /// The best port so far.
    best: Rank,
    best_chunk: u32,
    /// What is known of the port that is being tried.
    hint: Hint,
    /// When the first of all ports that were not free will be.
    release: u64,
    outcome: Outcome,
}

/// How a search has ended.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Not yet: the bound was reached.
    Going,
    Claimed,
    /// The port is held by a session that may be taken away: [`super::request::Request::occupant`].
    InTheWay,
    /// There is no free port.
    Full,
    /// The memory was given to another destination meanwhile.
    Lost,
    /// The kernel would not insert.
    Refused,
}

/// Chunks with a free port that are seen before one is chosen: of 256 ports.
const CHUNKS_SEEN: u32 = 4;

#[map]
static SEARCH: PerCpuArray<Search> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
fn search() -> Option<&'static mut Search> {
    // SAFETY: the programs of a CPU do not interrupt each other, and of one only one reference is
    // used at a time.
    SEARCH.get_ptr_mut(0).map(|search| unsafe { &mut *search })
}

/// Prepares a search. Returns whether there is anything to look for.
#[inline(always)]
pub fn begin(at: hints::At, request: &mut Request) -> Result<bool, Verdict> {
    request.learns = true;
    let search = search().ok_or(Verdict::NotConfigured)?;
    search.now = request.now_ns / TICK_NS;
    search.stamp = request.port_set.into();
    search.before = at.when();
    at.use_at(search.now);
    if search.before.tick(search.stamp) > search.now {
        return if at.is_held() { Ok(false) } else { Err(Verdict::Contended) };
    }
    search.at = at;
    let (first, last) = request.ports()?.ends();
    search.first = first / CHUNK_PORTS;
    search.last = last / CHUNK_PORTS;
    search.left = search.last.wrapping_sub(search.first).wrapping_add(1);
    // SAFETY: the helper has no precondition.
    search.turn = unsafe { bpf_get_prandom_u32() };
    search.next = search.first + (((search.turn >> 16) * search.left) >> 16);
    search.seen = 0;
    search.best = Rank::NONE;
    search.release = hint::NEVER;
    Ok(true)
}

/// Goes on with the search, at first with the port that was tried last if its holder has been taken
/// away.
#[inline(always)]
pub fn go_on() -> Outcome {
    if let Some(search) = search() {
        search.outcome = Outcome::Going;
    }
    let body = turn as unsafe extern "C" fn(u32, *mut c_void) -> i64;
    // SAFETY: the callback has the signature that the helper expects and takes no context.
    unsafe { bpf_loop(SEARCH_TURNS_MAX, body as *mut c_void, ptr::null_mut(), 0) };
    search().map_or(Outcome::Refused, |search| search.outcome)
}

const AGAIN: i64 = 0;
const ENOUGH: i64 = 1;

/// # Safety
///
/// To be called by `bpf_loop` only.
unsafe extern "C" fn turn(_turn: u32, _context: *mut c_void) -> i64 {
    let Some(search) = search() else { return ENOUGH };
    if search.left != 0 && search.seen < CHUNKS_SEEN {
        look_at_ports();
        return AGAIN;
    }
    if search.best == Rank::NONE {
        let after = search.before.looked(search.stamp, search.release);
        search.at.looked(search.before, after);
        search.outcome = if search.at.is_held() { Outcome::Full } else { Outcome::Lost };
        return ENOUGH;
    }
    attempt(search)
}

/// Looks at the next chunk. Exported, so that the verifier judges it once, and not as a part of the
/// loop around it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn look_at_ports() -> u32 {
    if let Some(search) = search() {
        look(search);
    }
    0
}

#[inline(always)]
fn look(search: &mut Search) {
    stats::spend(Effort::Look);
    let number = search.next;
    search.next = if number >= search.last { search.first } else { number + 1 };
    search.left -= 1;
    let before = search.at.chunk_when(number);
    let tick = before.tick(search.stamp);
    if tick > search.now {
        search.release = search.release.min(tick);
        return;
    }
    let Ok(ports) = request().and_then(|request| request.ports()) else { return };
    let allowed = ports.among(number * CHUNK_PORTS);
    let Some(hints) = search.at.hints(number) else { return };
    let mut best = Rank::NONE;
    for index in 0..CHUNK_PORTS {
        // SAFETY: an element of an array behind a valid pointer, which other CPUs write.
        let hint = unsafe { ptr::read_volatile(&raw const (*hints)[index as usize]) };
        let rank = hint.rank(search.now).of(index, search.turn).if_allowed(allowed, index);
        best = better(best, rank);
    }
    if best.is_none() || best.left() != 0 {
        let release = if best.is_none() { hint::NEVER } else { search.now + best.left() };
        search.release = search.release.min(release);
        search.at.chunk_looked(number, before, before.looked(search.stamp, release));
        return;
    }
    if search.best == Rank::NONE {
        search.again = number;
        search.left_again = search.left + 1;
    }
    search.seen = if best.is_unknown() { CHUNKS_SEEN } else { search.seen + 1 };
    // By age alone: the lowest bits only tell the ports of a chunk apart.
    if best < search.best {
        search.best = best;
        search.best_chunk = number;
    }
}

/// The better one of two, without a branch: the verifier would walk each way through all ports.
#[inline(always)]
fn better(one: Rank, other: Rank) -> Rank {
    let distance = other.0.wrapping_sub(one.0);
    // All ones if the other one is less. Opaque, because the compiler would make a branch of it.
    let less = opaque((distance as i64 >> 63) as usize) as u64;
    Rank(one.0.wrapping_add(distance & less))
}

/// Tries the best port.
#[inline(always)]
fn attempt(search: &mut Search) -> i64 {
    let port = search.best_port();
    // Read before the try: what is written while it goes on is newer than what it shows.
    search.hint = search.at.hint(port);
    let tried = port::attempt(port);
    search.outcome = match tried {
        Tried::Claimed => {
            search.at.taken(port, port::truth());
            Outcome::Claimed
        }
        Tried::InTheWay => {
            // The same one again.
            search.seen = CHUNKS_SEEN;
            Outcome::InTheWay
        }
        Tried::Refused => Outcome::Refused,
        Tried::Taken | Tried::Rests => {
            let truth = port::truth();
            search.at.learnt(port, search.hint, truth);
            if tried == Tried::Taken && !port::is_claimed() {
                // Its end came before this was written: nobody would take it back.
                search.at.ended(port, Hint::UNKNOWN, search.now);
            }
            search.pass_over();
            return AGAIN;
        }
    };
    ENOUGH
}

impl Search {
    #[inline(always)]
    fn best_port(&self) -> Port {
        let number = self.best_chunk * CHUNK_PORTS + self.best.index(self.turn);
        Port::new(number as u16)
    }

    /// Goes on without the best port; the next that is found will do.
    #[inline(always)]
    fn pass_over(&mut self) {
        self.next = self.again;
        self.left = self.left_again;
        self.best = Rank::NONE;
        self.seen = CHUNKS_SEEN - 1;
    }
}
