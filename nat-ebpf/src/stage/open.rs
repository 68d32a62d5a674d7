//! A packet without a live session: what the rules say of it, and the session that it opens.
//!
//! Functions of their own: they are called once a flow, and what they need would not fit on the stack
//! beside the established packet's path.
use core::ptr::read_volatile;

use aya_ebpf::{
    bindings::BPF_NOEXIST, helpers::generated::bpf_get_prandom_u32, maps::lpm_trie::Key,
};
use aya_log_ebpf::trace;
use nat_common::{
    addr::Ipv4,
    flow::{Direction, FlowKey, Protocol},
    mapping::{Filtering, Uses},
    pool::{self, PoolKey, Pooling},
    port::Candidates,
    rule::{Action, Rule},
    session::Birth,
    settings::Lifetime,
    source::ChoiceKey,
    tcp::Segment,
    verdict::{Fate, Verdict},
};

use crate::{
    entry::Translation,
    maps::{CHOICES, OUTBOUND, POOLS},
    stage::{
        classify::{self, Matched},
        client, locals, own, parse, port,
        request::{Before, EXISTS, Request, TRANSLATABLE, refused, request},
        session::{self, Found},
        stats,
    },
};

/// Answers this CPU's [`Request`]: the number of the packet's verdict. With
/// [`Verdict::TranslatedOut`] there is to be a session, for which everything is prepared but an
/// external endpoint: that is for [`end_before`], [`admit_session`], [`port::claim_port`], and then
/// [`publish_session`]. One after the other, because there is no room on the stack for all at once.
///
/// Under a name that the object exports: the verifier judges such a function by itself, once, and not
/// anew for every way in which it is reached.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn open_session() -> u32 {
    let verdict = match answer() {
        Ok(()) => Verdict::TranslatedOut,
        Err(verdict) => verdict,
    };
    log(verdict);
    verdict as u32
}

/// Removes what is left of the last session of [`Request::key`], late packets or not.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn end_before() -> u32 {
    let Ok(request) = request() else { return 0 };
    match request.before {
        Before::Nothing => {}
        Before::Ended => {
            session::end(&request.key, request.now_ns);
        }
        Before::Closing => {
            session::kill(&request.key, request.now_ns);
        }
    }
    request.before = Before::Nothing;
    0
}

/// Counts a session more of the packet's client: [`TRANSLATABLE`], or the number of a verdict.
#[inline(always)]
pub fn admit_session() -> u32 {
    request()
        .map_or(Verdict::NotConfigured as u32, |request| client::admit_client(request.generation))
}

/// Takes back what [`admit_session`] has counted.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn dismiss_session() -> u32 {
    if let Ok(request) = request() {
        client::dismiss(request);
    }
    0
}

/// Publishes the session of what has been claimed: the number of the packet's verdict,
/// [`Verdict::TranslatedOut`] for a session in [`Request::to`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn publish_session() -> u32 {
    match request().and_then(publish) {
        Ok(()) => Verdict::TranslatedOut as u32,
        Err(verdict) => verdict as u32,
    }
}

/// Lets the session be on another address of its pool, because the one that it was to be on has no
/// free port: the number of a verdict, [`Verdict::TranslatedOut`] if there is another one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn spill_session() -> u32 {
    match request().and_then(spill) {
        Ok(()) => Verdict::TranslatedOut as u32,
        Err(verdict) => verdict as u32,
    }
}

#[inline(always)]
fn spill(request: &mut Request) -> Result<(), Verdict> {
    let Matched { generation, position, .. } = request.matched;
    // What takes part in a rule's pool with the address that it has, stays there.
    if request.joins || request.pooling != Pooling::Spilling as u8 {
        return Err(Verdict::NoPort);
    }
    let key = PoolKey { generation, rule: position, ifindex: request.egress };
    // SAFETY: pools of the generation in force are not removed.
    let pool = unsafe { POOLS.get(key) }.ok_or(Verdict::NoPort)?;
    request.external = pool::next(pool, request.source, request.external).ok_or(Verdict::NoPort)?;
    // SAFETY: the helper has no precondition.
    request.candidates = Candidates::new(request.ports()?, unsafe { bpf_get_prandom_u32() });
    Ok(())
}

/// Counts that no session came to be, for the verdict of this number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn refuse_session(verdict: u32) -> u32 {
    if let Ok(request) = request() {
        stats::count_rule(request.rule, Verdict::from_number(verdict as u8), request.weight);
    }
    verdict
}

/// For people who look for the reason of one packet's fate. Off unless the loader sets the level;
/// the verifier then removes it.
#[inline(always)]
fn log(verdict: Verdict) {
    if let Ok(request) = request() {
        let host_order = |address: Ipv4| u32::from_be(address.to_be32());
        trace!(
            (),
            "{:i} to {:i}, protocol {}, out by interface {}: verdict {}",
            host_order(request.source),
            host_order(request.destination),
            request.protocol,
            request.egress,
            verdict as u8
        );
    }
}

