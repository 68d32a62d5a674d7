//! From inside to outside.
use nat_common::{
    flow::{Direction, FlowKey, Protocol},
    instance::Role,
    packet::Packet,
    rule::Action,
    verdict::{Fate, Verdict},
};

use crate::{
    clock,
    entry::Translation,
    hook::Hook,
    stage::{
        classify, parse,
        session::{self, Found},
        stats,
    },
};

/// A packet's way out: with its session if it has one, else by the rules with a new one.
#[inline(always)]
pub fn outbound<H: Hook>(hook: &mut H) -> Verdict {
    match translated(hook) {
        Ok(()) => Verdict::TranslatedOut,
        Err(verdict) => verdict,
    }
}

#[inline(always)]
fn translated<H: Hook>(hook: &mut H) -> Result<(), Verdict> {
    let packet = parse::ipv4(hook)?;
    hook.accept(&packet)?;
    let now_ns = clock::now_ns();
    let flow = packet.flow(Direction::Outbound);
    let found = match &flow {
        Ok(key) => session::find(Direction::Outbound, key, now_ns)?,
        Err(_) => Found::Absent,
    };
    // Before anything is made or changed: a packet that does not leave by an outside interface is
    // none of ours, and one that the stack must see first has to reach it as it is.
    let route = hook.route(&packet, packet.destination, Role::Outside)?;

    let to = match (found, &flow) {
        (Found::Live(live), Ok(key)) => {
            session::touch(&live, Direction::Outbound, key, &packet, hook.weight(), now_ns);
            live.to
        }
        _ => by_rule(hook, &packet, &flow, found, H::egress(&route), now_ns)?,
    };
    let protocol = Protocol::from_number(packet.protocol).ok_or(Verdict::ProtocolNotCovered)?;
    hook.translate(&packet, Direction::Outbound, protocol, &to, &route)
}

/// What the rules say of a packet without a live session.
#[inline(always)]
fn by_rule<H: Hook>(
    hook: &H,
    packet: &Packet,
    flow: &Result<FlowKey, Verdict>,
    found: Found,
    egress: u32,
    now_ns: u64,
) -> Result<Translation, Verdict> {
    let matched = classify::rule(packet.source, packet.destination, packet.protocol)?;
    let created = match (matched.action(), flow) {
        (Action::Snat, Ok(key)) => {
            if matches!(found, Found::Ended) {
                session::end(key, now_ns);
            }
            session::create(key, packet, &matched, egress, hook.weight(), now_ns)
        }
        (Action::Snat, Err(untranslatable)) => Err(*untranslatable),
        (Action::Route, _) => Err(Verdict::Routed),
        (Action::Drop, _) => Err(Verdict::RuleDrop),
    };
    let outcome = created.map(|_| ());
    // What XDP passes on is counted by TC.
    if !matches!(outcome, Err(verdict) if H::EARLY && matches!(verdict.fate(), Fate::Passed)) {
        stats::count_rule(matched.rule.id, &outcome, hook.weight());
    }
    created
}
