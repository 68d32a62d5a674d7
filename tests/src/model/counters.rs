//! What has been counted.
use std::collections::BTreeMap;

use nat_common::{
    stats::{Counter, Hook, RuleCounters},
    verdict::{Fate, Verdict},
};

use super::{Sent, early, session::Session};

/// What a frame adds to counters.
#[derive(Clone, Copy, Debug)]
pub struct Weight {
    /// Of a super-frame, its segments. XDP sees no super-frames.
    pub packets: u64,
    /// From the network header on.
    pub bytes: u64,
}

impl Weight {
    #[must_use]
    pub(super) fn of(sent: Sent<'_>) -> Self {
        let packets = if early(sent.hook) { 1 } else { u64::from(sent.segments.max(1)) };
        Self { packets, bytes: sent.frame.len().saturating_sub(14) as u64 }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Counters {
    verdicts: BTreeMap<(u32, u8), Counter>,
    rules: BTreeMap<String, RuleCounters>,
}

impl Counters {
    /// Of a hook and verdict.
    #[must_use]
    pub fn of_verdict(&self, hook: Hook, verdict: Verdict) -> Counter {
        self.verdicts.get(&(hook as u32, verdict as u8)).copied().unwrap_or_default()
    }

    /// Of a rule, by name.
    #[must_use]
    pub fn of_rule(&self, name: &str) -> RuleCounters {
        self.rules.get(name).copied().unwrap_or_default()
    }

    pub(super) fn verdict(&mut self, hook: Hook, verdict: Verdict, weight: Weight) {
        let counter = self.verdicts.entry((hook as u32, verdict as u8)).or_default();
        counter.packets += weight.packets;
        counter.bytes += weight.bytes;
    }

    pub(super) fn session(&mut self, rule: &str) {
        self.rule(rule).sessions += 1;
    }

    /// A packet that a rule matched and that was not translated.
    pub(super) fn refused(&mut self, rule: &str, verdict: Verdict, weight: Weight) {
        let counters = self.rule(rule);
        match verdict.fate() {
            Fate::Passed => counters.routed_packets += weight.packets,
            _ => counters.dropped_packets += weight.packets,
        }
    }

    pub(super) fn ended(&mut self, session: &Session) {
        let counters = self.rule(&session.rule);
        counters.ended_packets_out += session.out.packets;
        counters.ended_bytes_out += session.out.bytes;
        counters.ended_packets_in += session.back.packets;
        counters.ended_bytes_in += session.back.bytes;
    }

    fn rule(&mut self, name: &str) -> &mut RuleCounters {
        if !self.rules.contains_key(name) {
            self.rules.insert(name.to_owned(), RuleCounters::default());
        }
        self.rules.entry(name.to_owned()).or_default()
    }
}
