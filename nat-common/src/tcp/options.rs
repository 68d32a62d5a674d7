//! The options of a TCP header, of which only the window scale matters here (RFC 7323).

/// The most bytes of options that a header can have.
pub const OPTIONS_BYTES: usize = 40;

/// [`super::Segment::scale`] where there is no such option.
pub const NO_SCALE: u8 = 15;

/// The largest scale; a greater one counts as this (RFC 7323 section 2.3).
const SCALE_MAX: u8 = 14;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const WINDOW_SCALE: u8 = 3;
const WINDOW_SCALE_BYTES: u8 = 3;

/// What stands at a place among the options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Option {
    /// Something else; the next option starts here.
    Next(u32),
    /// The window scale.
    Scale(u8),
    /// Nothing that could be read any more.
    End,
}

/// Looks at the option at `at`, of `length` bytes of options in all.
#[inline(always)]
#[must_use]
pub fn option(bytes: &[u8; OPTIONS_BYTES], at: u32, length: u32) -> Option {
    let byte = |at: u32| bytes.get(at as usize).copied();
    if at >= length {
        return Option::End;
    }
    let kind = match byte(at) {
        Some(NO_OPERATION) => return Option::Next(at + 1),
        None | Some(END) => return Option::End,
        Some(kind) => kind,
    };
    let Some(size) = byte(at + 1) else {
        return Option::End;
    };
    if size < 2 || at + size as u32 > length {
        return Option::End;
    }
    match byte(at + 2) {
        Some(scale) if kind == WINDOW_SCALE && size == WINDOW_SCALE_BYTES => {
            Option::Scale(if scale > SCALE_MAX { SCALE_MAX } else { scale })
        }
        _ => Option::Next(at + size as u32),
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{TcpOptionElement, TcpOptions};
    use proptest::prelude::*;

    use super::*;

    /// As the data path walks.
    fn scale(options: &[u8]) -> u8 {
        let mut bytes = [0; OPTIONS_BYTES];
        bytes[..options.len()].copy_from_slice(options);
        let mut at = 0;
        for _ in 0..OPTIONS_BYTES {
            match option(&bytes, at, options.len() as u32) {
                Option::Next(next) => at = next,
                Option::Scale(scale) => return scale,
                Option::End => return NO_SCALE,
            }
        }
        NO_SCALE
    }

    #[test]
    fn known_stacks_are_read() {
        // Linux: MSS, SACK permitted, timestamps, no-operation, window scale 7.
        let linux = [2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7];
        assert_eq!(scale(&linux), 7);
        // Windows: MSS, no-operation, window scale 8, no-operations, SACK permitted.
        assert_eq!(scale(&[2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2]), 8);
        assert_eq!(scale(&[2, 4, 5, 0xb4]), NO_SCALE);
        assert_eq!(scale(&[]), NO_SCALE);
        assert_eq!(scale(&[3, 3, 200, 0]), 14, "RFC 7323 section 2.3");
    }

    #[test]
    fn damaged_options_end() {
        for options in
            [&[3, 0, 7, 0][..], &[9, 1, 3, 3], &[1, 1, 3, 3], &[0, 3, 3, 7], &[3, 4, 7, 1]]
        {
            assert_eq!(scale(options), NO_SCALE, "{options:?}");
        }
    }

    proptest! {
        /// Of well-formed options, etherparse finds the same.
        #[test]
        fn equals_another_parser(
            before in proptest::collection::vec(0_u8..4, 0..4), shift in proptest::option::of(0_u8..15),
        ) {
            let mut elements: Vec<_> = before
                .iter()
                .map(|kind| match kind {
                    0 => TcpOptionElement::Noop,
                    1 => TcpOptionElement::MaximumSegmentSize(1460),
                    2 => TcpOptionElement::SelectiveAcknowledgementPermitted,
                    _ => TcpOptionElement::Timestamp(0x0303_0703, 0x0303_0303),
                })
                .collect();
            elements.extend(shift.map(TcpOptionElement::WindowScale));
            let Ok(options) = TcpOptions::try_from_elements(&elements) else { return Ok(()) };
            prop_assert_eq!(scale(options.as_slice()), shift.unwrap_or(NO_SCALE));
        }

        #[test]
        fn no_bytes_make_it_fail(options in proptest::collection::vec(any::<u8>(), 0..=40)) {
            prop_assert!(scale(&options) <= NO_SCALE);
        }
    }
}
