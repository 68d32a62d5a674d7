//! The memory behind [`nat_common::hint`]: what is known of the ports toward busy destinations.
//!
//! Everything here is shared with other CPUs and may be given to another destination at any time.
//! What is written into a chunk that has changed hands meanwhile is wiped out again.
use core::{
    ffi::c_void,
    ptr::{read_volatile, write_volatile},
};

use aya_ebpf::helpers::generated::bpf_loop;
use nat_common::{
    addr::Port,
    flow::FlowKey,
    hint::{self, CHUNK_PORTS, CHUNKS, Chunk, Hint, Owner, Place, TICK_NS, WAYS, When},
};

use super::classify;
use crate::{
    atomic,
    maps::{HINT_CHUNKS, HINT_PLACES, HINT_SETS, INSTANCE},
    packet::opaque,
};

/// The place of a destination.
#[derive(Clone, Copy)]
pub struct At {
    index: u32,
    owner: Owner,
    /// [`Owner::mark`] under the settings in force.
    mark: u64,
}

/// A word is tried to be changed so often; after that it is overwritten by what is always true.
const WORD_TRIES: u32 = 3;

#[inline(always)]
fn set_of(destination: u64) -> Option<(u32, *mut [u64; WAYS as usize])> {
    let instance = INSTANCE.get(0)?;
    let sets = hint::sets(instance.max_sessions, instance.max_cooling);
    // Not divided: 16 bits are enough for a number of sets.
    let set = ((destination as u32 & 0xffff) * sets) >> 16;
    Some((set, HINT_SETS.get_ptr_mut(set)?))
}

/// The place of a destination, if it has one.
#[inline(always)]
pub fn find(destination: u64, generation: u32) -> Option<At> {
    let (set, owners) = set_of(destination)?;
    for way in 0..WAYS {
        // SAFETY: an element of the array behind a valid pointer, whole words.
        let owner = Owner(unsafe { read_volatile(&raw const (*owners)[way as usize]) });
        if owner.is(destination) {
            let index = set * WAYS + way;
            let since = classify::settings(generation).ok()?.hints_since;
            return Some(At { index, owner, mark: owner.mark(since) });
        }
    }
    None
}

/// Gives a place to a destination: an empty one, or that of the one that was longest not asked
/// for.
#[inline(never)]
pub fn assign(destination: u64, now: u64) -> bool {
    let Some((set, owners)) = set_of(destination) else { return false };
    let (mut oldest, mut oldest_used) = (0, u64::MAX);
    for way in 0..WAYS {
        let Some(place) = HINT_PLACES.get_ptr_mut(set * WAYS + way) else { return false };
        // SAFETY: as in `find`, and a whole word of a map value.
        let (owner, used) = unsafe {
            (
                read_volatile(&raw const (*owners)[way as usize]),
                read_volatile(&raw const (*place).used),
            )
        };
        let used = if owner == Owner::NOBODY.0 { 0 } else { used };
        if used < oldest_used {
            (oldest, oldest_used) = (way, used);
        }
    }
    let Some(place) = HINT_PLACES.get_ptr_mut(set * WAYS + oldest % WAYS) else { return false };
    // SAFETY: as above. Before the owner, so that nobody else takes it at once.
    unsafe { write_volatile(&raw mut (*place).used, now) };
    // SAFETY: as above; aligned words.
    unsafe {
        let owner = &raw mut (*owners)[(oldest % WAYS) as usize];
        let before = Owner(read_volatile(owner));
        let between = before.none_next();
        if atomic::compare_exchange(owner, before.0, between.0) != before.0 {
            return false;
        }
        clear(set * WAYS + oldest % WAYS);
        atomic::compare_exchange(owner, between.0, between.then(destination).0) == between.0
    }
}

/// Words of a place that are wiped in one turn of a loop.
const WIPED_WORDS: u32 = 16;

/// Wipes out from when on it was worth looking at a place: that was another destination's.
#[inline(always)]
fn clear(place: u32) {
    let Some(at) = HINT_PLACES.get_ptr_mut(place) else { return };
    // SAFETY: a whole word of a map value.
    unsafe { write_volatile((&raw mut (*at).when).cast::<u64>(), 0) };
    let mut place = place;
    // SAFETY: the callback has the signature that the helper expects, and its context is a number.
    unsafe {
        let body = wipe as unsafe extern "C" fn(u32, *mut c_void) -> i64;
        bpf_loop(CHUNKS / WIPED_WORDS, body as *mut c_void, (&raw mut place).cast(), 0);
    }
}

/// # Safety
///
/// To be called by `bpf_loop` only, with the number of a place.
unsafe extern "C" fn wipe(turn: u32, place: *mut c_void) -> i64 {
    // SAFETY: the caller vouches for it.
    let place = unsafe { *place.cast::<u32>() };
    let Some(at) = HINT_PLACES.get_ptr_mut(place) else { return 1 };
    let first = turn % (CHUNKS / WIPED_WORDS) * WIPED_WORDS;
    for index in 0..WIPED_WORDS {
        // SAFETY: an element of an array behind a valid pointer, a whole word.
        unsafe {
            write_volatile((&raw mut (*at).chunks[(first + index) as usize]).cast::<u64>(), 0);
        }
    }
    0
}

