//! The maximum segment size that the ends of a TCP connection tell each other in their SYN (RFC 9293
//! section 3.7.1), and lowering it: a remedy where path MTU discovery does not work.
use crate::checksum::{self, Delta};

/// Where the options stand in a TCP header, bytes.
pub const OPTIONS: u32 = 20;
/// Where the data offset stands, in the upper half of a byte, in words.
pub const DATA_OFFSET: u32 = 12;
/// Where the checksum stands.
pub const CHECK: u32 = 16;
/// Bytes of options at most: the data offset says up to 15 words.
pub const OPTIONS_MAX: usize = 40;

/// Kinds of options (RFC 9293 section 3.2).
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
/// Bytes of that option: kind, length and the value.
const MAXIMUM_SEGMENT_SIZE_BYTES: u8 = 4;

/// A value to be lowered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lowered {
    /// Where it stands in the options, bytes.
    pub at: u8,
    /// As it stands in memory.
    pub old: u16,
    pub new: u16,
}

impl Lowered {
    /// The old and the new value as words of the checksum: between two words, where the value may
    /// stand, its bytes count the other way round (RFC 1071 section 2).
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> (u16, u16) {
        match self.at % 2 {
            0 => (self.old, self.new),
            _ => (self.old.swap_bytes(), self.new.swap_bytes()),
        }
    }

    /// What the TCP checksum gains.
    #[inline(always)]
    #[must_use]
    pub const fn delta(&self) -> Delta {
        let (old, new) = self.words();
        checksum::word_delta(old, new)
    }
}

/// Where a walk over options comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// To the option that stands here.
    To(u32),
    /// To a value that is too large, and its end.
    Lowered(Lowered),
    /// To its end.
    End,
}

/// A step from the option at `at` among the first `bytes` of `options`, in search of a maximum segment
/// size that is more than `most`. [`OPTIONS_MAX`] of them reach the end.
///
/// It is never raised, and none is added: without one the other end takes 536 (RFC 9293 section
/// 3.7.1).
#[inline(always)]
#[must_use]
pub fn step(options: &[u8; OPTIONS_MAX], bytes: u32, at: u32, most: u16) -> Step {
    read(options, bytes, at, most).unwrap_or(Step::End)
}

#[inline(always)]
fn read(options: &[u8; OPTIONS_MAX], bytes: u32, at: u32, most: u16) -> Option<Step> {
    let byte = |at: u32| if at < bytes { options.get(at as usize).copied() } else { None };
    let kind = byte(at)?;
    if kind == NO_OPERATION {
        return Some(Step::To(at + 1));
    }
    if kind == END {
        return None;
    }
    let length = byte(at + 1)?;
    if kind == MAXIMUM_SEGMENT_SIZE && length == MAXIMUM_SEGMENT_SIZE_BYTES {
        let old = [byte(at + 2)?, byte(at + 3)?];
        let lowered = Lowered {
            at: (at + 2) as u8,
            old: u16::from_ne_bytes(old),
            new: u16::from_ne_bytes(most.to_be_bytes()),
        };
        return (u16::from_be_bytes(old) > most).then_some(Step::Lowered(lowered));
    }
    // It counts kind and length, too: a shorter one leads nowhere.
    (length >= 2).then_some(Step::To(at + u32::from(length)))
}

#[cfg(test)]
mod tests {
    use etherparse::{IpNumber, Ipv4Header, TcpHeader, TcpOptionElement as Option_};
    use proptest::prelude::*;

    use super::*;

    /// The whole walk.
    fn lower(options: &[u8; OPTIONS_MAX], bytes: u32, most: u16) -> Option<Lowered> {
        let mut at = 0;
        for _ in 0..OPTIONS_MAX {
            match step(options, bytes, at, most) {
                Step::To(next) => at = next,
                Step::Lowered(lowered) => return Some(lowered),
                Step::End => return None,
            }
        }
        assert!(at >= bytes, "not at the end");
        None
    }

