//! A side room: fragments. TC only; XDP leaves them to it.
//!
//! The first fragment of a packet goes the way of any packet, and what it was translated to is noted
//! for the others, which have no ports to find a session by. They change nothing in the session.
use core::{
    ffi::c_void,
    ptr::{read_volatile, write_volatile},
};

use aya_ebpf::{
    bindings::{__sk_buff, BPF_ANY},
    helpers::generated::bpf_loop,
    macros::map,
    maps::PerCpuArray,
};
use nat_common::{
    addr::Ipv4,
    flow::{Direction, Protocol},
    fragment::{
        self, Coverage, Datagram, FragmentKey, HeldFrame, Part, Units, WORD_UNITS, WORDS, fits,
    },
    limits::{FRAGMENT_TIMEOUT_NS, HELD_NS, HELD_PER_SECOND_MAX},
    rewrite::Fields,
    verdict::Verdict,
};

use crate::{
    atomic, clock,
    maps::{FRAGMENTS, FRAGMENTS_AWAITED, FRAGMENTS_PASSED, HELD, INSTANCE},
    stage::{icmp::Skb, parse::IPV4_OFFSET, socket},
};

/// What is known of a fragment.
struct Work {
    key: FragmentKey,
    part: Part,
    units: Units,
    now_ns: u64,

    /// The word of [`Datagram::seen`] that is next, and how many of the units were not in those
    /// before.
    word: u32,
    new: u32,
    /// The note that is being made.
    note: Datagram,
    /// The frame that is being given to the controller.
    held: HeldFrame,
    /// The second in which this CPU has done so last, and how often.
    second: u32,
    times: u32,
}

/// One a CPU: the programs of a CPU do not interrupt each other.
#[map]
static FRAGMENT_WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's work. As with [`super::icmp::work`], one memory behind several references.
#[inline(always)]
fn work() -> Result<&'static mut Work, Verdict> {
    // SAFETY: this CPU's own copy, and the references do not overlap in use.
    FRAGMENT_WORK.get_ptr_mut(0).map(|work| unsafe { &mut *work }).ok_or(Verdict::NotConfigured)
}

/// Answer for a fragment about whose packet nothing is known that decides its way.
pub const ALONE: u8 = u8::MAX;

/// Answer for a fragment that has been translated, or noted.
pub const TAKEN: u8 = u8::MAX - 1;

/// Refuses a fragment that cannot be part of a packet, and a first one where there is one already:
/// [`ALONE`] or the number of its verdict.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn check_fragment(skb: *mut __sk_buff, inbound: u32) -> u32 {
    let work = match read(&Skb(skb), direction(inbound != 0)) {
        Ok(work) => work,
        Err(verdict) => return verdict as u32,
    };
    match find(work) {
        Some((datagram, _)) if work.part.is_first() => {
            // It may be over more than the first one.
            let _ = enter(work, datagram);
            Verdict::FragmentOverlap as u32
        }
        _ => u32::from(ALONE),
    }
}

/// Translates a later fragment as the first one of its packet has been: [`TAKEN`], [`ALONE`] or the
/// number of its verdict.
///
/// This and the others are functions of their own, with memory in a map: they cost other packets
/// nothing. Exported as [`super::port::claim_port`]'s steps.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn translate_fragment(skb: *mut __sk_buff, inbound: u32) -> u32 {
    match translate(&Skb(skb), direction(inbound != 0)) {
        Ok(true) => u32::from(TAKEN),
        Ok(false) => u32::from(ALONE),
        Err(verdict) => verdict as u32,
    }
}

/// Notes what a first fragment has been translated to, in place of the address `before` (in network
/// byte order): [`TAKEN`] or the number of its verdict.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_fragment(skb: *mut __sk_buff, inbound: u32, before: u32) -> u32 {
    match note(&Skb(skb), direction(inbound != 0), Ipv4::from_be32(before)) {
        Ok(()) => u32::from(TAKEN),
        Err(verdict) => verdict as u32,
    }
}

