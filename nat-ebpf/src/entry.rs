//! Session entries in the maps: shared memory that other CPUs read, write, free and fill again.
use core::{
    mem::offset_of,
    ptr::{read_volatile, write_volatile},
};

use nat_common::{
    addr::{Ipv4, Port},
    checksum::Delta,
    flow::{Direction, FlowKey},
    session::{DELETED, Session},
    settings::Lifetime,
    tcp,
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
    /// What TCP segments are limited to; 0 for no limit.
    pub mss: u16,
}

impl From<&Session> for Translation {
    #[inline(always)]
    fn from(session: &Session) -> Self {
        Self {
            address: session.address,
            port: session.port,
            header_delta: session.header_delta,
            transport_delta: session.transport_delta,
            mss: session.mss,
        }
    }
}

/// A session's entry in the map of one direction.
///
/// The element behind it is never unmapped while a program runs, but may be recycled for another
/// session at any time: [`Entry::belongs_to`] tells, after everything else has been read.
#[derive(Clone, Copy)]
pub struct Entry(*mut Session);

/// The word of an entry whose last byte is the lifetime.
const LIFETIME_WORD: usize = offset_of!(Session, lifetime) / size_of::<u64>();

const _: () = assert!(offset_of!(Session, lifetime) % size_of::<u64>() == size_of::<u64>() - 1);

/// The rest of that word changes three times in a connection's life: each flag once.
const ADVANCE_TRIES: u32 = 4;

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
            mss: read!(self, mss),
        }
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

    #[inline(always)]
    pub fn refresh_ns(self) -> u64 {
        read!(self, refresh_ns)
    }

    #[inline(always)]
    pub fn set_refresh_ns(self, refresh_ns: u64) {
        write!(self, refresh_ns, refresh_ns);
    }

    #[inline(always)]
    pub fn lifetime(self) -> Lifetime {
        Lifetime::from_number(read!(self, lifetime))
    }

    /// For a connection that starts over.
    #[inline(always)]
    pub fn set_lifetime(self, lifetime: Lifetime) {
        write!(self, lifetime, lifetime as u8);
    }

    /// Moves a TCP session on to a later state. Never back: a CPU that has not seen yet what the
    /// other side sends at this moment must not undo what another CPU has made of both. Returns
    /// whether this call did.
    #[inline(always)]
    pub fn advance_lifetime(self, lifetime: Lifetime) -> bool {
        for _ in 0..ADVANCE_TRIES {
            // SAFETY: an aligned word of a map value, see `read!`.
            let word = unsafe { self.0.cast::<u64>().add(LIFETIME_WORD) };
            // SAFETY: as above.
            let before = unsafe { read_volatile(word) };
            let mut bytes = before.to_ne_bytes();
            let [.., stored] = &mut bytes;
            if *stored >= lifetime as u8 {
                return false;
            }
            *stored = lifetime as u8;
            // SAFETY: as above.
            let found =
                unsafe { atomic::compare_exchange(word, before, u64::from_ne_bytes(bytes)) };
            if found == before {
                return true;
            }
        }
        false
    }

    #[inline(always)]
    pub fn seen(self) -> tcp::Flags {
        tcp::Flags(read!(self, seen))
    }

    #[inline(always)]
    pub fn set_seen(self, seen: tcp::Flags) {
        write!(self, seen, seen.0);
    }

    #[inline(always)]
    pub fn rule(self) -> u32 {
        read!(self, rule)
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

    /// Makes all earlier writes to this entry visible to a CPU that passes its own barrier later.
    #[inline(always)]
    pub fn barrier(self) {
        // SAFETY: an aligned field of a map value, see `read!`.
        unsafe { atomic::fetch_add(&raw mut (*self.0).packets, 0) };
    }

    /// Takes the right to remove the session, if its deadline is still `deadline_ns`. At most one
    /// CPU gets it.
    #[inline(always)]
    pub fn begin_removal(self, deadline_ns: u64) -> bool {
        self.move_deadline(deadline_ns, DELETED)
    }
}
