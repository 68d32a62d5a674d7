//! A session: one entry a direction, and the rules by which they live.
//!
//! The outbound map holds the entry by (inside, remote), the inbound map by (external, remote). An
//! inbound entry is also the claim on its external tuple: it is made with `BPF_NOEXIST` before
//! anything else, so no two sessions can share a tuple. Each direction writes its own entry; the
//! other one is read only on TCP's SYN, FIN and RST, and when the own deadline has passed.
use crate::{
    addr::{Ipv4, Port},
    checksum::Delta,
    flow::{Direction, FlowKey, Protocol},
    limits::REFRESH_INTERVAL_NS,
    rewrite,
    settings::Lifetime,
    tcp,
};

/// Value of both session maps: what the packets of one direction of a session need, in 64 bytes,
/// a cache line. Times are nanoseconds of the data path's clock (CLOCK_MONOTONIC).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    /// [`FlowKey::fingerprint`] of this entry's key. Preallocated map elements are recycled at
    /// once, so a program may hold a pointer to an element that by now belongs to another session:
    /// read what you need first and this field last, and use nothing if it does not match. It is
    /// the first field because an element is filled from its start.
    pub check: u32,
    /// What the local address becomes.
    pub address: Ipv4,
    /// What the local port becomes.
    pub port: Port,
    /// What the transport checksum gains.
    pub transport_delta: Delta,
    /// What the IPv4 header's checksum gains.
    pub header_delta: Delta,
    /// TCP: [`tcp::Flags::events`] that this direction's sender has sent.
    pub seen: u8,
    /// A [`Lifetime`].
    pub lifetime: u8,
    /// Identity of the rule that made the session.
    pub rule: u32,
    /// As [`crate::rule::Rule::mss`], when the session was made.
    pub mss: u16,
    pub zero: [u8; 2],
    /// The session lives while either direction's deadline is ahead. [`DELETED`] in an outbound
    /// entry that somebody is about to remove.
    pub deadline_ns: u64,
    /// From when on a packet moves the deadline again.
    pub refresh_ns: u64,
    pub created_ns: u64,
    /// Packets of this direction; approximate where several CPUs process one direction at once.
    pub packets: u64,
    /// Bytes of IPv4, headers included.
    pub bytes: u64,
}

const _: () = assert!(size_of::<Session>() == 64);

/// Deadline of an entry whose removal has begun. Whoever swaps it in owns the removal.
pub const DELETED: u64 = 0;

impl Session {
    /// The entry of a new session for one direction.
    ///
    /// `key` is the key it will be stored under, `new` what the local endpoint becomes.
    #[inline(always)]
    #[must_use]
    pub const fn new(
        protocol: Protocol,
        key: &FlowKey,
        new: (Ipv4, Port),
        rule: u32,
        lifetime: Lifetime,
        now_ns: u64,
        timeout_ns: u64,
    ) -> Self {
        let (header_delta, transport_delta) =
            rewrite::deltas(protocol, (key.local, key.local_port), new);
        Self {
            check: key.fingerprint(),
            address: new.0,
            port: new.1,
            transport_delta,
            header_delta,
            seen: 0,
            lifetime: lifetime as u8,
            rule,
            mss: 0,
            zero: [0; 2],
            deadline_ns: deadline(now_ns, timeout_ns),
            refresh_ns: now_ns + REFRESH_INTERVAL_NS,
            created_ns: now_ns,
            packets: 0,
            bytes: 0,
        }
    }
}

/// The deadline that a packet at `now_ns` sets. Because it moves at most once an interval, it is
/// that much later than configured: never earlier.
#[inline(always)]
#[must_use]
pub const fn deadline(now_ns: u64, timeout_ns: u64) -> u64 {
    now_ns + timeout_ns + REFRESH_INTERVAL_NS
}

/// Whether a deadline is still ahead.
#[inline(always)]
#[must_use]
pub const fn live(deadline_ns: u64, now_ns: u64) -> bool {
    deadline_ns > now_ns
}

/// The state people read: of TCP its own, of the others whether an answer has been seen.
#[must_use]
pub const fn state_name(
    protocol: Protocol,
    outbound: &Session,
    inbound_packets: u64,
) -> &'static str {
    match protocol {
        Protocol::Tcp => match Lifetime::from_number(outbound.lifetime) {
            Lifetime::TcpEstablished => "established",
            Lifetime::TcpClosing => "closing",
            _ => "opening",
        },
        Protocol::Udp | Protocol::Icmp if inbound_packets > 0 => "established",
        Protocol::Udp | Protocol::Icmp => "one-way",
    }
}