/// The number of the verdict of a fragment that as any other packet would get that of this number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judge_fragment(skb: *mut __sk_buff, inbound: u32, number: u32) -> u32 {
    let verdict = Verdict::from_number(number as u8);
    let skb = Skb(skb);
    let verdict = match read(&skb, direction(inbound != 0)) {
        Ok(work) if inbound != 0 => from_outside(work, verdict),
        Ok(work) => of_part(work, verdict),
        Err(verdict) => verdict,
    };
    match verdict {
        Verdict::Fragment => hold(&skb) as u32,
        verdict => verdict as u32,
    }
}

/// Gives a later fragment to the controller until the first one comes, if it can hold it.
#[inline(always)]
fn hold(skb: &Skb) -> Verdict {
    let Ok(work) = work() else {
        return Verdict::Fragment;
    };
    if !work.part.is_later() || !attended(work) || !skb.copy_frame(&mut work.held) {
        return Verdict::Fragment;
    }
    work.held.key = work.key;
    if HELD.output::<HeldFrame>(&work.held, 0).is_err() {
        return Verdict::Fragment;
    }
    let deadline_ns = work.now_ns + HELD_NS;
    let _ = FRAGMENTS_AWAITED.insert(&work.key, &deadline_ns, BPF_ANY as u64);
    // The first one may have come meanwhile, and found nobody that waits for it.
    if find(work).is_some() || passes(work).is_err() {
        announce(work);
    }
    Verdict::FragmentHeld
}

/// Whether there is a controller, and this CPU has not given it too much within this second.
#[inline(always)]
fn attended(work: &mut Work) -> bool {
    let there = INSTANCE.get(0).is_some_and(|instance| {
        fragment::is_attended(instance.controller_pid, instance.heartbeat_ns, work.now_ns)
    });
    let second = (work.now_ns >> 30) as u32;
    if work.second != second {
        (work.second, work.times) = (second, 0);
    }
    work.times += 1;
    there && work.times <= HELD_PER_SECOND_MAX
}

/// Tells the controller that the first fragment has come, if it holds others.
#[inline(always)]
fn announce(work: &Work) {
    if FRAGMENTS_AWAITED.remove(&work.key).is_ok() {
        let _ = HELD.output::<FragmentKey>(&work.key, 0);
    }
}

#[inline(always)]
fn direction(inbound: bool) -> Direction {
    if inbound { Direction::Inbound } else { Direction::Outbound }
}

/// Fills this CPU's work with what a fragment's header says.
#[inline(always)]
fn read(skb: &Skb, direction: Direction) -> Result<&'static mut Work, Verdict> {
    let work = work()?;
    // In two parts, each of which the compiler may read as it likes.
    let start: [u8; 12] = skb.load(IPV4_OFFSET as u32).ok_or(Verdict::Malformed)?;
    let ends: [u8; 8] = skb.load(IPV4_OFFSET as u32 + 12).ok_or(Verdict::Malformed)?;
    let [first, _, l0, l1, i0, i1, p0, p1, _, protocol, ..] = start;
    let [s0, s1, s2, s3, d0, d1, d2, d3] = ends;
    let header_bytes = usize::from(first & 0x0f) * 4;
    let total_length = usize::from(u16::from_be_bytes([l0, l1]));
    let ends = (Ipv4::new([s0, s1, s2, s3]), Ipv4::new([d0, d1, d2, d3]));
    work.key = FragmentKey::new(direction, ends, [i0, i1], protocol);
    work.part = Part::of([p0, p1]);
    let bytes = total_length.saturating_sub(header_bytes);
    work.units = work.part.units(header_bytes, bytes).ok_or(Verdict::Malformed)?;
    work.now_ns = clock::now_ns();
    Ok(work)
}

