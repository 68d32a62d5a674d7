//! From inside to outside.
use nat_common::{
    flow::{Direction, FlowKey, Protocol},
    instance::Role,
    packet::Packet,
    verdict::Verdict,
};

use crate::{
    clock,
    entry::Translation,
    hook::Hook,
    stage::{
        mss,
        open::{self, Before, TRANSLATABLE},
        parse::{self, IPV4_OFFSET},
        port, refuse,
        session::{self, Found},
        socket,
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
    hook.genuine(&packet)?;
    let now_ns = clock::now_ns();
    if packet.is_icmp_error() && hook.error(&packet, Direction::Outbound, now_ns)? {
        return Ok(());
    }
    way_out(hook, &packet, now_ns)
}

/// The way out of a packet that may pass this hook. An error that drops nothing means that nothing
/// has been changed.
#[inline(always)]
pub fn way_out<H: Hook>(hook: &mut H, packet: &Packet, now_ns: u64) -> Result<(), Verdict> {
    let flow = packet.flow(Direction::Outbound);
    if flow == Err(Verdict::Fragment) && hook.fragment(packet, Direction::Outbound)? {
        return Ok(());
    }
    let found = match &flow {
        Ok(key) => session::find(Direction::Outbound, key, now_ns)?,
        Err(_) => Found::Absent,
    };
    // Before anything is made or changed: a packet that does not leave by an outside interface is
    // none of ours, and one that the stack must see first has to reach it as it is.
    let route = hook.route(packet, packet.destination, Role::Outside)?;

    let to = match (found, &flow) {
        // The server may not have forgotten the last connection: a new one gets another port.
        (Found::Live(live), Ok(key)) if !(packet.tcp_flags().opens() && live.is_closing()) => {
            let flags = packet.tcp_flags();
            session::touch(&live, Direction::Outbound, key, flags, hook.weight(), now_ns);
            live.to
        }
        (found, flow) => {
            let before = match found {
                Found::Live(_) => Before::Closing,
                Found::Ended => Before::Ended,
                Found::Absent => Before::Nothing,
            };
            by_rule(hook, packet, flow, before, H::egress(&route), now_ns)?
        }
    };
    let protocol = Protocol::from_number(packet.protocol).ok_or(Verdict::ProtocolNotCovered)?;
    hook.translate(packet, Direction::Outbound, protocol, &to, &route)?;
    mss::clamp(hook, packet, to.mss)
}

/// What the rules say of a packet without a live session.
#[inline(always)]
fn by_rule<H: Hook>(
    hook: &H,
    packet: &Packet,
    flow: &Result<FlowKey, Verdict>,
    before: Before,
    egress: u32,
    now_ns: u64,
) -> Result<Translation, Verdict> {
    let request = open::request()?;
    request.source = packet.source;
    request.destination = packet.destination;
    request.protocol = packet.protocol;
    request.flags = packet.tcp_flags();
    request.before = before;
    request.early = H::EARLY;
    request.own = hook.own();
    request.egress = egress;
    request.weight = hook.weight();
    request.now_ns = now_ns;
    match flow {
        Ok(key) => {
            request.key = *key;
            request.untranslatable = TRANSLATABLE;
        }
        Err(verdict) => request.untranslatable = *verdict as u8,
    }
    opened(hook).inspect_err(|verdict| {
        refuse::tell(hook, usize::from(packet.transport_offset) - IPV4_OFFSET, *verdict);
    })
}

#[inline(always)]
fn opened<H: Hook>(hook: &H) -> Result<Translation, Verdict> {
    match Verdict::from_number(open::open_session() as u8) {
        Verdict::TranslatedOut => {}
        verdict => return Err(verdict),
    }
    with_port(hook).inspect_err(|verdict| {
        open::refuse_session(*verdict as u32);
    })
}

/// A session on an external endpoint that no socket of this machine has. Leaves nothing behind on
/// failure.
#[inline(always)]
fn with_port<H: Hook>(hook: &H) -> Result<Translation, Verdict> {
    for held in [false, true] {
        port::claim(held)?;
        if !socket::has(hook.context(), &open::request()?.claim) {
            return match Verdict::from_number(open::publish_session() as u8) {
                Verdict::TranslatedOut => Ok(open::request()?.to),
                verdict => Err(verdict),
            };
        }
    }
    port::give_back(open::request()?);
    Err(Verdict::Contended)
}
