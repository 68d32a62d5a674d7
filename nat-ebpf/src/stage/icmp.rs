//! A side room: ICMP errors about packets that were translated. TC only; XDP leaves them to it.
//!
//! An error has no session of its own. It is translated with that of the packet that it quotes,
//! and changes nothing in it: no deadline, no state, no counter (RFC 5508 REQ-6, RFC 4787 REQ-12,
//! RFC 5382 REQ-10).
use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{
        bpf_csum_diff, bpf_l3_csum_replace, bpf_loop, bpf_skb_load_bytes, bpf_skb_store_bytes,
    },
    macros::map,
    maps::PerCpuArray,
};
use nat_common::{
    addr::Ipv4,
    checksum,
    flow::{Direction, FlowKey, Protocol},
    fragment::{HeldFrame, Part},
    icmp::{self, Checks, Quote},
    limits::HELD_BYTES_MAX,
    rewrite::{Fields, IPV4_CHECK, IPV4_PART},
    rule::Action,
    verdict::Verdict,
};

use crate::{
    entry::Translation,
    hook::Weight,
    packet::opaque,
    stage::{
        classify, locals,
        parse::IPV4_OFFSET,
        session::{self, Found},
        stats,
    },
};

/// Bytes of which one turn of the loop takes the sum: the most that `bpf_csum_diff` takes.
const CHUNK_BYTES: usize = 512;
/// Turns for the longest IPv4 packet.
const CHUNKS_MAX: u32 = (u16::MAX as u32).div_ceil(CHUNK_BYTES as u32);
/// Bytes of the longest IPv4 header.
const IPV4_BYTES_MAX: u32 = 60;

/// What is asked about an error, and memory for the answer.
pub struct Work {
    /// Of the error's own IPv4 header.
    pub source: Ipv4,
    pub destination: Ipv4,
    /// Where the ICMP message stands in the frame.
    pub offset: u32,
    /// Its length.
    pub bytes: u32,
    pub weight: Weight,
    pub now_ns: u64,
    /// Whether it may be for this machine.
    pub arriving: bool,

    /// Where the sum goes on, how many bytes are left, and what it is so far.
    at: u32,
    left: u32,
    sum: u32,
    chunk: [u64; CHUNK_BYTES / 8],
}

/// One a CPU: the programs of a CPU do not interrupt each other.
#[map]
static WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's work. Take it anew after every call that takes it, too: there is one memory behind
/// all of these references.
#[inline(always)]
pub fn work() -> Result<&'static mut Work, Verdict> {
    // SAFETY: this CPU's own copy, and the references do not overlap in use, as said above.
    WORK.get_ptr_mut(0).map(|work| unsafe { &mut *work }).ok_or(Verdict::NotConfigured)
}

/// What [`translate`] returns for an error that belongs to no session and quotes nothing that a rule
/// translates: its own addresses decide.
pub const NOT_OURS: u8 = u8::MAX;

/// What [`translate`] returns for a translated error.
pub const TRANSLATED: u8 = u8::MAX - 1;

/// Translates the error of this CPU's [`Work`]: [`TRANSLATED`], [`NOT_OURS`] or the number of its
/// verdict. Errors are rare, so this is a function of its own, with memory in a map: it costs other
/// packets nothing.
#[inline(never)]
pub fn translate(skb: *mut __sk_buff, outbound: bool) -> u8 {
    let direction = if outbound { Direction::Outbound } else { Direction::Inbound };
    match answer(&Skb(skb), direction) {
        Ok(()) => TRANSLATED,
        Err(number) => number,
    }
}

#[inline(always)]
fn answer(skb: &Skb, direction: Direction) -> Result<(), u8> {
    let malformed = Verdict::IcmpErrorMalformed as u8;
    let (offset, bytes, destination, now_ns) = {
        let work = work().map_err(number)?;
        (work.offset, work.bytes, work.destination, work.now_ns)
    };
    let part = skb.load(IPV4_OFFSET as u32 + u32::from(IPV4_PART)).ok_or(malformed)?;
    if Part::of(part).is_fragment() {
        // What it quotes can only be looked at as a whole.
        return Err(NOT_OURS);
    }
    let quoted_at = offset + u32::from(icmp::HEADER_BYTES);
    let message: [u8; icmp::HEADER_BYTES as usize] = skb.load(offset).ok_or(malformed)?;
    let header: [u8; 20] = skb.load(quoted_at).ok_or(malformed)?;
    let behind_header = bytes.saturating_sub(u32::from(icmp::HEADER_BYTES)) as u16;
    let quote = Quote::read(header, message[icmp::LENGTH], behind_header).ok_or(malformed)?;
    let transport_at = quoted_at + u32::from(quote.header_bytes);
    // What is not there belongs to nobody, which the quote's length says as well.
    let transport = skb.load(transport_at).unwrap_or_default();
    let (protocol, key) = match quote.flow(direction, transport) {
        Ok(flow) => flow,
        Err(Verdict::IcmpErrorNoSession) => return Err(no_session(direction, &quote)),
        Err(verdict) => return Err(number(verdict)),
    };
    // An error goes to whom the packet that it quotes came from.
    let live = match session::find(direction, &key, now_ns).map_err(number)? {
        Found::Live(live) if destination == quote.source => live,
        _ => return Err(no_session(direction, &quote)),
    };
    let sequence = icmp::tcp_sequence(transport);
    if matches!(protocol, Protocol::Tcp) && !live.awaits_answer_to(direction, &key, sequence) {
        return Err(malformed);
    }
    let to = live.to;
    if !right_header(skb, quoted_at, &quote) || !right_message(skb) {
        return Err(malformed);
    }
    let places = Places { offset, quoted_at, transport_at };
    let done = rewrite(skb, direction, &places, &quote, protocol, &key, &to);
    done.ok_or(Verdict::RewriteFailed as u8)
}

