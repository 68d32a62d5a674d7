//! Session entries in the maps: shared memory that other CPUs read, write, free and fill again.
use core::{
    mem::offset_of,
    ptr::{read_volatile, write_volatile},
};

use nat_common::{
    addr::{Ipv4, Port},
    checksum::Delta,
    flow::{Direction, FlowKey},
    hop::Hop,
    session::{self, DELETED, Session},
    settings::Lifetime,
    tcp::{Connection, Segment, window::Track},
};

use crate::{
    atomic,
    maps::{INBOUND, OUTBOUND},
};

/// What a packet of one direction of a session turns into.
#[derive(Clone, Copy)]
pub struct Translation {
    pub address: Ipv4,
    pub port: Port,
    pub header_delta: Delta,
    pub transport_delta: Delta,
}

impl From<&Session> for Translation {
    #[inline(always)]
    fn from(session: &Session) -> Self {
        Self {
            address: session.address,
            port: session.port,
            header_delta: session.header_delta,
            transport_delta: session.transport_delta,
        }
    }
}

/// A session's entry in the map of one direction.
///
/// The element behind it is never unmapped while a program runs, but may be recycled for another
/// session at any time: [`Entry::belongs_to`] tells, after everything else has been read.
#[derive(Clone, Copy)]
pub struct Entry(*mut Session);

/// The word of an entry whose last bytes are the connection's state and the lifetime.
const STATE_WORD: usize = offset_of!(Session, tcp) / size_of::<u64>();

const _: () = assert!(offset_of!(Session, tcp) % size_of::<u64>() == size_of::<u64>() - 2);
const _: () = assert!(offset_of!(Session, lifetime) % size_of::<u64>() == size_of::<u64>() - 1);

/// The word of an outbound entry that holds the state of its connection, as it was read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StateWord(u64);

impl StateWord {
    #[inline(always)]
    pub fn connection(self) -> Connection {
        let [.., tcp, _] = self.0.to_ne_bytes();
        Connection::from_bits(tcp)
    }

    #[inline(always)]
    pub fn lifetime(self) -> Lifetime {
        let [.., lifetime] = self.0.to_ne_bytes();
        Lifetime::from_number(lifetime)
    }

    /// The scale of this direction's windows.
    #[inline(always)]
    pub fn scale(self) -> u8 {
        let [.., tcp, _] = self.0.to_ne_bytes();
        tcp >> 4
    }

    /// The same word with another state.
    #[inline(always)]
    pub fn with(self, connection: Connection, scale: u8) -> Self {
        let mut bytes = self.0.to_ne_bytes();
        let [.., tcp, lifetime] = &mut bytes;
        *tcp = session::pack(connection, scale);
        *lifetime = Lifetime::of_tcp(connection.state()) as u8;
        Self(u64::from_ne_bytes(bytes))
    }
}

macro_rules! read {
    ($entry:expr, $field:ident) => {
        // SAFETY: the pointer is that of a map look-up, valid and aligned for as long as the
        // program runs. Volatile, because other CPUs write.
        unsafe { read_volatile(&raw const (*$entry.0).$field) }
    };
}

macro_rules! write {
    ($entry:expr, $field:ident, $value:expr) => {
        // SAFETY: as for `read!`; each field is written whole.
        unsafe { write_volatile(&raw mut (*$entry.0).$field, $value) }
    };
}

impl Entry {
    /// The entry behind a pointer that [`Entry::pointer`] gave.
    #[inline(always)]
    pub fn at(pointer: *mut Session) -> Option<Self> {
        (!pointer.is_null()).then_some(Self(pointer))
    }

    /// For functions that are judged by themselves, whose arguments are plain pointers.
    #[inline(always)]
    pub fn pointer(self) -> *mut Session {
        self.0
    }

    /// The entry of a key, live or not.
    #[inline(always)]
    pub fn find(direction: Direction, key: &FlowKey) -> Option<Self> {
        match direction {
            Direction::Outbound => OUTBOUND.get_ptr_mut(key).map(Self),
            Direction::Inbound => INBOUND.get_ptr_mut(key).map(Self),
        }
    }

    #[inline(always)]
    pub fn translation(self) -> Translation {
        Translation {
            address: read!(self, address),
            port: read!(self, port),
            header_delta: read!(self, header_delta),
            transport_delta: read!(self, transport_delta),
        }
    }

    /// What TCP segments are limited to; 0 for no limit.
    #[inline(always)]
    pub fn mss(self) -> u16 {
        read!(self, mss)
    }

    /// Where this direction's packets leave at XDP. Two CPUs may write it at a time, which both have the
    /// same answer of the kernel, but for the moment of a change.
    #[inline(always)]
    pub fn hop(self) -> Hop {
        read!(self, hop)
    }

    #[inline(always)]
    pub fn set_hop(self, hop: Hop) {
        write!(self, hop, hop);
    }

    /// Whether what was read before belongs to this key.
    #[inline(always)]
    pub fn belongs_to(self, key: &FlowKey) -> bool {
        read!(self, check) == key.fingerprint()
    }

    #[inline(always)]
    pub fn deadline_ns(self) -> u64 {
        read!(self, deadline_ns)
    }

