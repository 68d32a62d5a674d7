//! A session: one entry a direction, and the rules by which they live.
//!
//! The outbound map holds the entry by (inside, remote), the inbound map by (external, remote). An
//! inbound entry is also the claim on its external tuple: it is made with `BPF_NOEXIST` before
//! anything else, so no two sessions can share a tuple. Each direction writes its own entry; the
//! other one is looked at only when the own deadline has passed, and where TCP's state is at stake:
//! on SYN, FIN and RST, and while a connection is not established.
use core::mem::offset_of;

use crate::{
    addr::{Ipv4, Port},
    checksum::Delta,
    flow::{FlowKey, Protocol},
    hop::Hop,
    limits::{REFRESH_INTERVAL_NS, REFRESH_PART, RULE_IDS_MAX},
    rewrite,
    settings::Lifetime,
    tcp::{self, Connection, Segment, window::Track},
};

/// Value of both session maps: what the packets of one direction of a session need. Times are of the
/// data path's clock (CLOCK_MONOTONIC), in nanoseconds where nothing else is said.
///
/// Whatever every packet needs is in the first 64 bytes, a cache line: the kernel's hash maps put 48
/// bytes before a key (kernel/bpf/hashtab.c, `struct htab_elem`), of 16 here, so with 128 bytes of value
/// an element is three lines, the first with its key and the second beginning with its value.
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
    /// TCP. Of the outbound entry, the lower four bits are the session's [`Connection`]. The upper
    /// four are [`Track::scale`].
    pub tcp: u8,
    /// A [`Lifetime`].
    pub lifetime: u8,
    /// The session lives while either direction's deadline is ahead. [`DELETED`] in an outbound
    /// entry that somebody is about to remove.
    pub deadline_ns: u64,
    /// From when on a packet moves the deadline again: [`tick`]s.
    pub refresh_ticks: u32,
    /// Where the packets of this direction leave at XDP. Written by whichever CPU has asked the kernel.
    pub hop: Hop,
    /// Packets of this direction; approximate where several CPUs process one direction at once.
    pub packets: u64,
    /// Bytes of IPv4, headers included.
    pub bytes: u64,
    /// [`Track::next`].
    pub next: u32,
    /// [`Track::ack`].
    pub ack: u32,
    /// [`Track::asked`].
    pub asked: u32,
    /// [`Track::window`].
    pub window: u16,
    /// As [`crate::rule::Rule::mss`], when the session was made.
    pub mss: u16,
    /// [`Session::rule_id`].
    pub rule: u16,
    /// Of a session that uses a mapping, [`crate::mapping::Owner::range`].
    pub range: Port,
    /// What of [`crate::mapping`] the session uses: one of [`crate::mapping::Uses`].
    pub uses: u8,
    pub zero: [u8; 3],
    /// Seconds.
    pub created_s: u32,
    pub room: [u8; 36],
}

const _: () = assert!(size_of::<Session>() == 128);
const _: () = assert!(offset_of!(Session, next) == 64);

const _: () = assert!(RULE_IDS_MAX <= 1 << 16);

/// Deadline of an entry whose removal has begun. Whoever swaps it in owns the removal.
pub const DELETED: u64 = 0;

const NS_PER_S: u64 = 1_000_000_000;

impl Session {
    /// Nobody's: all zero.
    const NONE: Self = Self {
        check: 0,
        address: Ipv4::UNSPECIFIED,
        port: Port::NONE,
        transport_delta: 0,
        header_delta: 0,
        tcp: 0,
        lifetime: 0,
        deadline_ns: 0,
        refresh_ticks: 0,
        hop: Hop::NONE,
        packets: 0,
        bytes: 0,
        next: 0,
        ack: 0,
        asked: 0,
        window: 0,
        mss: 0,
        rule: 0,
        range: Port::NONE,
        uses: 0,
        zero: [0; 3],
        created_s: 0,
        room: [0; 36],
    };

