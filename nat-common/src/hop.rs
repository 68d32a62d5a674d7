//! The way on of a session's packets: kept, so that the kernel need not be asked for each of them.
use crate::session;

/// Where the frames of one direction of a session leave, as the kernel said the last time. Part of
/// [`session::Session`].
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// [`crate::instance::Instance::ways`] when the kernel was asked; 0 for nothing known.
    pub generation: u32,
    /// Until when it is believed: a [`session::tick`].
    pub until_ticks: u32,
    /// Index of the interface.
    pub ifindex: u16,
    /// The longest IPv4 packet that fits, in bytes.
    pub mtu: u16,
    /// Link-layer address of the next hop.
    pub mac: [u8; 6],
    pub zero: u16,
}

impl Hop {
    /// Nothing is known.
    pub const NONE: Self =
        Self { generation: 0, until_ticks: 0, ifindex: 0, mtu: 0, mac: [0; 6], zero: 0 };

    /// What the kernel has just said. Not kept: an interface whose index needs more than 16 bits, as
    /// there is after some 65,000 others, and what was asked while nobody looked at changes.
    #[inline(always)]
    #[must_use]
    pub const fn new(
        generation: u32,
        now_ns: u64,
        ifindex: u32,
        mtu: u16,
        mac: [u8; 6],
    ) -> Option<Self> {
        if generation == 0 || ifindex > u16::MAX as u32 {
            return None;
        }
        let until_ticks = session::tick(now_ns + AGE_NS);
        Some(Self { generation, until_ticks, ifindex: ifindex as u16, mtu, mac, zero: 0 })
    }

    /// Whether a packet of so many bytes may leave by it, while the ways of `generation` are in force.
    #[inline(always)]
    #[must_use]
    pub const fn takes(&self, generation: u32, now_ns: u64, bytes: u16) -> bool {
        generation != 0
            && self.generation == generation
            && !session::due(self.until_ticks, now_ns)
            && bytes <= self.mtu
    }
}

/// For so long the kernel's answer is believed at most: not every change of a way is announced, as a
/// path MTU that it has learnt is not.
pub const AGE_NS: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    #[test]
    fn a_way_is_believed_while_nothing_has_changed_and_for_its_time() {
        for now in [5, 7 * SECOND, (u64::from(u32::MAX) << session::TICK_SHIFT) - SECOND] {
            let hop = Hop::new(3, now, 20, 1500, MAC).unwrap();
            assert!(hop.takes(3, now, 1500));
            assert!(hop.takes(3, now + AGE_NS - SECOND, 40));
            assert!(!hop.takes(3, now + AGE_NS, 40), "too old");
            assert!(!hop.takes(4, now, 40), "something has changed");
            assert!(!hop.takes(0, now, 40), "nobody looks");
            assert!(!hop.takes(3, now, 1501), "too long");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_not() {
        assert_eq!(Hop::new(0, 5, 20, 1500, MAC), None);
        assert_eq!(Hop::new(3, 5, 1 << 16, 1500, MAC), None);
        assert!(Hop::new(3, 5, (1 << 16) - 1, 1500, MAC).is_some());
        assert!(!Hop::NONE.takes(0, 5, 0));
    }
}
