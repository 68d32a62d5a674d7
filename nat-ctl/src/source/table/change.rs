//! Differences between two assignments of answers to prefixes.
use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use super::Choice;

/// A step from one assignment to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// The prefix has this answer from now on; it had another or none.
    Set(Ipv4Net, Choice),
    /// The prefix has no answer of its own any more.
    Remove(Ipv4Net),
}

/// The steps from one assignment to another, in [`safe_order`]. A prefix is listed once at most in
/// either.
pub fn diff(
    old: impl IntoIterator<Item = (Ipv4Net, Choice)>,
    new: impl IntoIterator<Item = (Ipv4Net, Choice)>,
) -> Vec<Change> {
    let mut old: BTreeMap<_, _> = old.into_iter().collect();
    let mut changes: Vec<_> = new
        .into_iter()
        .filter(|(prefix, choice)| old.remove(prefix) != Some(*choice))
        .map(|(prefix, choice)| Change::Set(prefix, choice))
        .collect();
    changes.extend(old.into_keys().map(Change::Remove));
    safe_order(&mut changes);
    changes
}

/// Orders the steps between two assignments so that they can be applied one by one to a
/// longest-prefix map in use: at every moment every destination has its old or its new answer.
///
/// First everything that is set, longest prefix first, then everything that is removed, shortest
/// first. Take a destination and the longest prefix P that matches it at some moment.
/// - While setting, all old prefixes are there. If P has its new answer, then no longer new prefix
///   matches, for it would be there already (kept, or set before P): P is what matches in the end.
///   If P still has its old answer, no longer old prefix matches: P is what matched at first.
/// - While removing, all new prefixes are there with their new answers. If P is one of them, it is
///   the longest of them, which matches in the end. If not, P is still to be removed, and so would
///   be any longer old prefix that is not new: P is what matched at first.
pub fn safe_order(changes: &mut [Change]) {
    changes.sort_unstable_by_key(|change| match change {
        Change::Set(prefix, _) => (0, 32 - prefix.prefix_len(), *prefix),
        Change::Remove(prefix) => (1, prefix.prefix_len(), *prefix),
    });
}
