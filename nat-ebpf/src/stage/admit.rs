//! A packet from outside without a session, for a mapped port: whether it comes in, and the session
//! that it opens.
//!
//! It is read as the question to an answer: the rule for what the inside endpoint would send back
//! decides. If that rule would not translate the answer to where the packet went, it does not come
//! in; if it would, its filtering says who does.
use aya_ebpf::bindings::BPF_NOEXIST;
use nat_common::{
    addr::{Ipv4, Port},
    flow::{Direction, FlowKey, Protocol},
    limits::SPILL_ADDRESSES_MAX,
    mapping::{Filtering, Uses},
    rule::Action,
    session::{Birth, pack},
    settings::Lifetime,
    tcp::{Connection, Segment},
    verdict::Verdict,
};

use crate::{
    entry::Entry,
    maps::{INBOUND, OUTBOUND},
    stage::{
        classify, client, mapping, open, parse,
        request::{Before, Request, TRANSLATABLE, refused, request},
        stats,
    },
};

/// What [`judge_entry`] returns for an external endpoint that no mapping has.
const NOBODYS: u32 = u8::MAX as u32;

/// What the steps return if the next one is to follow.
const GOES_ON: u32 = NOBODYS - 1;

/// Opens the session of a packet from outside, whose inbound key is [`Request::claim`], and which
/// arrived by [`Request::egress`]: [`Verdict::TranslatedIn`] if there is one now, which has
/// not counted the packet yet, and [`Verdict::Filtered`] if the packet may not come in. Nothing if no
/// mapping has the external endpoint. [`Request::key`] is then the session's outbound key.
#[inline(always)]
pub fn admit() -> Option<Verdict> {
    let mut number = judge_entry();
    if number == GOES_ON {
        open::choose_external();
        number = enter_mapping();
    }
    if number == GOES_ON {
        // The mapping stays, even if this was its only session.
        open::end_before();
        number = publish_entry();
    }
    (number != NOBODYS).then(|| Verdict::from_number(number as u8))
}

/// Whose the endpoint is, and what the rule for the answer says: [`GOES_ON`], the number of a verdict,
/// or [`NOBODYS`]. Exported as [`super::port::claim_port`]'s steps are, and for the same reasons.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judge_entry() -> u32 {
    match judged() {
        Ok(true) => GOES_ON,
        Ok(false) => NOBODYS,
        Err(verdict) => verdict as u32,
    }
}

/// Becomes a user of the mapping, if the answer would leave with its address and the filter is open:
/// [`GOES_ON`], or the number of a verdict.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn enter_mapping() -> u32 {
    let Ok(request) = request() else {
        return Verdict::NotConfigured as u32;
    };
    for _ in 0..SPILL_ADDRESSES_MAX {
        if request.external == request.claim.local
            || open::spill_session() != Verdict::TranslatedOut as u32
        {
            break;
        }
    }
    if request.external != request.claim.local {
        return Verdict::Filtered as u32;
    }
    match mapping::enter(request) {
        Ok(()) => GOES_ON,
        Err(verdict) => verdict as u32,
    }
}

/// Makes the session: the number of a verdict. Leaves nothing behind on failure.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn publish_entry() -> u32 {
    let Ok(request) = request() else {
        return Verdict::NotConfigured as u32;
    };
    let counted = match client::admit_client(request.matched.generation) as u8 {
        TRANSLATABLE => Ok(()),
        number => Err(Verdict::from_number(number)),
    };
    let published =
        counted.and_then(|()| publish(request).inspect_err(|_| client::dismiss(request)));
    match published {
        Ok(()) => Verdict::TranslatedIn as u32,
        Err(verdict) => {
            let Birth { uses, range, .. } = request.birth;
            mapping::leave(uses, range, &request.key, &request.claim);
            verdict as u32
        }
    }
}

#[inline(always)]
fn judged() -> Result<bool, Verdict> {
    let request = request()?;
    let claim = request.claim;
    let Some((address, port, range)) = mapping::owner(&claim.toward_everybody())? else {
        return Ok(false);
    };
    request.key = claim.translated(address, port);
    if !is_of(&claim, (address, port)) {
        // Another client's, which had this tuple before it was mapped: not this packet's to end.
        request.before = Before::Nothing;
    }
    (request.source, request.destination) = (address, claim.remote);
    let matched = match classify::rule(address, claim.remote, claim.protocol) {
        Ok(matched) => matched,
        Err(Verdict::NotConfigured) => return Err(Verdict::NotConfigured),
        Err(_) => return Err(Verdict::Filtered),
    };
    request.matched = matched;
    request.pooling = matched.rule()?.pooling;
    let protocol = Protocol::from_number(claim.protocol).ok_or(Verdict::Filtered)?;
    let rule = matched.rule()?;
    let behaviour = rule.behaviour;
    let first = match protocol {
        Protocol::Tcp if !request.flags.opens() => return Err(Verdict::Filtered),
        Protocol::Tcp => *parse::segment().ok_or(Verdict::NotConfigured)?,
        Protocol::Udp | Protocol::Icmp => Segment::NONE,
    };
    let translates = matches!(matched.action(), Action::Snat)
        && behaviour.endpoint_independent(protocol)
        && rule.range == range;
    let uses = match behaviour.filtering(protocol) {
        Filtering::EndpointIndependent => Uses::MAPPING,
        Filtering::AddressDependent => Uses::PERMISSION,
        Filtering::AddressAndPortDependent => return Err(Verdict::Filtered),
    };
    if !translates {
        return Err(Verdict::Filtered);
    }
    let lifetime = Lifetime::initial(protocol, claim.remote_port.number());
    let timeout_ns = classify::settings(matched.generation)?.timeout_ns(lifetime);
    let (rule, mss) = (rule.id, rule.mss);
    request.birth = Birth { protocol, rule, lifetime, timeout_ns, first, mss, uses, range };
    Ok(true)
}

/// Whether an inside endpoint has the session of an inbound key.
#[inline(always)]
fn is_of(claim: &FlowKey, inside: (Ipv4, Port)) -> bool {
    Entry::find(Direction::Inbound, claim).is_some_and(|entry| {
        let to = entry.translation();
        (to.address, to.port) == inside
    })
}

/// Claims, then publishes.
#[inline(always)]
fn publish(request: &mut Request) -> Result<(), Verdict> {
    request.write_claim();
    INBOUND.insert(&request.claim, &request.entry, BPF_NOEXIST as u64).map_err(refused)?;
    request.write_outbound(0, 0);
    if matches!(request.birth.protocol, Protocol::Tcp) {
        request.entry.tcp = pack(Connection::FROM_OUTSIDE, request.birth.first.scale);
    }
    match OUTBOUND.insert(&request.key, &request.entry, BPF_NOEXIST as u64) {
        Ok(()) => {
            stats::count_session(request.birth.rule);
            Ok(())
        }
        Err(error) => {
            let _ = INBOUND.remove(&request.claim);
            Err(refused(error))
        }
    }
}