    /// The entry of a new session for one direction.
    ///
    /// `key` is the key it will be stored under, `new` what the local endpoint becomes.
    #[must_use]
    pub const fn new(key: &FlowKey, new: (Ipv4, Port), birth: &Birth, now_ns: u64) -> Self {
        let mut session = Self::NONE;
        session.begin(key, new, birth, now_ns);
        session
    }

    /// Makes that entry of one that is all zero, or that this has made before: all is written but what no
    /// new session has, its way on and what it has carried.
    #[inline(always)]
    pub const fn begin(&mut self, key: &FlowKey, new: (Ipv4, Port), birth: &Birth, now_ns: u64) {
        let (header_delta, transport_delta) =
            rewrite::deltas(birth.protocol, (key.local, key.local_port), new);
        let Track { next, ack, window, scale, asked } = Track::new(&birth.first);
        self.check = key.fingerprint();
        (self.address, self.port) = new;
        self.transport_delta = transport_delta;
        self.header_delta = header_delta;
        self.tcp = pack(Connection::NEW, scale);
        self.lifetime = birth.lifetime as u8;
        self.deadline_ns = deadline(now_ns, birth.timeout_ns);
        self.refresh_ticks = next_refresh(now_ns, birth.timeout_ns);
        self.next = next;
        self.ack = ack;
        self.asked = asked;
        self.window = window;
        self.mss = birth.mss;
        self.rule = birth.rule as u16;
        self.range = birth.range;
        self.uses = birth.uses;
        self.created_s = seconds(now_ns);
    }

    /// Identity of the rule that made the session.
    #[inline(always)]
    #[must_use]
    pub const fn rule_id(&self) -> u32 {
        self.rule as u32
    }

    /// What this direction's sender has sent.
    #[inline(always)]
    #[must_use]
    pub const fn track(&self) -> Track {
        let Self { next, ack, window, asked, .. } = *self;
        Track { next, ack, window, scale: self.tcp >> 4, asked }
    }

    /// Of an outbound entry, where its connection is.
    #[inline(always)]
    #[must_use]
    pub const fn connection(&self) -> Connection {
        Connection::from_bits(self.tcp)
    }
}

/// What both entries of a new session have in common.
#[derive(Clone, Copy, Debug)]
pub struct Birth {
    pub protocol: Protocol,
    /// Identity of the rule.
    pub rule: u32,
    pub lifetime: Lifetime,
    pub timeout_ns: u64,
    /// The TCP segment that makes the session, or [`Segment::NONE`].
    pub first: Segment,
    /// As [`crate::rule::Rule::mss`].
    pub mss: u16,
    /// As [`Session::uses`].
    pub uses: u8,
    /// As [`Session::range`].
    pub range: Port,
}

/// [`Session::tcp`].
#[inline(always)]
#[must_use]
pub const fn pack(connection: Connection, scale: u8) -> u8 {
    scale << 4 | connection.bits()
}

/// Time in units of 2^22 ns, modulo 2^32: 208 days. Two times are compared by [`due`] while they
/// are less than half of that apart, as those of a live session are: timeouts are shorter.
#[inline(always)]
#[must_use]
pub const fn tick(ns: u64) -> u32 {
    (ns >> TICK_SHIFT) as u32
}

/// See [`tick`].
pub const TICK_SHIFT: u32 = 22;

/// [`Session::refresh_ticks`] after a packet that moves the deadline: rounded down, so that the
/// deadline that stands until then is late enough for all packets before.
#[inline(always)]
#[must_use]
pub const fn next_refresh(now_ns: u64, timeout_ns: u64) -> u32 {
    tick(now_ns + refresh_interval_ns(timeout_ns))
}

/// For how long a deadline that has been moved stays where it is: where there are so many sessions that
/// each has a packet now and then, most packets are spared the cache misses of a refresh.
#[inline(always)]
#[must_use]
pub const fn refresh_interval_ns(timeout_ns: u64) -> u64 {
    let part_ns = timeout_ns / REFRESH_PART;
    if part_ns > REFRESH_INTERVAL_NS { part_ns } else { REFRESH_INTERVAL_NS }
}

