//! What changes when a route or an address comes or goes: only what depends on it is asked again.
use std::mem;

use super::{
    Change, Chooser, Place, Route, Table,
    evaluate::State,
    prefix::Prefix,
    regions::Regions,
    routes::{Routes, Slot, Way},
    trie::{Index, ROOT},
};

/// A change to the routes of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edit {
    /// Nothing happens if the very route is there already.
    Insert(Route),
    /// Nothing happens if the very route is not there.
    Remove(Route),
}

impl<C: Chooser> Table<C> {
    /// See [`Edit::Insert`] and [`Table::update`].
    pub fn insert_route(&mut self, route: Route) -> Vec<Change> {
        self.update([Edit::Insert(route)])
    }

    /// See [`Edit::Remove`] and [`Table::update`].
    pub fn remove_route(&mut self, route: Route) -> Vec<Change> {
        self.update([Edit::Remove(route)])
    }

    /// Changes routes, one after the other, and says what that changes in the assignment, in
    /// [`safe_order`](super::safe_order). A route that takes the place of another belongs into one
    /// call with it: between two calls its destinations would have no route.
    pub fn update(&mut self, edits: impl IntoIterator<Item = Edit>) -> Vec<Change> {
        let mut removed = Vec::new();
        for edit in edits {
            match edit {
                Edit::Insert(route) => {
                    let path = self.trie.make_path(route.dst.into());
                    self.edit(&path, &route, Routes::with);
                }
                Edit::Remove(route) => {
                    let prefix = Prefix::from(route.dst);
                    let path = self.trie.path(prefix);
                    if path.len() > usize::from(prefix.len) {
                        self.edit(&path, &route, Routes::without);
                        removed.push(prefix);
                    }
                }
            }
        }
        let changes = self.assign();
        removed.into_iter().for_each(|prefix| self.merge_up(prefix));
        self.forget_sets();
        changes
    }

    /// Changes the routes at the end of a path.
    fn edit(
        &mut self,
        path: &[Index],
        route: &Route,
        change: fn(&mut Routes, Slot, &Route) -> Option<Slot>,
    ) {
        let Some((&index, above)) = path.split_last() else { return };
        let mut state = State { before: Some(Way::NONE), ..State::NOTHING };
        for index in above {
            state = self.state(*index, state);
        }
        let before = self.state(index, state).before;
        let Some(slot) = change(&mut self.routes, self.trie.get(index).routes, route) else {
            return;
        };
        self.trie.get_mut(index).routes = slot;
        state = State { before, ..self.state(index, state) };
        self.evaluate(Place { index, prefix: route.dst.into() }, state);
        for (index, below) in above.iter().zip(&path[1..]).rev() {
            let halves = self.trie.get(*index).halves();
            let Some(halves) = halves.filter(|_| self.trie.get(*below).is_stale()) else { return };
            self.join(*index, halves);
        }
    }

    /// Another state of the interface's addresses, or another model. Says what that changes in the
    /// assignment, in [`safe_order`](super::safe_order).
    pub fn set_chooser(&mut self, chooser: C) -> Vec<Change> {
        self.chooser = chooser;
        let old = mem::replace(&mut self.regions, Regions::new(self.chooser.points()));
        let state = self.state(ROOT, State::NOTHING);
        let everything = mem::take(&mut self.kept);
        if everything {
            self.evaluate(Place::ROOT, state);
        } else {
            self.refit(Place::ROOT, state, &old);
        }
        let changes = self.assign();
        self.merge(Place::ROOT, if everything { None } else { Some(&old) });
        self.forget_sets();
        changes
    }

    /// Asks again below a place as far as the answers differ from those of the old regions.
    fn refit(&mut self, place: Place, state: State, old: &Regions) {
        let regions = (old.containing(place.prefix), self.regions.containing(place.prefix));
        if let (Some(before), Some(now)) = regions {
            let mut known = old.known(before).iter();
            if !known.all(|(hop, answer)| self.answer(now, *hop) == *answer) {
                self.evaluate(place, state);
            }
            return;
        }
        let halves = self.trie.halve(place.index);
        for half in place.halves(halves) {
            self.refit(half, self.state(half.index, state), old);
        }
        self.join(place.index, halves);
    }
}
