//! Identities of rules. A rule keeps its identity for as long as its name is in the configuration,
//! wherever it moves, so that sessions and counters go on belonging to it. Pure.
use std::collections::{HashMap, HashSet};

/// Identities that sessions refer to.
pub fn in_use(rules_of_sessions: impl IntoIterator<Item = u32>) -> HashSet<u32> {
    rules_of_sessions.into_iter().collect()
}

/// An identity below `max` for each name, in order: the known one if there is one; else one that
/// never had a name; else one whose name is not wanted and that no session refers to. Nothing if
/// there are not enough.
pub fn assign(
    known: &HashMap<u32, String>,
    in_use: &HashSet<u32>,
    names: &[&str],
    max: u32,
) -> Option<Vec<u32>> {
    let by_name: HashMap<&str, u32> = known.iter().map(|(id, name)| (name.as_str(), *id)).collect();
    let wanted: HashSet<&str> = names.iter().copied().collect();
    let never_named = (0..max).filter(|id| !known.contains_key(id) && !in_use.contains(id));
    let unwanted = (0..max).filter(|id| {
        known.get(id).is_some_and(|name| !wanted.contains(name.as_str())) && !in_use.contains(id)
    });
    let mut free = never_named.chain(unwanted);
    names.iter().map(|name| by_name.get(name).copied().or_else(|| free.next())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(names: &[(u32, &str)]) -> HashMap<u32, String> {
        names.iter().map(|(id, name)| (*id, (*name).to_owned())).collect()
    }

    #[test]
    fn names_keep_their_identity_and_new_ones_get_unused_ones() {
        let known = known(&[(0, "a"), (1, "b")]);
        assert_eq!(assign(&known, &HashSet::new(), &["new", "b", "a"], 8), Some(vec![2, 1, 0]));
    }

    #[test]
    fn an_identity_with_sessions_is_not_given_away() {
        let known = known(&[(0, "gone"), (1, "gone too")]);
        let in_use = HashSet::from([0]);
        assert_eq!(assign(&known, &in_use, &["new"], 2), Some(vec![1]));
        assert_eq!(assign(&known, &in_use, &["new", "newer"], 2), None);
    }
}
