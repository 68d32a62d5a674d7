//! Routes × source model → the fewest destination prefixes that say what each destination is
//! translated to.
//!
//! Rule 8a makes the source depend on the next hop, and the next hop of an on-link destination is
//! the destination itself: the source is a function of the destination. A [`Table`] holds that
//! function for one egress interface as an assignment of answers to prefixes, of which the longest
//! that contains a destination decides, and keeps it right and smallest when routes or addresses
//! change.
//!
//! The routes' prefixes and the points where answers may change ([`Chooser::points`]) cut the
//! address space into the leaves of a binary trie, each with one answer. From these the smallest
//! assignment follows as in Draves, King, Venkatachary and Zill, "Constructing Optimal IP Routing
//! Tables" (INFOCOM 1999): upwards, each prefix gets the set of answers that could be assigned to
//! it at no extra cost (`Sets::join`); downwards, a prefix gets an entry only if what it
//! inherits is not in its set. Above the root everything is [`Choice::NoRoute`], at no cost.
mod assign;
mod change;
mod choice;
mod choices;
mod evaluate;
mod prefix;
mod regions;
mod routes;
mod sets;
mod shrink;
mod trie;
mod update;

pub use change::{Change, diff, safe_order};
pub use choice::{Choice, Chooser};
pub use routes::Route;
pub use update::Edit;

use std::net::Ipv4Addr;

use choices::{Choices, Id};
use evaluate::State;
use ipnet::Ipv4Net;
use prefix::Prefix;
use regions::Regions;
use routes::Routes;
use sets::Sets;
use trie::{Index, ROOT, Trie};

/// See the module.
pub struct Table<C> {
    chooser: C,
    regions: Regions,
    choices: Choices,
    routes: Routes,
    sets: Sets,
    trie: Trie,
    /// Number of prefixes with an answer.
    entries: usize,
    /// Whether a leaf may have an answer that the chooser would not give it now.
    kept: bool,
    /// Number of sets at which those that are not used are looked for.
    sets_limit: usize,
}

/// Sets that are not worth looking through.
const SETS_MIN: usize = if cfg!(test) { 4 } else { 1 << 12 };

/// A node and the prefix it stands for.
#[derive(Clone, Copy)]
struct Place {
    index: Index,
    prefix: Prefix,
}

impl Place {
    const ROOT: Self = Self { index: ROOT, prefix: Prefix::ROOT };

    fn halves(self, halves: [Index; 2]) -> [Self; 2] {
        let [low, high] = halves;
        [
            Self { index: low, prefix: self.prefix.half(0) },
            Self { index: high, prefix: self.prefix.half(1) },
        ]
    }
}

impl<C: Chooser> Table<C> {
    /// The table of an interface with these routes. They may come in any order, but of two with the
    /// same prefix, table and metric the first counts.
    pub fn new(chooser: C, routes: impl IntoIterator<Item = Route>) -> Self {
        Self::resume(chooser, routes, []).0
    }

    /// The same after an assignment that is in force, of which a chooser may keep answers (see
    /// [`Chooser::keeps`]). Says what is to be changed in it, in [`safe_order`].
    pub fn resume(
        chooser: C,
        routes: impl IntoIterator<Item = Route>,
        in_force: impl IntoIterator<Item = (Ipv4Net, Choice)>,
    ) -> (Self, Vec<Change>) {
        let mut table = Self {
            regions: Regions::new(chooser.points()),
            chooser,
            choices: Choices::default(),
            routes: Routes::default(),
            sets: Sets::default(),
            trie: Trie::default(),
            entries: 0,
            kept: false,
            sets_limit: SETS_MIN,
        };
        let mut routes: Vec<_> = routes.into_iter().collect();
        // Neighbours in the trie are then neighbours in memory; equals stay in their order.
        routes.sort_by_key(|route| route.dst);
        routes.iter().for_each(|route| table.place(route));
        in_force.into_iter().for_each(|(prefix, choice)| table.adopt(prefix, choice));

        table.evaluate(Place::ROOT, table.state(ROOT, State::NOTHING));
        table.trie.set_stale();
        let changes = table.assign();
        table.merge(Place::ROOT, None);
        (table, changes)
    }

    /// What answers.
    pub const fn chooser(&self) -> &C {
        &self.chooser
    }

    /// Number of prefixes with an answer.
    pub const fn len(&self) -> usize {
        self.entries
    }

    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The assignment. What no prefix contains has no route.
    pub fn entries(&self) -> Vec<(Ipv4Net, Choice)> {
        let mut entries = Vec::with_capacity(self.entries);
        self.collect(Place::ROOT, &mut entries);
        entries
    }

    fn collect(&self, place: Place, entries: &mut Vec<(Ipv4Net, Choice)>) {
        let node = self.trie.get(place.index);
        entries.extend(node.entry().map(|id| (place.prefix.into(), self.choices.get(id))));
        for half in node.halves().into_iter().flat_map(|halves| place.halves(halves)) {
            self.collect(half, entries);
        }
    }

    /// The answer for a destination.
    pub fn choose(&self, destination: Ipv4Addr) -> Choice {
        let path = self.trie.path(Prefix { bits: destination.to_bits(), len: 32 });
        let entry = path.into_iter().rev().find_map(|index| self.trie.get(index).entry());
        self.choices.get(entry.unwrap_or(Id::NO_ROUTE))
    }

    /// Number of prefixes that the table works with.
    pub const fn size(&self) -> usize {
        self.trie.len()
    }

    /// Bytes of memory, about.
    pub fn memory(&self) -> usize {
        self.trie.memory() + self.routes.memory() + self.sets.memory() + self.regions.memory()
    }

    /// Puts a route into the trie, without consequences.
    fn place(&mut self, route: &Route) {
        let path = self.trie.make_path(route.dst.into());
        if let Some(&last) = path.last()
            && let Some(slot) = self.routes.with(self.trie.get(last).routes, route)
        {
            self.trie.get_mut(last).routes = slot;
        }
    }

    /// Takes an entry over as it is.
    fn adopt(&mut self, prefix: Ipv4Net, choice: Choice) {
        if let Some(&last) = self.trie.make_path(prefix.into()).last() {
            let node = self.trie.get_mut(last);
            self.entries += usize::from(node.entry().is_none());
            node.set_entry(Some(self.choices.id(choice)));
        }
    }
}

#[cfg(test)]
mod tests;
