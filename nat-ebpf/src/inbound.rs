//! From outside to inside.
use nat_common::{
    addr::Ipv4,
    flow::{Direction, FlowKey, Protocol},
    instance::Role,
    packet::Packet,
    rule::Action,
    verdict::Verdict,
};

use crate::{
    clock, established,
    hook::Hook,
    stage::{
        admit, classify, mss,
        parse::{self, IPV4_DESTINATION, IPV4_OFFSET},
        request::{self, Before, request},
        session::{self, Found, Live},
    },
};

/// A packet's way in: to its session, or wherever the stack sends it.
#[inline(always)]
pub fn inbound<H: Hook>(hook: &mut H) -> Verdict {
    match translated(hook) {
        Ok(()) => Verdict::TranslatedIn,
        Err(verdict) => verdict,
    }
}

#[inline(always)]
fn translated<H: Hook>(hook: &mut H) -> Result<(), Verdict> {
    let packet = parse::ipv4(hook)?;
    hook.accept(&packet)?;
    hook.genuine(&packet)?;
    let now_ns = clock::now_ns();
    if packet.is_icmp_error() && hook.error(&packet, Direction::Inbound, now_ns)? {
        return sent_on(hook, &packet);
    }
    let key = match packet.flow(Direction::Inbound) {
        Ok(key) => key,
        Err(Verdict::IcmpRefused) => return Err(Verdict::IcmpRefused),
        Err(Verdict::Fragment) if hook.fragment(&packet, Direction::Inbound)? => {
            return sent_on(hook, &packet);
        }
        Err(_) => return Err(without_session(hook)),
    };
    let inbound = Direction::Inbound;
    if let Some(forwarded) = established::forward(hook, &packet, inbound, &key, now_ns) {
        return forwarded;
    }
    let live = belonging(hook, &packet, &key, now_ns)?;
    mss::note(&live, &key, packet.tcp_flags())?;
    let route = hook.route(&packet, live.to.address, Role::Inside)?;
    if hook.delivers(&packet, live.to.address) {
        let flags = packet.tcp_flags();
        session::touch(&live, inbound, &key, flags, hook.weight(), now_ns);
        established::keep_route::<H>(&live, &route, now_ns);
    } else {
        live.count(hook.weight());
    }
    let protocol = Protocol::from_number(packet.protocol).ok_or(Verdict::NoSession)?;
    hook.translate(&packet, Direction::Inbound, protocol, &live.to, &route)?;
    mss::clamp(hook, &packet)
}

/// Sends a translated error or later fragment on its way to the client that it is for now.
#[inline(always)]
fn sent_on<H: Hook>(hook: &mut H, packet: &Packet) -> Result<(), Verdict> {
    let client: Ipv4 = hook.load(IPV4_OFFSET + IPV4_DESTINATION).ok_or(Verdict::RewriteFailed)?;
    let route = hook.route(packet, client, Role::Inside)?;
    hook.send_on(packet, Direction::Inbound, &route)
}

/// The session of a packet, which may be one that it opens itself.
#[inline(always)]
fn belonging<H: Hook>(
    hook: &H,
    packet: &Packet,
    key: &FlowKey,
    now_ns: u64,
) -> Result<Live, Verdict> {
    let before = match session::find(Direction::Inbound, key, now_ns)? {
        // A host outside may use its port for another connection, if it may open one at all.
        Found::Live(live) if packet.tcp_flags().opens() && live.is_closing() => Before::Closing,
        Found::Live(live) => return Ok(live),
        Found::Ended => Before::Ended,
        Found::Absent => Before::Nothing,
    };
    let request = request()?;
    request.claim = *key;
    request.flags = packet.tcp_flags();
    request.before = before;
    request.own = false;
    request.joins = false;
    request.egress = hook.arrived_by();
    request.now_ns = now_ns;
    match enter(hook) {
        Verdict::TranslatedIn => session::of(&request::request()?.claim),
        verdict => Err(verdict),
    }
}

/// What becomes of the packet of this CPU's [`Request`](request::Request), which is from outside and has
/// no session: [`Verdict::TranslatedIn`] if it has opened one, or goes to the one that is closing.
///
/// Not inlined: other packets should not pay for it with stack.
#[inline(never)]
fn enter<H: Hook>(hook: &H) -> Verdict {
    let Ok(request) = request() else {
        return Verdict::NotConfigured;
    };
    let goes_on = matches!(request.before, Before::Closing) && !H::EARLY;
    let verdict = match without_session(hook) {
        Verdict::NoMapping => admit::admit().unwrap_or(Verdict::NoMapping),
        verdict => verdict,
    };
    if goes_on { Verdict::TranslatedIn } else { verdict }
}

/// What becomes of a packet from outside that belongs to no session. If it is
/// [`Verdict::NoMapping`], one may be looked for.
///
/// For an address of the gateway the stack decides, unless the port is translation's: the stack would
/// answer that nobody is there, to somebody whose session has just ended, or who knocks at a client's
/// port before the client does (RFC 5382 REQ-4). One that the stack would forward is read as the
/// answer it pretends to be: if its flow may pass untranslated on the way out, it may on the way
/// in, too. Otherwise nobody outside can have learnt this address from us.
///
/// Not inlined: what it needs is not on the stack of all other packets.
#[inline(never)]
fn without_session<H: Hook>(hook: &H) -> Verdict {
    // Read once more: what is kept of it is on the stack of all other packets, too.
    let packet = &match parse::ipv4(hook) {
        Ok(packet) => packet,
        Err(verdict) => return verdict,
    };
    match hook.forwarded(packet) {
        // Also an address that is not the gateway's, but only routed to it.
        Ok(_) if hook.unclaimed(packet) => return Verdict::NoMapping,
        Ok(true) => {}
        Ok(false) => return Verdict::NoSession,
        Err(left) => return left,
    }
    match classify::rule(packet.destination, packet.source, packet.protocol) {
        Ok(matched) if matches!(matched.action(), Action::Route) => Verdict::NoSession,
        Err(Verdict::Unmatched) => Verdict::NoSession,
        _ => Verdict::Unsolicited,
    }
}