/// What a TCP packet changes in its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpChange {
    /// New [`Session::seen`] of the packet's own direction.
    pub seen: tcp::Flags,
    /// New [`Session::seen`] of the other direction.
    pub other_seen: tcp::Flags,
    pub lifetime: Lifetime,
}

/// What follows from an event (SYN, FIN, RST) in a live session.
///
/// A SYN from inside on a closing session is the client using its port again: the connection
/// starts over on the same mapping.
#[inline(always)]
#[must_use]
pub const fn tcp_event(
    direction: Direction,
    flags: tcp::Flags,
    seen: tcp::Flags,
    other_seen: tcp::Flags,
) -> TcpChange {
    let closing = matches!(tcp::state(seen, other_seen), tcp::State::Closing);
    let from_inside = matches!(direction, Direction::Outbound);
    let (seen, other_seen) = if from_inside && flags.opens() && closing {
        (tcp::Flags::SYN, tcp::Flags::NONE)
    } else {
        (seen.with(flags.events()), other_seen)
    };
    TcpChange { seen, other_seen, lifetime: Lifetime::of_tcp(tcp::state(seen, other_seen)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: u8 = 0x02;
    const SYN_ACK: u8 = 0x12;
    const FIN_ACK: u8 = 0x11;
    const RST: u8 = 0x04;

    /// Plays (from inside, flags) and returns the lifetime after the last.
    fn play(packets: &[(bool, u8)]) -> Lifetime {
        let mut seen = [tcp::Flags::NONE; 2];
        let mut lifetime = Lifetime::TcpOpening;
        for &(inside, flags) in packets {
            let (own, other) = (usize::from(inside), usize::from(!inside));
            let direction = if inside { Direction::Outbound } else { Direction::Inbound };
            let change = tcp_event(direction, tcp::Flags(flags), seen[own], seen[other]);
            (seen[own], seen[other], lifetime) = (change.seen, change.other_seen, change.lifetime);
        }
        lifetime
    }

    #[test]
    fn a_connection_opens_lives_and_closes() {
        let opened = [(true, SYN), (false, SYN_ACK)];
        assert_eq!(play(&opened[..1]), Lifetime::TcpOpening);
        assert_eq!(play(&opened), Lifetime::TcpEstablished);
        let fin = |inside| [opened[0], opened[1], (inside, FIN_ACK)];
        assert_eq!(play(&fin(true)), Lifetime::TcpEstablished, "half-closed by the client");
        assert_eq!(play(&fin(false)), Lifetime::TcpEstablished, "half-closed by the server");
        let closed = [opened[0], opened[1], (true, FIN_ACK), (false, FIN_ACK)];
        assert_eq!(play(&closed), Lifetime::TcpClosing);
    }

    #[test]
    fn simultaneous_open_establishes() {
        assert_eq!(play(&[(true, SYN), (false, SYN)]), Lifetime::TcpEstablished);
    }

    #[test]
    fn a_reset_closes_from_every_side() {
        for inside in [true, false] {
            assert_eq!(play(&[(true, SYN), (false, SYN_ACK), (inside, RST)]), Lifetime::TcpClosing);
        }
    }

    #[test]
    fn only_the_client_starts_over() {
        let closed = [(true, SYN), (false, SYN_ACK), (true, FIN_ACK), (false, FIN_ACK)];
        let again = |packet| play(&[closed[0], closed[1], closed[2], closed[3], packet]);
        assert_eq!(again((true, SYN)), Lifetime::TcpOpening);
        assert_eq!(again((false, SYN)), Lifetime::TcpClosing);
        assert_eq!(again((true, SYN_ACK)), Lifetime::TcpClosing);
    }

    #[test]
    fn a_deadline_is_never_shorter_than_configured() {
        // A packet just before the next refresh does not move the deadline.
        let (now, timeout) = (5_000, 60_000_000_000);
        let last_packet = now + REFRESH_INTERVAL_NS - 1;
        assert!(live(deadline(now, timeout), last_packet + timeout));
        assert!(!live(deadline(now, timeout), now + timeout + REFRESH_INTERVAL_NS));
    }
}