fn number(verdict: Verdict) -> u8 {
    verdict as u8
}

/// What becomes of an error that belongs to no session. On its way out, one that quotes a packet to
/// somebody whose address a rule hides would give it away.
#[inline(always)]
fn no_session(direction: Direction, quote: &Quote) -> u8 {
    let arriving = work().is_ok_and(|work| work.arriving);
    if arriving || matches!(direction, Direction::Inbound) {
        return NOT_OURS;
    }
    // What was sent to this machine itself gives nothing away.
    if locals::has(locals::ANY_INTERFACE, quote.destination) {
        return NOT_OURS;
    }
    match classify::rule(quote.destination, quote.source, quote.protocol) {
        Ok(matched) if matches!(matched.action(), Action::Snat) => {
            if let (Ok(rule), Ok(work)) = (matched.rule(), work()) {
                stats::count_rule(rule.id, Verdict::IcmpErrorNoSession, work.weight);
            }
            Verdict::IcmpErrorNoSession as u8
        }
        Err(Verdict::ProtocolNotCovered) => Verdict::IcmpErrorNoSession as u8,
        _ => NOT_OURS,
    }
}

/// Where things stand in the frame.
struct Places {
    /// The error's ICMP header.
    offset: u32,
    quoted_at: u32,
    transport_at: u32,
}

/// Writes the receiver's view of the quoted packet, and its address. The message's sum is the same
/// after it, and so is that of the IPv4 header: what the kernel knows of them stays right.
#[inline(always)]
fn rewrite(
    skb: &Skb,
    direction: Direction,
    places: &Places,
    quote: &Quote,
    protocol: Protocol,
    key: &FlowKey,
    to: &Translation,
) -> Option<()> {
    let fields = Quote::fields(direction, protocol);
    let message_check_at = places.offset + u32::from(icmp::CHECK);
    let transport_check_at = places.transport_at + u32::from(fields.check);
    let transport =
        if quote.has_transport_check(&fields) { Some(skb.load(transport_check_at)?) } else { None };
    let before = Checks { message: skb.load(message_check_at)?, header: quote.check, transport };
    let ports = (key.local_port, to.port);
    let after =
        before.translated(to.header_delta, to.transport_delta, ports, fields.check_optional);

    skb.store(message_check_at, &after.message)?;
    skb.store(places.quoted_at + u32::from(IPV4_CHECK), &after.header)?;
    skb.store(places.quoted_at + u32::from(fields.address), &to.address)?;
    skb.store(places.transport_at + u32::from(fields.port), &to.port)?;
    if let Some(check) = after.transport {
        skb.store(transport_check_at, &check)?;
    }

    // Outbound, whoever inside sends it: nobody there is known outside by another address.
    let old = match direction {
        Direction::Outbound => work().ok()?.source,
        Direction::Inbound => key.local,
    };
    let own = Fields::of(direction, Protocol::Icmp);
    skb.replace_address(IPV4_OFFSET as u32 + u32::from(own.address), old, to.address)
}

/// Whether the quoted IPv4 header's checksum is right.
#[inline(always)]
fn right_header(skb: &Skb, quoted_at: u32, quote: &Quote) -> bool {
    let Ok(work) = work() else {
        return false;
    };
    work.chunk.fill(0);
    // Bounds that the verifier can follow: a header has 5 to 15 words.
    let bytes = u32::from(quote.header_bytes).clamp(20, IPV4_BYTES_MAX);
    match skb.sum(work, quoted_at, bytes, 0) {
        Some(sum) => icmp::right(sum),
        None => false,
    }
}

