//! From inside, before the stack: what only has to be looked at. Whatever XDP or TC does with the
//! packet later, it does it without asking again.
use nat_common::verdict::{Fate, Verdict};

use crate::{hook::Hook, stage::parse};

/// A packet's arrival on an inside interface.
#[inline(always)]
pub fn arrival<H: Hook>(hook: &H) -> Verdict {
    match parse::ipv4(hook).and_then(|packet| hook.genuine(&packet)) {
        // Whatever sees the packet next gives the final verdict.
        Err(verdict) if matches!(verdict.fate(), Fate::Dropped) => verdict,
        _ => Verdict::LeftUntouched,
    }
}
