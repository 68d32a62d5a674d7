//! Addresses and protocol → rule. Only for packets without a session.
use aya_ebpf::maps::lpm_trie::Key;
use nat_common::{
    addr::Ipv4,
    limits::RULES_MAX,
    rule::{self, Action, Match, PrefixKey, Rule, RuleBits, Subset},
    settings::{Settings, slot},
    verdict::Verdict,
};

use crate::maps::{CONTROL, FROM, RULES, SETTINGS, SUBSETS, TO};

/// Where the rule of a packet stands.
#[derive(Clone, Copy)]
pub struct Matched {
    /// Table in which it was found.
    pub generation: u32,
    /// Position in that table.
    pub position: u32,
}

impl Matched {
    /// The rule itself: too large for the stack.
    #[inline(always)]
    pub fn rule(self) -> Result<&'static Rule, Verdict> {
        let index = slot(self.generation) * RULES_MAX + self.position;
        RULES.get(index).ok_or(Verdict::NotConfigured)
    }

    /// What the rule does.
    #[inline(always)]
    pub fn action(self) -> Action {
        self.rule().map_or(Action::Drop, |rule| Action::from_number(rule.action))
    }
}

/// The generation in force.
#[inline(always)]
pub fn generation() -> Result<u32, Verdict> {
    match CONTROL.get(0) {
        Some(control) if control.generation != 0 => Ok(control.generation),
        _ => Err(Verdict::NotConfigured),
    }
}

/// The settings in force.
#[inline(always)]
pub fn settings(generation: u32) -> Result<&'static Settings, Verdict> {
    SETTINGS.get(slot(generation)).ok_or(Verdict::NotConfigured)
}

/// The rule for a packet from `source` to `destination`, or the verdict of a packet that has none.
#[inline(always)]
pub fn rule(source: Ipv4, destination: Ipv4, protocol: u8) -> Result<Matched, Verdict> {
    let generation = generation()?;
    match first_match(generation, source, destination, protocol)? {
        Match::Rule(position) => Ok(Matched { generation, position }),
        Match::OnlyProtocolDiffers => Err(Verdict::ProtocolNotCovered),
        Match::None => {
            let default = Action::from_number(settings(generation)?.unmatched);
            Err(rule::unmatched(default))
        }
    }
}

#[inline(always)]
fn first_match(
    generation: u32,
    source: Ipv4,
    destination: Ipv4,
    protocol: u8,
) -> Result<Match, Verdict> {
    let key = |address| Key::new(PrefixKey::BITS, PrefixKey { generation, address });
    let (Some(from), Some(to)) = (FROM.get(key(source)), TO.get(key(destination))) else {
        return Ok(Match::None);
    };
    let subset = |subset: Subset| -> Result<&RuleBits, Verdict> {
        let index = slot(generation) * Subset::COUNT + subset as u32;
        SUBSETS.get(index).ok_or(Verdict::NotConfigured)
    };
    let protocol = subset(Subset::of_protocol(protocol))?;
    Ok(rule::first_match(from, to, protocol, subset(Subset::Snat)?))
}
