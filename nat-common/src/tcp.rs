//! TCP as a translator sees it: which flags each side has sent, and how long to wait for more.
//!
//! ```text
//!            SYN seen from both sides            FIN seen from both sides, or RST from one
//!  Opening ───────────────────────────▶ Established ─────────────────────────▶ Closing
//!     ▲                                                                           │
//!     └───────────────── a new SYN from inside (the client reuses its port) ──────┘
//! ```
//! After RFC 7857 section 2 and RFC 6146 section 3.5.2; a connection of which one side is closed
//! (half-closed) is still established.

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

    /// Those of the flags that move a connection from state to state.
    #[inline(always)]
    #[must_use]
    pub const fn events(self) -> Self {
        Self(self.0 & (Self::FIN.0 | Self::SYN.0 | Self::RST.0))
    }

    /// Both sets together.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// State of a connection.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Opening = 0,
    Established = 1,
    Closing = 2,
}

/// The state that follows from the events seen from the two sides. Which side is which does not
/// matter.
#[inline(always)]
#[must_use]
pub const fn state(one: Flags, other: Flags) -> State {
    let any = one.with(other);
    if any.has(Flags::RST) || (one.has(Flags::FIN) && other.has(Flags::FIN)) {
        State::Closing
    } else if one.has(Flags::SYN) && other.has(Flags::SYN) {
        State::Established
    } else {
        State::Opening
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of events, by the definition in the module's drawing, written another way.
    #[test]
    fn every_pair_of_events_has_the_documented_state() {
        for a in (0..8).map(Flags) {
            for b in (0..8).map(Flags) {
                let both = |flag: Flags| a.0 & b.0 & flag.0 != 0;
                let expected = match () {
                    () if (a.0 | b.0) & 4 != 0 => State::Closing,
                    () if both(Flags::FIN) => State::Closing,
                    () if both(Flags::SYN) => State::Established,
                    () => State::Opening,
                };
                assert_eq!(state(a, b), expected, "{a:?} {b:?}");
                assert_eq!(state(a, b), state(b, a));
            }
        }
    }

    #[test]
    fn only_a_bare_syn_opens() {
        let opens = |flags| Flags(flags).opens();
        assert!(opens(0x02) && opens(0xc2), "SYN, and SYN with ECN set-up");
        assert!(!opens(0x12) && !opens(0x10) && !opens(0x06) && !opens(0x01) && !opens(0));
    }
}
