//! What a table does not need any more.
use super::{Place, SETS_MIN, Table, prefix::Prefix, regions::Regions};

impl<C> Table<C> {
    /// Gives up prefixes that no route and no point asks for any more, from one upwards.
    pub(super) fn merge_up(&mut self, prefix: Prefix) {
        let path = self.trie.path(prefix);
        for (len, index) in (0..=prefix.len).zip(path).rev() {
            if self.trie.get(index).halves().is_none() {
                continue;
            }
            let divided = self.regions.containing(prefix.shortened(len)).is_none();
            if divided || !self.trie.merge(index) {
                return;
            }
        }
    }

    /// Gives up prefixes that no route and no point asks for any more: those that divided the old
    /// regions, or any.
    pub(super) fn merge(&mut self, place: Place, old: Option<&Regions>) {
        if old.is_some_and(|old| old.containing(place.prefix).is_some()) {
            return;
        }
        if let Some(halves) = self.trie.get(place.index).halves() {
            place.halves(halves).into_iter().for_each(|half| self.merge(half, old));
            if self.regions.containing(place.prefix).is_some() {
                self.trie.merge(place.index);
            }
        }
    }

    /// Forgets sets that are not used, when they may have become many.
    pub(super) fn forget_sets(&mut self) {
        if self.sets.len() > self.sets_limit {
            self.sets.retain(self.trie.nodes_mut().map(|node| &mut node.set));
            self.sets_limit = SETS_MIN.max(2 * self.sets.len());
        }
    }
}
