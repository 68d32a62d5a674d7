//! Lower maximum segment sizes, for rules that ask for it.
use core::{
    ffi::c_void,
    ptr::{self, read_volatile},
};

use aya_ebpf::{helpers::generated::bpf_loop, macros::map, maps::PerCpuArray};
use nat_common::{
    flow::FlowKey,
    mss::{self, Lowered, OPTIONS_MAX, Step},
    packet::Packet,
    tcp::Flags,
    verdict::Verdict,
};

use super::{parse::IPV4_OFFSET, request::request, session::Live};
use crate::{hook::Hook, packet::opaque};

/// A walk over the options of a SYN.
struct Walk {
    options: [u8; OPTIONS_MAX],
    /// How many there are.
    bytes: u32,
    at: u32,
    most: u16,
    /// Where the walk ended with something to lower.
    lowered: Option<Lowered>,
}

/// One a CPU: the programs of a CPU do not interrupt each other.
#[map]
static WALK: PerCpuArray<Walk> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's walk. As with [`super::request::request`], one memory behind several references.
#[inline(always)]
fn walk() -> Option<&'static mut Walk> {
    // SAFETY: this CPU's own copy, and the references do not overlap in use.
    WALK.get_ptr_mut(0).map(|walk| unsafe { &mut *walk })
}

/// Notes what a SYN of a session is limited to where the birth of a session leaves it, too: in the
/// request. Other packets name no size, and are spared the entry's second cache line.
#[inline(always)]
pub fn note(live: &Live, key: &FlowKey, flags: Flags) -> Result<(), Verdict> {
    if flags.has(Flags::SYN) {
        request()?.birth.mss = live.mss(key)?;
    }
    Ok(())
}

/// Lowers the maximum segment size of a SYN to that of the request, if there is one.
#[inline(always)]
pub fn clamp<H: Hook>(hook: &H, packet: &Packet) -> Result<(), Verdict> {
    if !packet.tcp_flags().has(Flags::SYN) {
        return Ok(());
    }
    let most = request()?.birth.mss;
    if most == 0 {
        return Ok(());
    }
    let transport = u32::from(packet.transport_offset);
    let end = IPV4_OFFSET as u32 + u32::from(packet.total_length);
    if lower(hook, transport, end, most) { Ok(()) } else { Err(Verdict::RewriteFailed) }
}

/// Lowers what there is to lower in the SYN whose TCP header stands at `transport`, in a packet that
/// ends at `end`. False if it cannot be written.
///
/// A function of its own: few rules ask for it, and other packets should not pay for it with stack.
#[inline(never)]
fn lower<H: Hook>(hook: &H, transport: u32, end: u32, most: u16) -> bool {
    let Some(lowered) = lowered(hook, transport, end, most) else {
        return true;
    };
    hook.lower(transport + mss::CHECK, transport + mss::OPTIONS, &lowered).is_some()
}

#[inline(always)]
fn lowered<H: Hook>(hook: &H, transport: u32, end: u32, most: u16) -> Option<Lowered> {
    let data_offset: u8 = hook.load((transport + mss::DATA_OFFSET) as usize)?;
    let header_bytes = u32::from(data_offset >> 4) * 4;
    let bytes = opaque(header_bytes.wrapping_sub(mss::OPTIONS) as usize);
    if bytes == 0 || bytes > OPTIONS_MAX || transport + header_bytes > end {
        return None;
    }
    let bytes = bytes as u32;
    let walk = walk()?;
    if !hook.copy(transport + mss::OPTIONS, walk.options.as_mut_ptr(), bytes) {
        return None;
    }
    (walk.bytes, walk.at, walk.most, walk.lowered) = (bytes, 0, most, None);
    let body = next as unsafe extern "C" fn(u32, *mut c_void) -> i64;
    // A loop of the kernel's, because the verifier follows a loop of ours once for every turn.
    // SAFETY: the callback has the signature that the helper expects and takes no context.
    unsafe { bpf_loop(OPTIONS_MAX as u32, body as *mut c_void, ptr::null_mut(), 0) };
    // SAFETY: written just now, by the callback.
    unsafe { read_volatile(&raw const self::walk()?.lowered) }
}

/// What [`next`] returns to be called again, or not.
const AGAIN: i64 = 0;
const ENOUGH: i64 = 1;

/// # Safety
///
/// To be called by `bpf_loop` only.
unsafe extern "C" fn next(_turn: u32, _context: *mut c_void) -> i64 {
    let Some(walk) = walk() else {
        return ENOUGH;
    };
    match mss::step(&walk.options, walk.bytes, walk.at, walk.most) {
        Step::To(at) => {
            walk.at = at;
            return AGAIN;
        }
        Step::Lowered(lowered) => walk.lowered = Some(lowered),
        Step::End => {}
    }
    ENOUGH
}