#[inline(always)]
fn translate(skb: &Skb, direction: Direction) -> Result<bool, Verdict> {
    let work = read(skb, direction)?;
    let Some((datagram, address)) = find(work) else {
        return passes(work);
    };
    if work.is_in_tcp_header() {
        return Err(Verdict::FragmentTiny);
    }
    enter(work, datagram)?;
    let (fields, old) = (Fields::of(direction, Protocol::Icmp), work.local());
    let at = IPV4_OFFSET as u32 + u32::from(fields.address);
    match skb.replace_address(at, old, address) {
        Some(()) => Ok(true),
        None => Err(Verdict::RewriteFailed),
    }
}

/// Lets a later fragment pass whose first one went to the stack.
#[inline(always)]
fn passes(work: &Work) -> Result<bool, Verdict> {
    // SAFETY: a number that is read once.
    match unsafe { FRAGMENTS_PASSED.get(&work.key) } {
        Some(deadline_ns) if work.now_ns < *deadline_ns => Err(Verdict::NoSession),
        _ => Ok(false),
    }
}

#[inline(always)]
fn note(skb: &Skb, direction: Direction, before: Ipv4) -> Result<(), Verdict> {
    let work = read(skb, direction)?;
    let address = work.local();
    *work.local_mut() = before;
    work.note.check = work.key.fingerprint();
    work.note.address = address;
    work.note.deadline_ns = work.now_ns + FRAGMENT_TIMEOUT_NS;
    // If there is no memory, the other fragments find nothing.
    let _ = FRAGMENTS.insert(&work.key, &work.note, BPF_ANY as u64);
    let entered = match find(work) {
        Some((datagram, _)) => enter(work, datagram),
        None => Ok(()),
    };
    announce(self::work()?);
    entered
}

/// What becomes of a fragment from outside without a session.
#[inline(always)]
fn from_outside(work: &Work, verdict: Verdict) -> Verdict {
    // What is not for translation goes the way of any other packet.
    if socket::external(work.key.destination, work.key.protocol).is_none() {
        return verdict;
    }
    if work.part.is_later() {
        // One that belongs to a packet for the stack goes there.
        let known = matches!(passes(work), Err(Verdict::NoSession));
        return if known { verdict } else { of_part(work, Verdict::Fragment) };
    }
    // The others have to find their way to the stack, too.
    let deadline_ns = work.now_ns + FRAGMENT_TIMEOUT_NS;
    let _ = FRAGMENTS_PASSED.insert(&work.key, &deadline_ns, BPF_ANY as u64);
    announce(work);
    verdict
}

/// A verdict by the name that it has for fragments.
#[inline(always)]
fn of_part(work: &Work, verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Truncated if work.part.is_first() => Verdict::FragmentTiny,
        Verdict::Fragment if work.is_in_tcp_header() => Verdict::FragmentTiny,
        Verdict::IcmpErrorNoSession => Verdict::Fragment,
        verdict => verdict,
    }
}

impl Work {
    #[inline(always)]
    fn is_in_tcp_header(&self) -> bool {
        self.part.is_in_tcp_header() && self.key.protocol == Protocol::Tcp as u8
    }

    /// The address that a translation replaces.
    #[inline(always)]
    fn local(&self) -> Ipv4 {
        match self.key.direction() {
            Direction::Outbound => self.key.source,
            Direction::Inbound => self.key.destination,
        }
    }

    #[inline(always)]
    fn local_mut(&mut self) -> &mut Ipv4 {
        match self.key.direction() {
            Direction::Outbound => &mut self.key.source,
            Direction::Inbound => &mut self.key.destination,
        }
    }
}

/// The packet of a fragment and its new address, if its first fragment has been translated and not
/// too long ago.
#[inline(always)]
fn find(work: &Work) -> Option<(*mut Datagram, Ipv4)> {
    let datagram = FRAGMENTS.get_ptr_mut(&work.key)?;
    // SAFETY: valid for as long as the program runs; volatile, because the element may be recycled
    // for another packet. The check is read last and tells.
    let (address, deadline_ns, check) = unsafe {
        (
            read_volatile(&raw const (*datagram).address),
            read_volatile(&raw const (*datagram).deadline_ns),
            read_volatile(&raw const (*datagram).check),
        )
    };
    let current = check == work.key.fingerprint() && work.now_ns < deadline_ns;
    current.then_some((datagram, address))
}

