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
    established,
    hook::Hook,
    stage::{
        mss, open,
        parse::{self, IPV4_OFFSET},
        port, refuse,
        request::{Before, TRANSLATABLE, request},
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
    if let Ok(key) = &flow
        && let Some(forwarded) =
            established::forward(hook, packet, Direction::Outbound, key, now_ns)
    {
        return forwarded;
    }
    // Before anything is made or changed: a packet that does not leave by an outside interface is
    // none of ours, and one that the stack must see first has to reach it as it is.
    let route = hook.route(packet, packet.destination, Role::Outside)?;
    let found = match &flow {
        Ok(key) => session::find(Direction::Outbound, key, now_ns)?,
        Err(_) => Found::Absent,
    };

    let to = match (found, &flow) {
        // The server may not have forgotten the last connection: a new one gets another port.
        (Found::Live(live), Ok(key)) if !(packet.tcp_flags().opens() && live.is_closing()) => {
            let flags = packet.tcp_flags();
            mss::note(&live, key, flags)?;
            session::touch(&live, Direction::Outbound, key, flags, hook.weight(), now_ns);
            established::keep_route::<H>(&live, &route, now_ns);
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
    mss::clamp(hook, packet)
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
    let request = request()?;
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
    opened(hook, before).map_err(|number| {
        let verdict = Verdict::from_number(number as u8);
        refuse::tell(hook, usize::from(packet.transport_offset) - IPV4_OFFSET, verdict);
        verdict
    })
}

/// Makes the session, or says by the number of a verdict why there is none.
#[inline(always)]
fn opened<H: Hook>(hook: &H, before: Before) -> Result<Translation, u32> {
    let mut number = open::open_session();
    // Here, because there is no room on the stack for it below the judgement.
    if before == Before::Ended && request().is_ok_and(|request| request.instead) {
        open::end_before();
    }
    if number == TRANSLATED {
        number = admitted(hook);
        if let (TRANSLATED, Ok(request)) = (number, request()) {
            return Ok(request.to);
        }
        open::refuse_session(number);
    }
    Err(number)
}

/// The number of the verdict of a packet that has a session.
const TRANSLATED: u32 = Verdict::TranslatedOut as u32;

/// Makes the session of a client that may have one more: the number of a verdict.
#[inline(always)]
fn admitted<H: Hook>(hook: &H) -> u32 {
    let number = open::admit_session();
    if number != u32::from(TRANSLATABLE) {
        return number;
    }
    let number = with_port(hook);
    if number != TRANSLATED {
        open::dismiss_session();
    }
    number
}

/// Makes the session on an external endpoint that no socket of this machine has: the number of a
/// verdict. Leaves nothing behind on failure.
#[inline(always)]
fn with_port<H: Hook>(hook: &H) -> u32 {
    for held in [0, 1] {
        let number = port::claim_port(held);
        if number != TRANSLATED {
            return number;
        }
        let Ok(request) = request() else { break };
        // The one that sends may have it.
        if request.keeps_its_port() || !socket::has(hook.context(), &request.claim) {
            return open::publish_session();
        }
    }
    port::give_back_port();
    Verdict::Contended as u32
}