impl At {
    #[inline(always)]
    fn place(self) -> Option<*mut Place> {
        HINT_PLACES.get_ptr_mut(self.index)
    }

    #[inline(always)]
    fn chunk(self, chunk: u32) -> Option<*mut Chunk> {
        HINT_CHUNKS.get_ptr_mut(self.index * CHUNKS + chunk % CHUNKS)
    }

    /// Notes that the destination is asked for.
    #[inline(always)]
    pub fn use_at(self, now: u64) {
        if let Some(place) = self.place() {
            // SAFETY: a whole word of a map value.
            unsafe { write_volatile(&raw mut (*place).used, now) };
        }
    }

    /// From when on it is worth looking at the destination.
    #[inline(always)]
    pub fn when(self) -> When {
        // SAFETY: a whole word of a map value.
        self.place().map_or(When(0), |place| unsafe { read_volatile(&raw const (*place).when) })
    }

    /// Whether the place is still this destination's. If it is not, what has just been written there
    /// is to be taken back, and what has been read may be another one's.
    #[inline(always)]
    pub fn is_held(self) -> bool {
        let Some(owners) = HINT_SETS.get_ptr_mut(self.index / WAYS) else { return false };
        // SAFETY: an element of the array behind a valid pointer, a whole word.
        let owner = unsafe { read_volatile(&raw const (*owners)[(self.index % WAYS) as usize]) };
        owner == self.owner.0
    }

    /// Notes what a look at all chunks has found, unless something has ended since `before`.
    #[inline(always)]
    pub fn looked(self, before: When, after: When) {
        if let Some(place) = self.place() {
            // SAFETY: an aligned word of a map value.
            unsafe {
                let word = (&raw mut (*place).when).cast();
                if atomic::compare_exchange(word, before.0, after.0) == before.0 && !self.is_held()
                {
                    lower(word, 0);
                }
            }
        }
    }

    /// The same of a chunk.
    #[inline(always)]
    pub fn chunk_when(self, chunk: u32) -> When {
        // SAFETY: an element of an array behind a valid pointer, a whole word.
        self.place().map_or(When(0), |place| unsafe {
            read_volatile(&raw const (*place).chunks[(chunk % CHUNKS) as usize])
        })
    }

    #[inline(always)]
    pub fn chunk_looked(self, chunk: u32, before: When, after: When) {
        if let Some(place) = self.place() {
            // SAFETY: as above.
            unsafe {
                let word = (&raw mut (*place).chunks[(chunk % CHUNKS) as usize]).cast();
                if atomic::compare_exchange(word, before.0, after.0) == before.0 && !self.is_held()
                {
                    lower(word, 0);
                }
            }
        }
    }

    /// The hints of a chunk, which are made this destination's first.
    #[inline(always)]
    pub fn hints(self, chunk: u32) -> Option<*const [Hint; CHUNK_PORTS as usize]> {
        let hints = self.chunk(chunk)?;
        // SAFETY: whole words of a map value.
        unsafe {
            if read_volatile(&raw const (*hints).mark) != self.mark {
                // First nobody's: what others write at the same moment is then undone by them.
                write_volatile(&raw mut (*hints).mark, Owner::NOBODY.0);
                let words: *mut u64 = (&raw mut (*hints).hints).cast();
                for word in 0..CHUNK_PORTS as usize / 2 {
                    write_volatile(words.add(word), 0);
                }
                write_volatile(&raw mut (*hints).mark, self.mark);
                self.lower(chunk, 0);
            }
            Some(&raw const (*hints).hints)
        }
    }

    /// What is known of a port.
    #[inline(always)]
    pub fn hint(self, port: Port) -> Hint {
        let (number, index) = place_of(port);
        // SAFETY: an element of an array behind a valid pointer.
        self.hints(number)
            .map_or(Hint::UNKNOWN, |hints| unsafe { read_volatile(&raw const (*hints)[index]) })
    }

    /// Something of a chunk may be free from this tick on.
    #[inline(always)]
    fn lower(self, chunk: u32, tick: u64) {
        if let Some(place) = self.place() {
            // SAFETY: aligned words of a map value.
            unsafe {
                lower((&raw mut (*place).chunks[(chunk % CHUNKS) as usize]).cast(), tick);
                lower((&raw mut (*place).when).cast(), tick);
            }
        }
    }

    /// Whether a chunk is still this destination's, after something was written into it.
    #[inline(always)]
    fn holds(self, chunk: *mut Chunk) -> bool {
        // SAFETY: a whole word of a map value.
        unsafe { read_volatile(&raw const (*chunk).mark) == self.mark }
    }

