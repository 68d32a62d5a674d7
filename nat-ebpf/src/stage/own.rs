//! What this machine itself sends from the addresses that translation uses, too.
use nat_common::{
    external::ExternalPorts,
    flow::{Direction, Protocol},
    verdict::Verdict,
};

use super::{
    open::{Request, TRANSLATABLE, request},
    session::{self, Found},
    socket,
};

/// Whether a packet that a `snat` rule covers stays as it is, because somebody outside has begun the
/// conversation and knows this endpoint: it is TCP that opens nothing, answers an ICMP query or what was
/// sent to this machine, or is UDP from a port that translation does not use.
///
/// Not inlined, and asked of this CPU's [`Request`]: others should not pay for it with stack.
#[inline(never)]
pub fn stays() -> bool {
    let Ok(request) = request() else {
        return false;
    };
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

/// The verdict of a packet that leaves as it is: `passed`, unless its endpoint is a client's.
#[inline(always)]
pub fn passed(passed: Verdict) -> Verdict {
    if taken() { Verdict::OwnPortTaken } else { passed }
}

/// Whether the endpoint of a packet of this machine is, toward this remote one, a client's: the answers
/// would reach the client.
///
/// Not inlined: see [`stays`].
#[inline(never)]
fn taken() -> bool {
    let Ok(request) = request() else {
        return false;
    };
    let may_be_taken = request.untranslatable == TRANSLATABLE
        && ports(request).is_some_and(|ports| ports.contains(request.key.local_port.number()));
    may_be_taken
        && !matches!(
            session::find(Direction::Inbound, &request.key, request.now_ns),
            Ok(Found::Ended | Found::Absent)
        )
}

/// The ports that translation uses on the source of a packet of this machine.
#[inline(always)]
fn ports(request: &Request) -> Option<&'static ExternalPorts> {
    if !request.own {
        return None;
    }
    socket::external(request.source, request.protocol)
}
