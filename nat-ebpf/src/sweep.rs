//! Removal of ended sessions in bulk.
//!
//! The controller reads the outbound map in batches, picks the keys of sessions whose time seems to
//! be up and hands them over as the packet of a BPF_PROG_TEST_RUN. The decision is made here, by
//! the same code and clock as everywhere else: between the controller's look and this run a session
//! may have come to life, or have been removed and made anew.
use core::{ffi::c_void, ptr};

use aya_ebpf::{
    helpers::generated::bpf_loop, macros::map, maps::PerCpuArray, programs::XdpContext,
};
use nat_common::{
    flow::FlowKey,
    limits::{CLEAR_TUPLES_MAX, SWEEP_SESSIONS_MAX},
};

use crate::{
    clock,
    packet::Frame,
    stage::{cooldown, session},
};

struct Keys<'a>(&'a XdpContext);

impl Frame for Keys<'_> {
    #[inline(always)]
    fn start(&self) -> usize {
        self.0.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.0.data_end()
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.end() - self.start()
    }
}

/// What a run is about.
struct Sweeping {
    keys: [FlowKey; SWEEP_SESSIONS_MAX as usize],
    now_ns: u64,
    ended: u32,
}

#[map]
static SWEEPING: PerCpuArray<Sweeping> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's.
#[inline(always)]
fn sweeping() -> Option<&'static mut Sweeping> {
    // SAFETY: one run at a time on a CPU, and the references do not overlap in use.
    SWEEPING.get_ptr_mut(0).map(|sweeping| unsafe { &mut *sweeping })
}

/// What becomes of one of the sessions of this run.
type Turn = unsafe extern "C" fn(u32, *mut c_void) -> i64;

/// Ends those of the sessions whose time is up; returns how many.
#[inline(always)]
pub fn sweep(ctx: &XdpContext) -> u32 {
    each(ctx, end)
}

/// Ends the sessions, live or not, as somebody has ordered; returns how many.
#[inline(always)]
pub fn flush(ctx: &XdpContext) -> u32 {
    each(ctx, kill)
}

/// Forgets tuples that have rested long enough; returns how many.
#[inline(always)]
pub fn clear() -> u32 {
    cooldown::clear(CLEAR_TUPLES_MAX, clock::now_ns())
}

/// Copies the keys out of the packet and lets the kernel loop over them: the verifier would follow
/// a loop of ours once for every turn.
#[inline(always)]
fn each(ctx: &XdpContext, turn: Turn) -> u32 {
    let Some(Sweeping { keys: to, now_ns, ended }) = sweeping() else { return 0 };
    let from = Keys(ctx);
    let mut count = 0;
    for (index, key) in to.iter_mut().enumerate() {
        let Some(found) = from.load::<FlowKey>(index * size_of::<FlowKey>()) else { break };
        *key = found;
        count += 1;
    }
    (*now_ns, *ended) = (clock::now_ns(), 0);
    // SAFETY: the callbacks have the signature that the helper expects and take no context.
    unsafe { bpf_loop(count, turn as *mut c_void, ptr::null_mut(), 0) };
    sweeping().map_or(0, |sweeping| sweeping.ended)
}

/// # Safety
///
/// To be called by `bpf_loop` only.
unsafe extern "C" fn end(index: u32, _context: *mut c_void) -> i64 {
    turn(index, session::end)
}

/// # Safety
///
/// To be called by `bpf_loop` only.
unsafe extern "C" fn kill(index: u32, _context: *mut c_void) -> i64 {
    turn(index, session::kill)
}

#[inline(always)]
fn turn(index: u32, how: impl Fn(&FlowKey, u64) -> bool) -> i64 {
    if let Some(Sweeping { keys, now_ns, ended }) = sweeping()
        && let Some(key) = keys.get(index as usize)
    {
        *ended += u32::from(how(key, *now_ns));
    }
    0
}