    /// A session has the port.
    #[inline(always)]
    pub fn taken(self, port: Port, hint: Hint) {
        let (number, index) = place_of(port);
        let Some(chunk) = self.chunk(number) else { return };
        if !self.holds(chunk) {
            return;
        }
        // SAFETY: an aligned element of a map value.
        unsafe { atomic::exchange_32((&raw mut (*chunk).hints[index]).cast(), hint.0) };
        if !self.holds(chunk) {
            self.forget(chunk, number, index);
        }
    }

    /// What a try has shown of a port whose hint was `before`. Whatever else is written meanwhile
    /// is newer.
    #[inline(always)]
    pub fn learnt(self, port: Port, before: Hint, after: Hint) {
        let (number, index) = place_of(port);
        let Some(chunk) = self.chunk(number) else { return };
        // SAFETY: as in `taken`.
        unsafe {
            let hint: *mut u32 = (&raw mut (*chunk).hints[index]).cast();
            atomic::compare_exchange_32(hint, before.0, after.0);
        }
        if !self.holds(chunk) {
            self.forget(chunk, number, index);
        }
    }

    /// A port is free from this tick on.
    #[inline(always)]
    pub fn ended(self, port: Port, hint: Hint, tick: u64) {
        let (number, index) = place_of(port);
        let Some(chunk) = self.chunk(number) else { return };
        if !self.holds(chunk) {
            return;
        }
        // SAFETY: as in `taken`.
        unsafe { atomic::exchange_32((&raw mut (*chunk).hints[index]).cast(), hint.0) };
        self.lower(number, tick);
        if !self.holds(chunk) {
            self.forget(chunk, number, index);
        }
    }

    /// A socket of this machine has the port: it is looked at again later.
    #[inline(always)]
    pub fn held(self, port: Port, now_ns: u64) {
        self.ended(port, Hint::held(now_ns), now_ns / TICK_NS);
    }

    /// Wipes out what was written into a chunk that has changed hands.
    #[inline(always)]
    fn forget(self, chunk: *mut Chunk, number: u32, index: usize) {
        // SAFETY: as in `taken`.
        unsafe { atomic::exchange_32((&raw mut (*chunk).hints[index]).cast(), Hint::UNKNOWN.0) };
        self.lower(number, 0);
    }
}

#[inline(always)]
fn place_of(port: Port) -> (u32, usize) {
    let number = u32::from(port.number());
    (number / CHUNK_PORTS, (number % CHUNK_PORTS) as usize)
}

/// # Safety
///
/// `word` must be an aligned [`When`] of a map value.
#[inline(always)]
unsafe fn lower(word: *mut u64, tick: u64) {
    for _ in 0..WORD_TRIES {
        // SAFETY: the caller vouches for it.
        unsafe {
            let before = read_volatile(word);
            if atomic::compare_exchange(word, before, When(before).lowered(tick).0) == before {
                return;
            }
        }
    }
    // SAFETY: likewise. A look is always right.
    unsafe { write_volatile(word, When(read_volatile(word)).lowered(0).0) };
}

/// A session has ended, or begun to close, so that its tuple rests. After its claim is gone.
///
/// Not inlined: the calls that lead here leave little room on the stack.
#[inline(never)]
pub fn ended(tuple: &FlowKey, closed_ns: u64, reason: u8, now_ns: u64) {
    let Ok(generation) = classify::generation() else { return };
    let Some(at) = find(hint::destination(tuple), generation) else { return };
    let Ok(settings) = classify::settings(generation) else { return };
    let number = opaque(reason as usize);
    let left_ns = settings.cooldown.remaining_by_number_ns(number, closed_ns, now_ns);
    at.ended(tuple.local_port, Hint::rests(left_ns, now_ns), (now_ns + left_ns) / TICK_NS);
}

/// A mapping has gone; its external endpoint rests for so long. After its claim is gone.
///
/// Not inlined: as [`ended`].
#[inline(never)]
pub fn freed(claim: &FlowKey, left_ns: u64, now_ns: u64) {
    let Ok(generation) = classify::generation() else { return };
    let Some(at) = find(hint::destination(claim), generation) else { return };
    at.ended(claim.local_port, Hint::rests(left_ns, now_ns), (now_ns + left_ns) / TICK_NS);
}

/// A session has claimed a port that was not known to be free; it lives until then, or ends earlier.
///
/// Not inlined: as [`ended`].
#[inline(never)]
pub fn claimed(tuple: &FlowKey, deadline_ns: u64, now_ns: u64) {
    let Ok(generation) = classify::generation() else { return };
    let Some(at) = find(hint::destination(tuple), generation) else { return };
    at.ended(tuple.local_port, Hint::taken(deadline_ns, now_ns), deadline_ns / TICK_NS);
}

/// A claim was given back at once.
#[inline(always)]
pub fn forget(tuple: &FlowKey) {
    let Ok(generation) = classify::generation() else { return };
    if let Some(at) = find(hint::destination(tuple), generation) {
        at.ended(tuple.local_port, Hint::UNKNOWN, 0);
    }
}
