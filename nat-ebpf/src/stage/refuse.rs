//! Sessions that are refused: told to the controller, which answers the client.
use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{macros::map, maps::PerCpuArray};
use nat_common::{
    limit::Bucket,
    refusal::{self, PLACES, QUOTE_BYTES_BEHIND_HEADER, QUOTE_BYTES_MAX, Refusal},
    verdict::Verdict,
};

use super::{parse::IPV4_OFFSET, request::request};
use crate::{hook::Hook, maps::REFUSALS, packet::opaque};

/// What clients may still be told, by place; and in the last one, all of them together. One a CPU:
/// nothing is shared in a flood.
#[map]
static REFUSAL_BUCKETS: PerCpuArray<Bucket> = PerCpuArray::with_max_entries(PLACES + 1, 0);

/// The record that is being written. One a CPU: the programs of a CPU do not interrupt each other.
#[map]
static REFUSAL: PerCpuArray<Refusal> = PerCpuArray::with_max_entries(1, 0);

/// Tells the controller of a refused session. `header_bytes` are those of the packet's IPv4 header.
#[inline(always)]
pub fn tell<H: Hook>(hook: &H, header_bytes: usize, verdict: Verdict) {
    if prepare_refusal(verdict as u32, hook.arrived()) == 0 {
        return;
    }
    let Some(refusal) = REFUSAL.get_ptr_mut(0) else { return };
    let length = opaque(header_bytes + QUOTE_BYTES_BEHIND_HEADER);
    if length == 0 || length > QUOTE_BYTES_MAX {
        return;
    }
    // SAFETY: this CPU's own.
    let refusal = unsafe { &mut *refusal };
    refusal.length = length as u16;
    if hook.copy(IPV4_OFFSET as u32, refusal.quote.as_mut_ptr(), length as u32) {
        let _ = REFUSALS.output::<Refusal>(&*refusal, 0);
    }
}

/// Begins a record for this CPU's request, if there may be one: 0 or 1.
///
/// Exported, so that the verifier judges it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn prepare_refusal(verdict: u32, arrived: u32) -> u32 {
    let verdict = Verdict::from_number(verdict as u8);
    // What the gateway itself sends has not arrived: its sockets are told by the failed call.
    if arrived == 0 || !refusal::is_refusal(verdict) {
        return 0;
    }
    begin(verdict, arrived).map_or(0, |()| 1)
}

#[inline(always)]
fn begin(verdict: Verdict, ifindex: u32) -> Option<()> {
    let request = request().ok()?;
    if !refusal::may_have_error(request.source, request.destination) {
        return None;
    }
    let client = REFUSAL_BUCKETS.get_ptr_mut(refusal::place(request.source))?;
    let all = REFUSAL_BUCKETS.get_ptr_mut(PLACES)?;
    // SAFETY: this CPU's own words.
    let (before, before_all) = unsafe { (read_volatile(client), read_volatile(all)) };
    let (left, left_all) = refusal::take(before, before_all, request.now_ns)?;
    // SAFETY: likewise.
    unsafe {
        write_volatile(client, left);
        write_volatile(all, left_all);
    }
    let refusal = REFUSAL.get_ptr_mut(0)?;
    // SAFETY: likewise.
    unsafe {
        (*refusal).ifindex = ifindex;
        (*refusal).verdict = verdict as u8;
        (*refusal).zero = 0;
    }
    Some(())
}