/// Enters a fragment's units among those that have passed; refuses it if it has no place there.
#[inline(always)]
fn enter(work: &mut Work, datagram: *mut Datagram) -> Result<(), Verdict> {
    let (units, last) = (work.units, work.part.is_last());
    // SAFETY: as in `find`.
    let (refused, total) = unsafe {
        (read_volatile(&raw const (*datagram).refused), read_volatile(&raw const (*datagram).total))
    };
    if refused != 0 {
        return Err(Verdict::FragmentOverlap);
    }
    if !fits(units, last, total) {
        return refuse(datagram);
    }
    let total = if last { units.to } else { total };
    if last {
        // Before the units are counted: whoever counts the last of them has to see it.
        // SAFETY: as in `find`; written whole.
        unsafe { write_volatile(&raw mut (*datagram).total, total) };
    }
    let new = mark(work, datagram);
    match Coverage::of(units, new) {
        Coverage::New => {}
        Coverage::Repeated => return Err(Verdict::FragmentOverlap),
        Coverage::Overlap => return refuse(datagram),
    }
    // SAFETY: a word of a map value.
    let before = unsafe { atomic::fetch_add(&raw mut (*datagram).units, new.into()) };
    // SAFETY: as in `find`.
    let total = unsafe { read_volatile(&raw const (*datagram).total) };
    let passed = before + u64::from(new);
    if total != 0 && passed > u64::from(total) {
        return refuse(datagram);
    }
    if total != 0 && passed == u64::from(total) {
        // Whole: its number is free for another packet.
        let _ = FRAGMENTS.remove(&work.key);
    }
    Ok(())
}

/// Lets nothing more of a packet pass.
#[inline(always)]
fn refuse(datagram: *mut Datagram) -> Result<(), Verdict> {
    // SAFETY: as in `find`; written whole.
    unsafe { write_volatile(&raw mut (*datagram).refused, 1) };
    Err(Verdict::FragmentOverlap)
}

/// Sets the bits of a fragment's units; returns how many were not set before.
#[inline(always)]
fn mark(work: &mut Work, datagram: *mut Datagram) -> u32 {
    work.word = work.units.from / WORD_UNITS;
    work.new = 0;
    let mut datagram = datagram;
    let body = mark_word as unsafe extern "C" fn(u32, *mut c_void) -> i64;
    // A loop of the kernel's, because the verifier follows a loop of ours once for every turn.
    // SAFETY: the callback has the signature that the helper expects, and its context is this
    // pointer, which outlives the call.
    unsafe { bpf_loop(WORDS as u32, body as *mut c_void, (&raw mut datagram).cast(), 0) };
    // SAFETY: written by the callback.
    self::work().map_or(0, |work| unsafe { read_volatile(&raw const work.new) })
}

/// What a turn returns to be called again, or not.
const AGAIN: i64 = 0;
const ENOUGH: i64 = 1;

/// # Safety
///
/// To be called by `bpf_loop` only, with a pointer to a pointer to a map value.
unsafe extern "C" fn mark_word(_turn: u32, context: *mut c_void) -> i64 {
    // SAFETY: as said above.
    let datagram = unsafe { *context.cast::<*mut Datagram>() };
    let Ok(work) = work() else {
        return ENOUGH;
    };
    let word = work.word;
    let bits = work.units.in_word(word);
    if bits == 0 || word >= WORDS as u32 {
        return ENOUGH;
    }
    // SAFETY: within the array; a word of a map value.
    let before = unsafe { atomic::fetch_or((&raw mut (*datagram).seen[word as usize]), bits) };
    work.new += (bits & !before).count_ones();
    work.word = word + 1;
    AGAIN
}
