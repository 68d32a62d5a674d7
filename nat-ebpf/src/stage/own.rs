//! What this machine itself sends from the addresses that translation uses, too.
use nat_common::{
    external::ExternalPorts,
    flow::{Direction, Protocol},
    verdict::Verdict,
};

use super::{
    mapping,
    request::{Request, TRANSLATABLE, request},
    session::{self, Found},
    socket,
};

/// Whether a packet that a `snat` rule covers stays as it is, because somebody outside has begun the
/// conversation and knows this endpoint: it is TCP that opens nothing, answers an ICMP query or what was
/// sent to this machine, or is UDP from a port that translation does not use. From one that it uses, UDP
/// gets a session, which keeps the port if no client has it.
///
/// Asked of this CPU's [`Request`].
#[inline(always)]
pub fn stays() -> bool {
    own_packet_stays() != 0
}

/// [`stays`], under a name that the object exports: the verifier judges such a function by itself, and
/// others do not pay for it with stack.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn own_packet_stays() -> u32 {
    request().is_ok_and(|request| may_stay(request)).into()
}

#[inline(always)]
fn may_stay(request: &Request) -> bool {
    let Some(ports) = ports(request) else {
        return false;
    };
    if request.untranslatable != TRANSLATABLE {
        return matches!(
            Verdict::from_number(request.untranslatable),
            Verdict::IcmpUnsupported | Verdict::IcmpErrorNoSession
        );
    }
    match Protocol::from_number(request.protocol) {
        Some(Protocol::Tcp) => !request.flags.opens(),
        Some(Protocol::Udp) => !ports.contains(request.key.local_port.number()),
        _ => false,
    }
}

/// The position of the rule in whose pool a packet takes part that no rule covers, because it begins
/// something from an endpoint which that rule may give to a client. Its tuple has to be claimed, and to
/// rest afterwards, like a client's.
#[inline(always)]
pub fn pool() -> Option<u32> {
    let position = own_pool();
    (position != NO_POOL).then_some(position)
}

/// No rule has this position.
const NO_POOL: u32 = u32::MAX;

/// [`pool`], or [`NO_POOL`]. Exported like [`own_packet_stays`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn own_pool() -> u32 {
    request().ok().and_then(|request| pool_of(request)).unwrap_or(NO_POOL)
}

#[inline(always)]
fn pool_of(request: &Request) -> Option<u32> {
    let begins = request.untranslatable == TRANSLATABLE
        && request.destination.is_unicast()
        && (request.protocol != Protocol::Tcp as u8 || request.flags.opens());
    if !begins {
        return None;
    }
    ports(request)?.rule(request.key.local_port.number())
}

/// The verdict of a packet that leaves as it is: `passed`, unless its endpoint is a client's.
#[inline(always)]
pub fn passed(passed: Verdict) -> Verdict {
    if own_port_taken() != 0 { Verdict::OwnPortTaken } else { passed }
}

/// Whether the endpoint of a packet of this machine is, toward this remote one, a client's: the answers
/// would reach the client. Exported like [`own_packet_stays`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn own_port_taken() -> u32 {
    request().is_ok_and(|request| taken(request)).into()
}

#[inline(always)]
fn taken(request: &Request) -> bool {
    let may_be_taken = request.untranslatable == TRANSLATABLE
        && ports(request).is_some_and(|ports| ports.contains(request.key.local_port.number()));
    may_be_taken
        && (mapping::has_owner(&request.key)
            || !matches!(
                session::find(Direction::Inbound, &request.key, request.now_ns),
                Ok(Found::Ended | Found::Absent)
            ))
}

/// The ports that translation uses on the source of a packet of this machine.
#[inline(always)]
fn ports(request: &Request) -> Option<&'static ExternalPorts> {
    if !request.own {
        return None;
    }
    socket::external(request.source, request.protocol)
}
