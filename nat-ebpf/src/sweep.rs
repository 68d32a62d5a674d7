//! Removal of ended sessions in bulk.
//!
//! The controller reads the outbound map in batches, picks the keys of sessions whose time seems to
//! be up and hands them over as the packet of a BPF_PROG_TEST_RUN. The decision is made here, by
//! the same code and clock as everywhere else: between the controller's look and this run a session
//! may have come to life, or have been removed and made anew.
use aya_ebpf::programs::XdpContext;
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

/// Ends those of the sessions whose time is up; returns how many.
#[inline(always)]
pub fn sweep(ctx: &XdpContext) -> u32 {
    let now_ns = clock::now_ns();
    each(ctx, |key| session::end(key, now_ns))
}

/// Ends the sessions, live or not, as somebody has ordered; returns how many.
#[inline(always)]
pub fn flush(ctx: &XdpContext) -> u32 {
    let now_ns = clock::now_ns();
    each(ctx, |key| session::kill(key, now_ns))
}

/// Forgets tuples that have rested long enough; returns how many.
#[inline(always)]
pub fn clear() -> u32 {
    cooldown::clear(CLEAR_TUPLES_MAX, clock::now_ns())
}

#[inline(always)]
fn each(ctx: &XdpContext, end: impl Fn(&FlowKey) -> bool) -> u32 {
    let keys = Keys(ctx);
    let mut ended = 0;
    for index in 0..SWEEP_SESSIONS_MAX {
        let Some(key) = keys.load::<FlowKey>(index as usize * size_of::<FlowKey>()) else {
            break;
        };
        ended += u32::from(end(&key));
    }
    ended
}
