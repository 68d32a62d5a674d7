//! The order of changes, with every pair of assignments of a small universe.
use ipnet::Ipv4Net;

use super::{
    super::{Change, Choice, diff},
    model::net,
};

/// Of four addresses, the prefixes that hold one or two of them.
const PREFIXES: [&str; 6] =
    ["10.0.0.0/31", "10.0.0.2/31", "10.0.0.0/32", "10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32"];

const ANSWERS: [Option<Choice>; 3] = [None, Some(Choice::NoSource), Some(Choice::NotUnicast)];

/// By prefix.
type Assignment = [Option<Choice>; 6];

/// Every one, by number to the base 3.
fn assignments() -> impl Iterator<Item = Assignment> {
    let digits = [1, 3, 9, 27, 81, 243];
    (0..729).map(move |number| digits.map(|digit| ANSWERS[number / digit % 3]))
}

/// By address: its own entry, its pair's, or none.
fn answers(assignment: &Assignment) -> [Option<Choice>; 4] {
    [0, 1, 2, 3].map(|address| assignment[2 + address].or(assignment[address / 2]))
}

#[test]
fn no_destination_sees_anything_but_its_old_or_its_new_answer() {
    let prefixes = PREFIXES.map(net);
    let entries = |assignment: Assignment| {
        let entry = |(prefix, choice): (Ipv4Net, Option<Choice>)| Some((prefix, choice?));
        prefixes.into_iter().zip(assignment).filter_map(entry)
    };
    // The answers are alike: it is enough that the old assignment's first is the first.
    let first = |old: &Assignment| old.iter().flatten().next().copied();
    for old in assignments().filter(|old| first(old) != ANSWERS[2]) {
        for new in assignments() {
            let changes = diff(entries(old), entries(new));
            let (before, after) = (answers(&old), answers(&new));
            let mut current = old;
            for change in &changes {
                let (prefix, choice) = match change {
                    Change::Set(prefix, choice) => (prefix, Some(*choice)),
                    Change::Remove(prefix) => (prefix, None),
                };
                let place = prefixes.iter().position(|other| other == prefix).unwrap();
                current[place] = choice;
                let now = answers(&current);
                let fine = (0..4).all(|at| now[at] == before[at] || now[at] == after[at]);
                assert!(fine, "{old:?} → {new:?}: {changes:?}");
            }
            assert_eq!(current, new);
        }
    }
}

#[test]
fn what_stays_is_not_touched() {
    let [pair, _, one, other, ..] = PREFIXES.map(net);
    let old = [(pair, Choice::NoSource), (one, Choice::NotUnicast)];
    let new = [(pair, Choice::NoSource), (other, Choice::NotUnicast)];
    let expected = [Change::Set(other, Choice::NotUnicast), Change::Remove(one)];
    assert_eq!(diff(old, new), expected);
}
