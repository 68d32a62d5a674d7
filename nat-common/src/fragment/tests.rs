use super::*;

fn part(more: bool, offset: u16) -> Part {
    // With "don't fragment" and the reserved bit, which say nothing of the place.
    Part::of((0xc000 | u16::from(more) << 13 | offset).to_be_bytes())
}

#[test]
fn a_part_is_the_whole_the_first_a_later_or_the_last() {
    let says = |part: Part| {
        (part.is_fragment(), part.is_first(), part.is_later(), part.is_fragment() && part.is_last())
    };
    assert_eq!(says(part(false, 0)), (false, false, false, false));
    assert_eq!(part(false, 0), Part::WHOLE);
    assert_eq!(says(part(true, 0)), (true, true, false, false));
    assert_eq!(says(part(true, 185)), (true, false, true, false));
    assert_eq!(says(part(false, 185)), (true, false, true, true));
    assert!(part(false, 1).is_in_tcp_header() && !part(false, 2).is_in_tcp_header());
}

#[test]
fn rfc791_a_fragment_has_whole_units_behind_which_something_comes() {
    let units = |more, offset, bytes| part(more, offset).units(20, bytes);
    assert_eq!(units(true, 0, 1480), Some(Units { from: 0, to: 185 }));
    assert_eq!(units(false, 185, 1), Some(Units { from: 185, to: 186 }));
    assert_eq!(units(true, 185, 1479), None);
    assert_eq!(units(true, 0, 0), None);
    assert_eq!(units(false, 185, 0), None);
    // The ping of death: 65,535 bytes are the most, the header among them.
    assert_eq!(units(false, 8189, 3), Some(Units { from: 8189, to: 8190 }));
    assert_eq!(units(false, 8189, 4), None);
    assert_eq!(part(false, 8189).units(24, 3), None);
}

/// Every bit of every range, against the plain way of saying it.
#[test]
fn a_word_holds_its_units() {
    for from in 0..200 {
        for to in from + 1..=200 {
            let units = Units { from, to };
            for word in 0..4 {
                let expected = (0..64_u32)
                    .filter(|bit| (from..to).contains(&(word * 64 + bit)))
                    .fold(0, |bits, bit| bits | 1_u64 << bit);
                assert_eq!(units.in_word(word), expected, "{units:?} in word {word}");
            }
        }
    }
    let all = Units { from: 0, to: UNITS_MAX as u32 };
    assert!((0..WORDS as u32).all(|word| all.in_word(word) == u64::MAX));
    assert_eq!(all.in_word(WORDS as u32), 0);
}

#[test]
fn rfc5722_a_part_is_new_a_repetition_or_an_overlap() {
    let units = Units { from: 10, to: 20 };
    assert_eq!(Coverage::of(units, 10), Coverage::New);
    assert_eq!(Coverage::of(units, 0), Coverage::Repeated);
    assert!((1..10).all(|new| Coverage::of(units, new) == Coverage::Overlap));
}

#[test]
fn nothing_comes_behind_the_end() {
    let units = Units { from: 10, to: 20 };
    assert!(fits(units, false, 0) && fits(units, true, 0));
    assert!(fits(units, true, 20) && fits(units, false, 21));
    assert!(!fits(units, true, 21), "another end");
    assert!(!fits(units, false, 20), "something behind the end");
    assert!(!fits(units, false, 19) && !fits(units, true, 19));
}

#[test]
fn every_field_changes_the_fingerprint() {
    let (client, server) = (Ipv4::new([10, 0, 0, 5]), Ipv4::new([198, 51, 100, 9]));
    let key = FragmentKey::new(Direction::Outbound, (client, server), [1, 2], 17);
    for other in [
        FragmentKey { source: Ipv4::new([10, 0, 0, 6]), ..key },
        FragmentKey { destination: Ipv4::new([198, 51, 100, 8]), ..key },
        FragmentKey { id: [2, 1], ..key },
        FragmentKey { protocol: 1, ..key },
        FragmentKey { direction: 1, ..key },
    ] {
        assert_ne!(other.fingerprint(), key.fingerprint(), "{other:?}");
    }
    assert_eq!(key.direction(), Direction::Outbound);
}

#[test]
fn a_controller_attends_until_it_leaves_or_is_not_seen_any_more() {
    assert!(is_attended(1, 1000, 1000 + ATTENDED_NS - 1));
    assert!(!is_attended(1, 1000, 1000 + ATTENDED_NS));
    assert!(!is_attended(0, 1000, 1000));
}
