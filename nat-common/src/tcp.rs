//! TCP as a translator sees it: how far a connection is, and which segments count.
//!
//! ```text
//!          SYN from the server            FIN of one           FIN of the other
//!   Init ──────────────────────▶ Established ───▶ ClientFin ───────────────┐
//!    ▲                                      └───▶ ServerFin ───────────▶ BothFin
//!    │                                                                     │
//!    └──────────── a SYN from inside: the client uses its port again ──────┤
//!                                                                          │
//!   any but BothFin ── RST ──▶ Transitory ── any segment but RST, SYN ──▶ where it was
//! ```
//! A connection that begins outside, by a mapping that lets it in, is in Init until the client's SYN.
//! The states of RFC 7857 section 2, which are those of RFC 6146 section 3.5.2.2. CLOSED is the
//! absence of a session. A connection of which one side is closed lives as long as an established
//! one. Nothing but a segment that counts ([`window`]) moves a connection.
pub mod options;
pub mod window;

use crate::flow::Direction;

/// The flag byte of a TCP header (RFC 9293 section 3.1).
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(pub u8);

impl Flags {
    pub const NONE: Self = Self(0);
    pub const FIN: Self = Self(0x01);
    pub const SYN: Self = Self(0x02);
    pub const RST: Self = Self(0x04);
    pub const ACK: Self = Self(0x10);

    /// Whether all of `other` are set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// A SYN that is not an answer to one.
    #[inline(always)]
    #[must_use]
    pub const fn opens(self) -> bool {
        self.has(Self::SYN) && !self.has(Self::ACK) && !self.has(Self::RST)
    }

    /// Whether any flag is set that may move a connection from state to state.
    #[inline(always)]
    #[must_use]
    pub const fn eventful(self) -> bool {
        self.0 & (Self::FIN.0 | Self::SYN.0 | Self::RST.0) != 0
    }
}

/// What of a segment says where it stands in its connection.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    pub sequence: u32,
    pub acknowledgement: u32,
    /// Bytes behind the header, those of a super-frame included.
    pub payload: u32,
    /// As the header has it, not scaled.
    pub window: u16,
    pub flags: Flags,
    /// What a SYN offers, or [`options::NO_SCALE`].
    pub scale: u8,
}

impl Segment {
    /// Of a packet that is not TCP.
    pub const NONE: Self = Self {
        sequence: 0,
        acknowledgement: 0,
        payload: 0,
        window: 0,
        flags: Flags::NONE,
        scale: options::NO_SCALE,
    };

    /// The sequence number after its last byte. SYN and FIN count as one each.
    #[inline(always)]
    #[must_use]
    pub const fn end(&self) -> u32 {
        let flags = self.flags.0;
        let (syn, fin) = (flags >> 1 & 1, flags & 1);
        self.sequence.wrapping_add(self.payload).wrapping_add((syn + fin) as u32)
    }
}

/// Where a connection is. CLOSED is the absence of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The client has sent a SYN.
    Init,
    /// And so has the server.
    Established,
    /// The client has closed its half (C_FIN_RCV).
    ClientFin,
    /// The server has closed its half (S_FIN_RCV).
    ServerFin,
    /// Both halves are closed (C_FIN_S_FIN_RCV).
    BothFin,
    /// A RST has been seen, and nothing after it (TRANS).
    Transitory,
}

/// A connection's state, and the one to which it returns if it survives a RST. Four bits.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection(u8);

impl Connection {
    /// After the client's SYN.
    pub const NEW: Self = Self(0);
    /// After the server's.
    pub const ANSWERED: Self = Self(1);
    /// After the server's, when the client has sent none: there is nothing to close yet, so the bit of
    /// its FIN is free to say so. Who opened is forgotten when both have.
    pub const FROM_OUTSIDE: Self = Self(Self::SERVER_FIN);
    const CLIENT_FIN: u8 = 2;
    const SERVER_FIN: u8 = 4;
    const RESET: u8 = 8;
    const MASK: u8 = 15;

    /// From the four lower bits.
    #[inline(always)]
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::MASK)
    }

    /// The four bits.
    #[inline(always)]
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    #[inline(always)]
    #[must_use]
    pub const fn state(self) -> State {
        let fins = self.0 & (Self::CLIENT_FIN | Self::SERVER_FIN);
        if self.0 & Self::RESET != 0 {
            State::Transitory
        } else if !self.answered() {
            State::Init
        } else if fins == 0 {
            State::Established
        } else if fins == Self::CLIENT_FIN {
            State::ClientFin
        } else if fins == Self::SERVER_FIN {
            State::ServerFin
        } else {
            State::BothFin
        }
    }

    /// Whether the server's SYN has been seen.
    #[inline(always)]
    #[must_use]
    pub const fn answered(self) -> bool {
        self.0 & Self::ANSWERED.0 != 0
    }

    /// Whether the client's SYN is missing, and not the server's.
    #[inline(always)]
    #[must_use]
    pub const fn awaits_client(self) -> bool {
        !self.answered() && self.0 & Self::SERVER_FIN != 0
    }

    /// Whether the connection is over for at least one side, so that the client may use its port
    /// again.
    #[inline(always)]
    #[must_use]
    pub const fn finished(self) -> bool {
        matches!(self.state(), State::BothFin | State::Transitory)
    }

    /// Where a segment that counts leads. Of RST, SYN and FIN the first decides, as a receiver looks
    /// at them in this order (RFC 9293 section 3.10.7).
    #[inline(always)]
    #[must_use]
    pub const fn after(self, direction: Direction, flags: Flags) -> Self {
        let from_inside = matches!(direction, Direction::Outbound);
        if flags.has(Flags::RST) {
            return match self.state() {
                // Closed is closed: an address in TIME_WAIT stays there.
                State::BothFin => self,
                _ => Self(self.0 | Self::RESET),
            };
        }
        if flags.has(Flags::SYN) {
            return match self.state() {
                State::Init if from_inside == self.awaits_client() => Self::ANSWERED,
                _ => self,
            };
        }
        let alive = self.0 & !Self::RESET;
        // Before both SYNs there is nothing to close.
        if flags.has(Flags::FIN) && self.answered() {
            return Self(alive | if from_inside { Self::CLIENT_FIN } else { Self::SERVER_FIN });
        }
        Self(alive)
    }
}

#[cfg(test)]
mod tests;
