//! Fragments that came before the first one of their packet, until that one comes: bounded in memory
//! and time. The data path cannot keep a packet, and this cannot see one.
use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use nat_common::limits::{HELD_NS, HELD_TOTAL_BYTES_MAX};

/// What the fragments of a packet have in common: the bytes of a
/// [`nat_common::fragment::FragmentKey`].
pub type Key = [u8; 12];

/// A frame, and the interface at which it was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    pub ifindex: u32,
    pub bytes: Vec<u8>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Held {
    packets: HashMap<Key, Packet>,
    /// Packets in the order in which their first to be held came; some of them gone.
    order: VecDeque<(Instant, Key)>,
    bytes: usize,
}

#[derive(Debug)]
struct Packet {
    since: Instant,
    frames: Vec<Frame>,
}

impl Packet {
    fn bytes(&self) -> usize {
        self.frames.iter().map(|frame| frame.bytes.len()).sum()
    }
}

/// How long a frame is held.
pub const PATIENCE: Duration = Duration::from_nanos(HELD_NS);

impl Held {
    /// Holds a frame. False if there is no room: what is held already stays, so that a flood takes
    /// only its own part.
    pub fn hold(&mut self, key: Key, frame: Frame, now: Instant) -> bool {
        if self.bytes + frame.bytes.len() > HELD_TOTAL_BYTES_MAX {
            return false;
        }
        self.bytes += frame.bytes.len();
        let order = &mut self.order;
        let packet = self.packets.entry(key).or_insert_with(|| {
            order.push_back((now, key));
            Packet { since: now, frames: Vec::new() }
        });
        packet.frames.push(frame);
        true
    }

    /// Gives back what is held of a packet, in the order in which it came.
    pub fn release(&mut self, key: &Key) -> Vec<Frame> {
        let Some(packet) = self.packets.remove(key) else { return Vec::new() };
        self.bytes -= packet.bytes();
        packet.frames
    }

    /// Drops what has been held for too long; returns how many frames.
    pub fn expire(&mut self, now: Instant) -> usize {
        let mut expired = 0;
        while let Some(&(since, key)) = self.order.front() {
            if now.duration_since(since) < PATIENCE {
                break;
            }
            self.order.pop_front();
            // Another packet may have the number by now.
            if self.packets.get(&key).is_some_and(|packet| packet.since == since) {
                expired += self.release(&key).len();
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize) -> Frame {
        Frame { ifindex: 2, bytes: vec![7; length] }
    }

    #[test]
    fn what_is_held_comes_back_once_and_in_order() {
        let (mut held, now) = (Held::default(), Instant::now());
        assert!(held.hold([1; 12], frame(100), now) && held.hold([2; 12], frame(200), now));
        assert!(held.hold([1; 12], frame(300), now));
        assert_eq!(held.release(&[1; 12]), [frame(100), frame(300)]);
        assert_eq!(held.release(&[1; 12]), []);
        assert_eq!((held.bytes, held.release(&[2; 12])), (200, vec![frame(200)]));
        assert_eq!(held.bytes, 0);
    }

    #[test]
    fn nothing_is_held_for_longer_than_that() {
        let (mut held, start) = (Held::default(), Instant::now());
        let just_before = start + PATIENCE - Duration::from_nanos(1);
        held.hold([1; 12], frame(100), start);
        held.hold([1; 12], frame(100), just_before);
        held.hold([2; 12], frame(100), just_before);
        assert_eq!(held.expire(just_before), 0);
        assert_eq!(held.expire(start + PATIENCE), 2);
        assert_eq!(held.release(&[1; 12]), []);
        assert_eq!(held.expire(just_before + PATIENCE), 1);
        assert_eq!((held.bytes, held.order.len()), (0, 0));
    }

    /// The time of a packet is its own, not that of one that had its number before.
    #[test]
    fn a_number_that_comes_again_has_its_own_time() {
        let (mut held, start) = (Held::default(), Instant::now());
        held.hold([1; 12], frame(100), start);
        held.release(&[1; 12]);
        held.hold([1; 12], frame(100), start + PATIENCE / 2);
        assert_eq!(held.expire(start + PATIENCE), 0);
        assert_eq!(held.release(&[1; 12]).len(), 1);
    }

    #[test]
    fn rfc4787_req14a_a_flood_is_held_to_its_bound_and_displaces_nothing() {
        let (mut held, now) = (Held::default(), Instant::now());
        held.hold([9; 12], frame(1500), now);
        let mut refused = 0;
        for number in 0..10_000_u64 {
            let mut key = [0; 12];
            key[..8].copy_from_slice(&number.to_be_bytes());
            refused += usize::from(!held.hold(key, frame(1500), now));
        }
        assert!(refused > 7000 && held.bytes <= HELD_TOTAL_BYTES_MAX, "{refused} {}", held.bytes);
        assert_eq!(held.release(&[9; 12]).len(), 1);
        held.expire(now + PATIENCE);
        assert_eq!((held.bytes, held.packets.len(), held.order.len()), (0, 0, 0));
    }
}
