//! Downwards: prefixes get entries where what they inherit is not in their set.
//!
//! The assignment stays the smallest after every change. The price is that a change of one route
//! may make another answer the better one for a large prefix, and then every entry below that
//! relies on the old one changes. That is rare, for sets of large prefixes hardly ever change: of a
//! million random changes to a million routes the worst took 1069 entries, half of them none.
use super::{Change, Chooser, Place, Table, choices::Id, prefix::Prefix, safe_order};

impl<C: Chooser> Table<C> {
    /// Brings the entries in line with the sets, and says what changed.
    pub(super) fn assign(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        self.assign_below(Place::ROOT, Id::NO_ROUTE, Id::NO_ROUTE, &mut changes);
        safe_order(&mut changes);
        changes
    }

    /// `before` and `now`: what the place inherited and inherits. Where an answer may be chosen,
    /// the one that was in force stays, so that what is below can stay as well.
    fn assign_below(&mut self, place: Place, before: Id, now: Id, changes: &mut Vec<Change>) {
        let node = *self.trie.get(place.index);
        if !node.is_stale() && before == now {
            return;
        }
        let old = node.entry().unwrap_or(before);
        let entry = if self.sets.has(node.set, now) {
            None
        } else if self.sets.has(node.set, old) {
            Some(old)
        } else {
            Some(self.sets.first(node.set))
        };
        self.trie.get_mut(place.index).set_entry(entry);
        self.note(place.prefix, node.entry(), entry, changes);
        for half in node.halves().into_iter().flat_map(|halves| place.halves(halves)) {
            self.assign_below(half, old, entry.unwrap_or(now), changes);
        }
    }

    fn note(&mut self, at: Prefix, old: Option<Id>, new: Option<Id>, changes: &mut Vec<Change>) {
        self.entries = self.entries + usize::from(new.is_some()) - usize::from(old.is_some());
        match new {
            new if new == old => {}
            Some(id) => changes.push(Change::Set(at.into(), self.choices.get(id))),
            None => changes.push(Change::Remove(at.into())),
        }
    }
}
