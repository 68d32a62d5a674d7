//! A table under test, beside what it was made from.
use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;

use super::{
    super::{Change, Choice, Chooser, Edit, Route, Table},
    model::{Addresses, answer, apply, boundaries, fewest, look_up},
};

pub struct Bench {
    addresses: Addresses,
    routes: Vec<Route>,
    table: Table<Addresses>,
    /// What a longest-prefix map would hold.
    entries: BTreeMap<Ipv4Net, Choice>,
}

impl Bench {
    pub fn new(addresses: Addresses, mut routes: Vec<Route>) -> Self {
        let table = Table::new(addresses.clone(), routes.iter().copied());
        let mut seen = Vec::new();
        routes.retain(|route| {
            !seen.contains(route) && {
                seen.push(*route);
                true
            }
        });
        let entries = table.entries().into_iter().collect();
        Self { addresses, routes, table, entries }
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    pub fn boundaries(&self) -> Vec<Ipv4Net> {
        boundaries(&self.addresses, &self.routes)
    }

    /// Changes routes. At every moment each of the destinations has its old or its new answer.
    pub fn edit(&mut self, edits: &[Edit], destinations: &[Ipv4Addr]) {
        for edit in edits {
            match edit {
                Edit::Insert(route) if self.routes.contains(route) => {}
                Edit::Insert(route) => self.routes.push(*route),
                Edit::Remove(route) => self.routes.retain(|other| other != route),
            }
        }
        let changes = match edits {
            [Edit::Insert(route)] => self.table.insert_route(*route),
            [Edit::Remove(route)] => self.table.remove_route(*route),
            edits => self.table.update(edits.iter().copied()),
        };
        self.apply(&changes, destinations);
    }

    /// Changes addresses, likewise.
    pub fn set_addresses(&mut self, addresses: Addresses, destinations: &[Ipv4Addr]) {
        self.addresses = addresses.clone();
        let changes = self.table.set_chooser(addresses);
        self.apply(&changes, destinations);
    }

    /// Starts again with what the map holds, likewise.
    pub fn restart(&mut self, addresses: Addresses, routes: Vec<Route>, at: &[Ipv4Addr]) {
        let in_force = self.entries.iter().map(|(prefix, choice)| (*prefix, *choice));
        let (table, changes) = Table::resume(addresses.clone(), routes.clone(), in_force);
        (self.table, self.addresses, self.routes) = (table, addresses, once(routes));
        self.apply(&changes, at);
    }

    fn apply(&mut self, changes: &[Change], destinations: &[Ipv4Addr]) {
        let old: Vec<_> = destinations.iter().map(|at| look_up(&self.entries, *at)).collect();
        let new: Vec<_> =
            destinations.iter().zip(&old).map(|(at, old)| self.expected(*at, *old)).collect();
        for change in changes {
            apply(&mut self.entries, *change);
            for (at, (old, new)) in destinations.iter().zip(old.iter().zip(&new)) {
                let now = look_up(&self.entries, *at);
                assert!(now == *old || now == *new, "{at}: {now:?} after {change:?}, {changes:?}");
            }
        }
        for (at, new) in destinations.iter().zip(&new) {
            assert_eq!(look_up(&self.entries, *at), *new, "{at}");
            assert_eq!(self.table.choose(*at), *new, "{at}");
        }
        assert_eq!(self.table.entries().into_iter().collect::<BTreeMap<_, _>>(), self.entries);
        assert_eq!(self.table.len(), self.entries.len());
    }

    fn expected(&self, at: Ipv4Addr, in_force: Choice) -> Choice {
        match (in_force, answer(&self.addresses, &self.routes, at)) {
            (_, Choice::NotUnicast) => Choice::NotUnicast,
            (Choice::Source(source), _) if self.addresses.keeps(source) => in_force,
            (_, answer) => answer,
        }
    }

    /// The table is the smallest there is, and as lean as one made from scratch.
    pub fn check_size(&self) {
        let right = |at| answer(&self.addresses, &self.routes, at);
        assert_eq!(self.table.len(), fewest(&self.boundaries(), &right));
        let afresh = Table::new(self.addresses.clone(), self.routes.iter().copied());
        assert_eq!(self.table.len(), afresh.len());
        assert_eq!(self.table.size(), afresh.size(), "prefixes that nobody asks for");
    }

    /// No assignment that answers as this one does is smaller.
    pub fn check_entries(&self) {
        let mut boundaries = self.boundaries();
        boundaries.extend(self.entries.keys());
        assert_eq!(self.entries.len(), fewest(&boundaries, &|at| look_up(&self.entries, at)));
    }
}

/// Without routes that are there already.
fn once(routes: Vec<Route>) -> Vec<Route> {
    let mut seen = Vec::new();
    for route in routes {
        if !seen.contains(&route) {
            seen.push(route);
        }
    }
    seen
}
