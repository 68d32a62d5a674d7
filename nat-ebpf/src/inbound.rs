//! From outside to inside.
use nat_common::{
    addr::Ipv4,
    flow::{Direction, Protocol},
    instance::Role,
    packet::Packet,
    rule::Action,
    verdict::Verdict,
};

use crate::{
    clock,
    hook::Hook,
    stage::{
        classify, mss,
        parse::{self, IPV4_DESTINATION, IPV4_OFFSET},
        session::{self, Found},
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
        Err(_) => return Err(without_session(hook, &packet)),
    };
    let Found::Live(live) = session::find(Direction::Inbound, &key, now_ns)? else {
        return Err(without_session(hook, &packet));
    };
    let route = hook.route(&packet, live.to.address, Role::Inside)?;
    if hook.delivers(&packet, live.to.address) {
        let flags = packet.tcp_flags();
        session::touch(&live, Direction::Inbound, &key, flags, hook.weight(), now_ns);
    } else {
        live.count(hook.weight());
    }
    let protocol = Protocol::from_number(packet.protocol).ok_or(Verdict::NoSession)?;
    hook.translate(&packet, Direction::Inbound, protocol, &live.to, &route)?;
    mss::clamp(hook, &packet, live.to.mss)
}

/// Sends a translated error or later fragment on its way to the client that it is for now.
#[inline(always)]
fn sent_on<H: Hook>(hook: &mut H, packet: &Packet) -> Result<(), Verdict> {
    let client: Ipv4 = hook.load(IPV4_OFFSET + IPV4_DESTINATION).ok_or(Verdict::RewriteFailed)?;
    let route = hook.route(packet, client, Role::Inside)?;
    hook.send_on(packet, Direction::Inbound, &route)
}

/// What becomes of a packet from outside that belongs to no session.
///
/// For an address of the gateway the stack decides, unless the port is translation's: the stack would
/// answer that nobody is there, to somebody whose session has just ended, or who knocks at a client's
/// port before the client does (RFC 5382 REQ-4). One that the stack would forward is read as the
/// answer it pretends to be: if its flow may pass untranslated on the way out, it may on the way
/// in, too. Otherwise nobody outside can have learnt this address from us.
#[inline(always)]
fn without_session<H: Hook>(hook: &H, packet: &Packet) -> Verdict {
    match hook.forwarded(packet) {
        Ok(true) => {}
        Ok(false) if hook.unclaimed(packet) => return Verdict::NoMapping,
        Ok(false) => return Verdict::NoSession,
        Err(left) => return left,
    }
    match classify::rule(packet.destination, packet.source, packet.protocol) {
        Ok(matched) if matches!(matched.action(), Action::Route) => Verdict::NoSession,
        Err(Verdict::Unmatched) => Verdict::NoSession,
        _ => Verdict::Unsolicited,
    }
}
