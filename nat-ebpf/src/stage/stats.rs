//! Counters. Each CPU has its own copy, and programs of one CPU do not interrupt each other.
use nat_common::{
    stats::{Effort, Hook, RuleCounters, counter_index},
    verdict::{Fate, Verdict},
};

use crate::{
    hook::Weight,
    maps::{EFFORT, RULE_COUNTERS, VERDICTS},
};

/// Counts a packet's end.
#[inline(always)]
pub fn count(hook: Hook, verdict: Verdict, weight: Weight) {
    if let Some(counter) = VERDICTS.get_ptr_mut(counter_index(hook, verdict)) {
        // SAFETY: this CPU's own copy.
        let counter = unsafe { &mut *counter };
        counter.packets += weight.packets;
        counter.bytes += weight.bytes;
    }
}

/// Counts a step of a search for a port.
#[inline(always)]
pub fn spend(effort: Effort) {
    if let Some(count) = EFFORT.get_ptr_mut(effort as u32) {
        // SAFETY: this CPU's own copy.
        unsafe { *count += 1 };
    }
}

/// Counts a new session of a rule.
#[inline(always)]
pub fn count_session(id: u32) {
    with_rule(id, |counters| counters.sessions += 1);
}

/// Counts a packet that a rule matched and that was not translated.
#[inline(always)]
pub fn count_rule(id: u32, verdict: Verdict, weight: Weight) {
    with_rule(id, |counters| match verdict.fate() {
        Fate::Passed => counters.routed_packets += weight.packets,
        _ => counters.dropped_packets += weight.packets,
    });
}

/// Keeps what an ended session has carried, in packets and bytes.
#[inline(always)]
pub fn count_ended(id: u32, outbound: (u64, u64), inbound: (u64, u64)) {
    with_rule(id, |counters| {
        counters.ended_packets_out += outbound.0;
        counters.ended_bytes_out += outbound.1;
        counters.ended_packets_in += inbound.0;
        counters.ended_bytes_in += inbound.1;
    });
}

#[inline(always)]
fn with_rule(id: u32, change: impl FnOnce(&mut RuleCounters)) {
    if let Some(counters) = RULE_COUNTERS.get_ptr_mut(id) {
        // SAFETY: this CPU's own copy.
        change(unsafe { &mut *counters });
    }
}