    /// Moves the deadline, unless it is not `from_ns` any more: another CPU has moved it or begun
    /// the session's removal.
    #[inline(always)]
    pub fn move_deadline(self, from_ns: u64, to_ns: u64) -> bool {
        // SAFETY: an aligned field of a map value, see `read!`.
        let found =
            unsafe { atomic::compare_exchange(&raw mut (*self.0).deadline_ns, from_ns, to_ns) };
        found == from_ns
    }

    /// Whether a packet moves the deadline again.
    #[inline(always)]
    pub fn due(self, now_ns: u64) -> bool {
        session::due(read!(self, refresh_ticks), now_ns)
    }

    /// The deadline has been moved. While a connection is closing every packet moves it.
    #[inline(always)]
    pub fn refreshed(self, now_ns: u64, timeout_ns: u64, closing: bool) {
        let next = match closing {
            true => session::tick(now_ns),
            false => session::next_refresh(now_ns, timeout_ns),
        };
        write!(self, refresh_ticks, next);
    }

    /// Of a closing connection, when this direction had its last packet: [`session::tick`]s.
    #[inline(always)]
    pub fn refresh_ticks(self) -> u32 {
        read!(self, refresh_ticks)
    }

    #[inline(always)]
    pub fn lifetime(self) -> Lifetime {
        Lifetime::from_number(read!(self, lifetime))
    }

    /// Of an inbound entry, which follows the outbound one.
    #[inline(always)]
    pub fn set_lifetime(self, lifetime: Lifetime) {
        write!(self, lifetime, lifetime as u8);
    }

    /// The state of an outbound entry's connection.
    #[inline(always)]
    pub fn state(self) -> StateWord {
        // SAFETY: an aligned word of a map value, see `read!`.
        StateWord(unsafe { read_volatile(self.0.cast::<u64>().add(STATE_WORD)) })
    }

    /// Replaces the state of an outbound entry's connection, unless it is not `from` any more.
    #[inline(always)]
    pub fn move_state(self, from: StateWord, to: StateWord) -> bool {
        // SAFETY: as for `state`.
        let found =
            unsafe { atomic::compare_exchange(self.0.cast::<u64>().add(STATE_WORD), from.0, to.0) };
        found == from.0
    }

    /// What this direction's sender has sent.
    #[inline(always)]
    pub fn track(self) -> Track {
        Track {
            next: read!(self, next),
            ack: read!(self, ack),
            window: read!(self, window),
            scale: read!(self, tcp) >> 4,
            asked: read!(self, asked),
        }
    }

    /// Notes a segment of this direction's sender. Nothing is written if it says nothing new.
    #[inline(always)]
    pub fn note(self, segment: &Segment) {
        let before = self.track();
        let next = before.next_after(segment);
        if next != before.next {
            write!(self, next, next);
        }
        if before.has_news(segment) {
            write!(self, ack, segment.acknowledgement);
            write!(self, window, segment.window);
        }
    }

    /// Notes the first segment of this direction's sender, and what it answers.
    #[inline(always)]
    pub fn note_syn(self, segment: &Segment, ack: u32) {
        write!(self, next, segment.end());
        write!(self, ack, ack);
        write!(self, window, segment.window);
        write!(self, asked, 0);
    }

    /// Of an inbound entry; that of an outbound one changes with its state.
    #[inline(always)]
    pub fn set_scale(self, scale: u8) {
        write!(self, tcp, session::pack(Connection::NEW, scale));
    }

    /// What this receiver waits for, when its peer has begun.
    #[inline(always)]
    pub fn set_ack(self, ack: u32) {
        write!(self, ack, ack);
    }

    /// Where this sender goes on, when its peer has answered what it asked.
    #[inline(always)]
    pub fn set_next(self, next: u32) {
        write!(self, next, next);
    }

    #[inline(always)]
    pub fn set_asked(self, asked: u32) {
        write!(self, asked, asked);
    }

    /// What of a mapping the session uses: one of [`nat_common::mapping::Uses`], and the first port of
    /// its range.
    #[inline(always)]
    pub fn uses(self) -> (u8, Port) {
        (read!(self, uses), read!(self, range))
    }

    #[inline(always)]
    pub fn rule(self) -> u32 {
        read!(self, rule).into()
    }

    /// Packets and bytes so far.
    #[inline(always)]
    pub fn totals(self) -> (u64, u64) {
        (read!(self, packets), read!(self, bytes))
    }

    /// Counts packets. Not atomic: one direction of one flow normally stays on one CPU, and the
    /// lost count where it does not is cheaper than a locked instruction on every packet.
    #[inline(always)]
    pub fn count(self, packets: u64, bytes: u64) {
        let (packets_before, bytes_before) = self.totals();
        write!(self, packets, packets_before + packets);
        write!(self, bytes, bytes_before + bytes);
    }

    /// Takes the right to remove the session, if its deadline is still `deadline_ns`. At most one
    /// CPU gets it.
    #[inline(always)]
    pub fn begin_removal(self, deadline_ns: u64) -> bool {
        self.move_deadline(deadline_ns, DELETED)
    }
}