    fn of(bytes: &[u8], most: u16) -> Option<(u8, u16, u16)> {
        let mut options = [0xee; OPTIONS_MAX];
        options[..bytes.len()].copy_from_slice(bytes);
        let lowered = lower(&options, bytes.len() as u32, most)?;
        Some((lowered.at, u16::from_be(lowered.old), u16::from_be(lowered.new)))
    }

    #[test]
    fn found_wherever_it_stands_and_never_raised() {
        let mss = [2, 4, 5, 180]; // 1460
        assert_eq!(of(&mss, 1360), Some((2, 1460, 1360)));
        assert_eq!(of(&mss, 1460), None);
        assert_eq!(of(&mss, 9000), None);
        assert_eq!(of(&[&[1][..], &mss, &[1, 1, 1]].concat(), 536), Some((3, 1460, 536)));
        // As Linux sends it: SACK permitted, timestamps, window scale.
        let linux = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
        assert_eq!(of(&linux, 1400), Some((2, 1460, 1400)));
        let last = [[8, 10, 2, 4, 255, 255, 0, 0, 0, 0].as_slice(), &mss].concat();
        assert_eq!(of(&last, 1400), Some((12, 1460, 1400)), "not what another option holds");
        let forty = [[1; 36].as_slice(), &mss].concat();
        assert_eq!(of(&forty, 1400), Some((38, 1460, 1400)));
    }

    #[test]
    fn nothing_where_there_is_none() {
        assert_eq!(of(&[], 1400), None);
        assert_eq!(of(&[1, 1, 1, 1], 1400), None);
        assert_eq!(of(&[0, 2, 4, 5, 180], 1400), None, "behind the end of the list");
        assert_eq!(of(&[2, 4, 5], 1400), None, "cut");
        assert_eq!(of(&[2, 3, 5, 2, 4, 5], 1400), None, "of another length");
        assert_eq!(of(&[8, 0, 2, 4, 5, 180], 1400), None, "an option of no length");
        assert_eq!(of(&[8, 1, 2, 4, 5, 180], 1400), None, "an option of length 1");
        assert_eq!(of(&[8, 200, 2, 4, 5, 180], 1400), None, "an option beyond the end");
        assert_eq!(of(&[1; 40], 1400), None);
    }

    proptest! {
        /// The checksum that etherparse computes of the header with the lower value.
        #[test]
        fn the_checksum_is_that_of_the_changed_header(
            mss: u16, most: u16, before in 0_usize..8, port: u16, payload: Vec<u8>,
        ) {
            let ip = Ipv4Header::new(0, 64, IpNumber::TCP, [10, 0, 0, 1], [192, 0, 2, 1]).unwrap();
            let with = |value: u16| {
                let mut tcp = TcpHeader::new(port, 80, 7, 1024);
                let mut list = vec![Option_::Noop; before];
                list.push(Option_::MaximumSegmentSize(value));
                tcp.set_options(&list).unwrap();
                tcp.checksum = tcp.calc_checksum_ipv4(&ip, &payload).unwrap();
                tcp
            };
            let header = with(mss);
            let mut options = [0; OPTIONS_MAX];
            let bytes = header.options.as_slice();
            options[..bytes.len()].copy_from_slice(bytes);
            let lowered = lower(&options, bytes.len() as u32, most);
            prop_assert_eq!(lowered.is_some(), mss > most);
            if let Some(lowered) = lowered {
                let check = checksum::update(header.checksum.to_be(), lowered.delta());
                prop_assert_eq!(u16::from_be(check), with(most).checksum);
            }
        }

        #[test]
        fn whatever_stands_there_what_is_found_is_inside(bytes in proptest::collection::vec(any::<u8>(), 0..=40), most: u16) {
            if let Some((at, old, new)) = of(&bytes, most) {
                prop_assert!(usize::from(at) + 2 <= bytes.len() && new == most && old > new);
            }
        }
    }
}