/// Whether the error's own checksum is right.
#[inline(always)]
fn right_message(skb: &Skb) -> bool {
    let Ok(work) = work() else {
        return false;
    };
    (work.at, work.left, work.sum) = (work.offset, work.bytes, 0);
    let mut skb = skb.0;
    let body = add_chunk as unsafe extern "C" fn(u32, *mut c_void) -> i64;
    // SAFETY: the callback has the signature that the helper expects, and its context is this frame's
    // `skb`, which outlives the call.
    let turns = unsafe { bpf_loop(CHUNKS_MAX, body as *mut c_void, (&raw mut skb).cast(), 0) };
    // As in `open`: the memory has been written by the callback.
    let Ok(work) = self::work() else {
        return false;
    };
    turns > 0 && work.left == 0 && icmp::right(work.sum as u16)
}

/// What a turn returns to be called again, or not.
const AGAIN: i64 = 0;
const ENOUGH: i64 = 1;

/// # Safety
///
/// To be called by `bpf_loop` only, with a pointer to a pointer to the packet's context.
unsafe extern "C" fn add_chunk(_turn: u32, context: *mut c_void) -> i64 {
    // SAFETY: as said above.
    let skb = Skb(unsafe { *context.cast::<*mut __sk_buff>() });
    let Ok(work) = work() else {
        return ENOUGH;
    };
    let (at, left, sum) = (work.at, work.left, work.sum);
    if left == 0 {
        return ENOUGH;
    }
    let bytes = if left < CHUNK_BYTES as u32 { left } else { CHUNK_BYTES as u32 };
    if bytes < CHUNK_BYTES as u32 {
        work.chunk.fill(0);
    }
    let Some(sum) = skb.sum(work, at, bytes, sum) else {
        return ENOUGH;
    };
    work.sum = u32::from(sum);
    work.at = at + bytes;
    work.left = left - bytes;
    AGAIN
}

/// A packet, by helpers alone: they reach all of it, and keep the kernel's notes right.
pub(super) struct Skb(pub(super) *mut __sk_buff);

impl Skb {
    #[inline(always)]
    pub(super) fn load<T: Copy + Default>(&self, offset: u32) -> Option<T> {
        let mut value = T::default();
        // SAFETY: the context is the program's own; the helper writes `size_of::<T>()` bytes of plain
        // data.
        let failed = unsafe {
            bpf_skb_load_bytes(
                self.0.cast(),
                offset,
                (&raw mut value).cast(),
                size_of::<T>() as u32,
            )
        };
        (failed == 0).then_some(value)
    }

    #[inline(always)]
    fn store<T: Copy>(&self, offset: u32, value: &T) -> Option<()> {
        // SAFETY: as above, reading.
        let failed = unsafe {
            bpf_skb_store_bytes(
                self.0.cast(),
                offset,
                ptr::from_ref(value).cast(),
                size_of::<T>() as u32,
                0,
            )
        };
        (failed == 0).then_some(())
    }

    /// Copies the whole frame, and where it was seen, if there is room for it.
    #[inline(always)]
    pub(super) fn copy_frame(&self, to: &mut HeldFrame) -> bool {
        // SAFETY: the context is the program's own.
        let (length, ifindex) = unsafe { ((*self.0).len, (*self.0).ifindex) };
        let length = opaque(length as usize);
        if length == 0 || length > HELD_BYTES_MAX {
            return false;
        }
        (to.length, to.ifindex) = (length as u32, ifindex);
        // SAFETY: there is room for so many bytes.
        let failed = unsafe {
            bpf_skb_load_bytes(self.0.cast(), 0, to.frame.as_mut_ptr().cast(), length as u32)
        };
        failed == 0
    }

    /// Replaces an address of the packet's own IPv4 header.
    #[inline(always)]
    pub(super) fn replace_address(&self, offset: u32, old: Ipv4, new: Ipv4) -> Option<()> {
        let check = IPV4_OFFSET as u32 + u32::from(IPV4_CHECK);
        let (from, to) = (u64::from(old.to_be32()), u64::from(new.to_be32()));
        // SAFETY: the context is the program's own.
        let failed = unsafe {
            bpf_l3_csum_replace(self.0.cast(), check, from, to, size_of::<Ipv4>() as u64)
        };
        if failed != 0 {
            return None;
        }
        self.store(offset, &new)
    }

    /// Adds up to [`CHUNK_BYTES`] of the packet to a sum. What [`Work::chunk`] holds behind them is
    /// added, too.
    #[inline(always)]
    fn sum(&self, work: &mut Work, offset: u32, bytes: u32, sum: u32) -> Option<u16> {
        let chunk: *mut c_void = work.chunk.as_mut_ptr().cast();
        // SAFETY: the callers keep `bytes` to the chunk's size.
        if unsafe { bpf_skb_load_bytes(self.0.cast(), offset, chunk, bytes) } != 0 {
            return None;
        }
        // SAFETY: the chunk has this size.
        let added =
            unsafe { bpf_csum_diff(ptr::null_mut(), 0, chunk.cast(), CHUNK_BYTES as u32, sum) };
        (added >= 0).then(|| checksum::fold(added as u32))
    }
}
