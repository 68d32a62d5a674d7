//! From inside, before the stack: forged sources are dropped, and what is for a client behind an
//! external address is turned back. Everything else is only looked at: whatever XDP or TC does with
//! it later, it does it without asking again.
use nat_common::verdict::{Fate, Verdict};

use crate::{hairpin, hook::Hook, stage::parse};

/// A packet's arrival on an inside interface.
#[inline(always)]
pub fn arrival<H: Hook>(hook: &mut H) -> Verdict {
    match judged(hook) {
        Ok(()) => Verdict::Hairpin,
        Err(verdict) if matches!(verdict.fate(), Fate::Dropped) => verdict,
        // Whatever sees the packet next gives the final verdict.
        Err(_) => Verdict::LeftUntouched,
    }
}

#[inline(always)]
fn judged<H: Hook>(hook: &mut H) -> Result<(), Verdict> {
    let packet = parse::ipv4(hook)?;
    hook.genuine(&packet)?;
    hairpin::turn(hook, &packet)
}