#[inline(always)]
fn answer() -> Result<(), Verdict> {
    request()?.instead = false;
    request()?.joins = false;
    let Request { source, destination, protocol, .. } = *request()?;
    match classify::rule(source, destination, protocol) {
        Ok(matched) => request()?.matched = matched,
        Err(Verdict::Unmatched) => beside(request()?)?,
        Err(verdict) => return Err(verdict),
    }
    // Read back from the map: otherwise the verifier, which knows what each word of the rules' sets
    // can lead to, walks what follows once for each of them.
    // SAFETY: written just now.
    let matched = unsafe { read_volatile(&raw const request()?.matched) };
    let rule = matched.rule()?;
    let id = rule.id;
    let verdict = match Action::from_number(rule.action) {
        Action::Snat if own::stays() => own::passed(Verdict::OwnReply),
        Action::Snat => match prepare(request()?, matched, rule) {
            Ok(()) => return Ok(()),
            Err(verdict) => verdict,
        },
        Action::Route => untranslated(request()?, Verdict::Routed),
        Action::Drop => Verdict::RuleDrop,
    };
    // What XDP passes on is counted by TC.
    let Request { early, weight, .. } = *request()?;
    if !(early && matches!(verdict.fate(), Fate::Passed)) {
        stats::count_rule(id, verdict, weight);
    }
    Err(verdict)
}

/// What becomes of a packet that no rule covers: it leaves as it is, but not from what may be a client's
/// endpoint. Then that client's rule takes it.
#[inline(always)]
fn beside(request: &mut Request) -> Result<(), Verdict> {
    let Some(position) = own::pool() else {
        return Err(untranslated(request, Verdict::Unmatched));
    };
    match by_its_address(request, Verdict::Unmatched) {
        Verdict::Unmatched => {}
        verdict => return Err(verdict),
    }
    request.matched = Matched { generation: classify::generation()?, position };
    request.joins = true;
    Ok(())
}

/// What becomes of a packet that leaves as it is.
#[inline(always)]
fn untranslated(request: &Request, passed: Verdict) -> Verdict {
    match own::passed(passed) {
        dropped if matches!(dropped.fate(), Fate::Dropped) => dropped,
        passed => by_its_address(request, passed),
    }
}

/// What this machine sends should have an address of the interface by which it leaves: upstream, another
/// one looks forged.
#[inline(always)]
fn by_its_address(request: &Request, passed: Verdict) -> Verdict {
    let Ok(generation) = classify::generation() else {
        return Verdict::NotConfigured;
    };
    let has = |ifindex| locals::has(ifindex, request.source);
    if !request.own || has(request.egress) || !has(locals::ANY_INTERFACE) {
        return passed;
    }
    match classify::settings(generation) {
        Ok(settings) if settings.enforce_strong_send == 0 => Verdict::WeakHostSend,
        Ok(_) => Verdict::StrongHostDrop,
        Err(verdict) => verdict,
    }
}

/// Everything up to the claim, for a packet that a `snat` rule covers.
#[inline(always)]
fn prepare(request: &mut Request, matched: Matched, rule: &Rule) -> Result<(), Verdict> {
    if request.untranslatable != TRANSLATABLE {
        return Err(Verdict::from_number(request.untranslatable));
    }
    (request.instead, request.theirs) = (true, false);
    let protocol = Protocol::from_number(request.protocol).ok_or(Verdict::ProtocolNotCovered)?;
    if matches!(protocol, Protocol::Tcp) && !request.flags.opens() {
        return Err(Verdict::TcpWithoutSyn);
    }
    let lifetime = Lifetime::initial(protocol, request.key.remote_port.number());
    let timeout_ns = classify::settings(matched.generation)?.timeout_ns(lifetime);
    let first = match protocol {
        Protocol::Tcp => *parse::segment().ok_or(Verdict::NotConfigured)?,
        Protocol::Udp | Protocol::Icmp => Segment::NONE,
    };
    let (uses, range) = (uses(rule, protocol), rule.range);
    let (rule_id, mss) = (rule.id, rule.mss);
    request.birth =
        Birth { protocol, rule: rule_id, lifetime, timeout_ns, first, mss, uses, range };
    match choose_external() as u8 {
        TRANSLATABLE => {}
        verdict => return Err(Verdict::from_number(verdict)),
    }
    // SAFETY: the helper has no precondition.
    request.candidates = Candidates::new(&rule.ports, unsafe { bpf_get_prandom_u32() });
    request.generation = matched.generation;
    request.rule = rule.id;
    request.port_set = rule.port_set;
    request.pooling = rule.pooling;
    Ok(())
}