/// Whether the time for a refresh has come.
#[inline(always)]
#[must_use]
pub const fn due(refresh_ticks: u32, now_ns: u64) -> bool {
    tcp::window::reaches(tick(now_ns), refresh_ticks)
}

/// When a [`tick`] of not long ago was over, in nanoseconds.
#[inline(always)]
#[must_use]
pub const fn end_of_tick(ticks: u32, now_ns: u64) -> u64 {
    let elapsed = tick(now_ns).wrapping_sub(ticks) as i32;
    ((now_ns >> TICK_SHIFT).wrapping_add(1).wrapping_sub(elapsed as i64 as u64)) << TICK_SHIFT
}

/// The deadline that a packet at `now_ns` sets. Because it moves at most once an interval, it is
/// that much later than configured: never earlier.
#[inline(always)]
#[must_use]
pub const fn deadline(now_ns: u64, timeout_ns: u64) -> u64 {
    now_ns + timeout_ns + refresh_interval_ns(timeout_ns)
}

/// [`Session::created_s`].
#[inline(always)]
#[must_use]
pub const fn seconds(now_ns: u64) -> u32 {
    (now_ns / NS_PER_S) as u32
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_shorter_than_configured() {
        // A packet just before the next refresh does not move the deadline.
        let starts = [5_000, 7 << TICK_SHIFT, (u64::from(u32::MAX) << TICK_SHIFT) + 12_345_678];
        for (now, seconds) in starts.into_iter().flat_map(|now| [(now, 10), (now, 300)]) {
            let timeout = seconds * NS_PER_S;
            let interval = refresh_interval_ns(timeout);
            let refresh = next_refresh(now, timeout);
            let last = (now..).step_by(999_983).take_while(|ns| !due(refresh, *ns)).last().unwrap();
            assert!(last >= now + interval - 2 * (1 << TICK_SHIFT), "hardly ever sooner");
            assert!(live(deadline(now, timeout), last + timeout));
            assert!(!live(deadline(now, timeout), now + timeout + interval));
        }
    }

    #[test]
    fn short_timeouts_are_kept_to_the_second_and_long_ones_to_a_part() {
        assert_eq!(refresh_interval_ns(NS_PER_S), NS_PER_S);
        assert_eq!(refresh_interval_ns(32 * NS_PER_S), NS_PER_S);
        assert_eq!(refresh_interval_ns(320 * NS_PER_S), 10 * NS_PER_S);
    }

    #[test]
    fn a_tick_is_over_after_what_was_in_it() {
        for now in [0, 7 << TICK_SHIFT, (u64::from(u32::MAX) << TICK_SHIFT) + 12_345_678] {
            for later in [0, 1, 3_999_999, 4_194_304, 240 * NS_PER_S, 100 * 24 * 3600 * NS_PER_S] {
                let end = end_of_tick(tick(now), now + later);
                assert!(end > now && end <= now + (1 << TICK_SHIFT), "{now} {later}");
            }
            // Another CPU's clock may be a little behind.
            let end = end_of_tick(tick(now + 5_000_000), now);
            assert!(end > now + 5_000_000 && end <= now + 5_000_000 + (1 << TICK_SHIFT));
        }
    }

    #[test]
    fn a_refresh_is_due_after_the_longest_silence() {
        let month = 31 * 24 * 3600 * NS_PER_S;
        for now in [0, (u64::from(u32::MAX) << TICK_SHIFT) - NS_PER_S] {
            assert!(due(next_refresh(now, month), now + month));
        }
    }

    #[test]
    fn scale_and_connection_share_a_byte() {
        for scale in 0..16 {
            for bits in 0..16 {
                let byte = pack(Connection::from_bits(bits), scale);
                assert_eq!((byte >> 4, Connection::from_bits(byte).bits()), (scale, bits));
            }
        }
    }
}