/// What the rule's sessions use besides their own entries.
#[inline(always)]
fn uses(rule: &Rule, protocol: Protocol) -> u8 {
    let behaviour = rule.behaviour;
    if !behaviour.endpoint_independent(protocol) {
        return Uses::NOTHING;
    }
    match behaviour.filtering(protocol) {
        Filtering::AddressDependent => Uses::PERMISSION,
        _ => Uses::MAPPING,
    }
}

/// Everything after it. Only now does a last session go whose late packets are still translated: a
/// refusal leaves it.
#[inline(always)]
fn publish(request: &mut Request) -> Result<(), Verdict> {
    if request.claim.is_to_itself() {
        // The answers of a hairpin to oneself would come back for ever.
        port::give_back(request);
        return Err(Verdict::HairpinLoop);
    }
    if request.theirs {
        wait_for_theirs(&request.key);
        join(request)?;
        client::dismiss(request);
        return Ok(());
    }
    if request.before == Before::Closing {
        session::kill(&request.key, request.now_ns);
    }
    request.write_outbound(request.weight.packets, request.weight.bytes);
    match OUTBOUND.insert(&request.key, &request.entry, BPF_NOEXIST as u64) {
        Ok(()) => {
            stats::count_session(request.birth.rule);
            request.to = Translation::from(&request.entry);
            Ok(())
        }
        Err(error) => {
            // No packet has left with it.
            port::give_back(request);
            if error != EXISTS {
                return Err(refused(error));
            }
            join(request)?;
            client::dismiss(request);
            Ok(())
        }
    }
}

/// How often it is looked whether another CPU has made a session: each look takes some 20 ns, and from
/// claim to publication it is about a microsecond.
const LOOKS: u32 = 128;

/// Waits until another CPU has made the session of this flow; in vain, if it cannot.
#[inline(always)]
fn wait_for_theirs(key: &FlowKey) {
    for _ in 0..LOOKS {
        if OUTBOUND.get_ptr_mut(key).is_some() {
            return;
        }
    }
}

/// Finds the external address of the packet's client, by [`Request::matched`]:
/// [`Request::external`] and [`TRANSLATABLE`], or the number of a verdict.
///
/// A function of its own, so that the verifier walks what comes after it once and not once for each
/// way through it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn choose_external() -> u32 {
    let Ok(request) = request() else {
        return Verdict::NotConfigured as u32;
    };
    if request.joins {
        request.external = request.source;
        return u32::from(TRANSLATABLE);
    }
    request.external = Ipv4::UNSPECIFIED;
    let matched = request.matched;
    let Ok(rule) = matched.rule() else {
        return Verdict::NotConfigured as u32;
    };
    match external_address(request, matched.generation, matched.position, rule.pooling) {
        Ok(address) => {
            request.external = address;
            u32::from(TRANSLATABLE)
        }
        Err(verdict) => verdict as u32,
    }
}

#[inline(always)]
fn external_address(
    request: &Request,
    generation: u32,
    rule: u32,
    pooling: u8,
) -> Result<Ipv4, Verdict> {
    let key = PoolKey { generation, rule, ifindex: request.egress };
    // SAFETY: pools of the generation in force are not removed.
    let pool = unsafe { POOLS.get(key) }.ok_or(Verdict::AddressNotOnEgress)?;
    if pool.table != 0 {
        let to = ChoiceKey { table: pool.table, destination: request.destination };
        let choice = CHOICES.get(Key::new(ChoiceKey::BITS, to)).ok_or(Verdict::NoRoute)?;
        return choice.address();
    }
    let random = if request.birth.uses == Uses::NOTHING {
        // SAFETY: the helper has no precondition.
        unsafe { bpf_get_prandom_u32() }
    } else {
        // An inside endpoint has one mapping, and so one address.
        request.key.toward_everybody().fingerprint()
    };
    let pooling = Pooling::from_number(pooling);
    pool::choose(pool, pooling, request.source, random).ok_or(Verdict::AddressNotOnEgress)
}

/// Another CPU has published a session of this flow first; both packets use that one.
#[inline(always)]
fn join(request: &mut Request) -> Result<(), Verdict> {
    let (key, direction) = (&request.key, Direction::Outbound);
    match session::find(direction, key, request.now_ns)? {
        // The last session is in use again: it was, then, not over.
        Found::Live(winner) if winner.is_closing() => Err(Verdict::Contended),
        Found::Live(winner) => {
            // Made just now, by the same packet or one like it: there is nothing else to note.
            winner.count(request.weight);
            request.to = winner.to;
            request.birth.mss = winner.mss(key)?;
            Ok(())
        }
        Found::Ended | Found::Absent => Err(Verdict::Contended),
    }
}
