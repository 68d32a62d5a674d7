//! One table, and what it takes to keep it up to date.
use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;

use super::Moved;
use crate::{
    host::{self, Network, NetworkDelta},
    source::{
        Egress, Error, TableKey,
        table::{self, Change, Choice, Chooser, Edit, Route, Table},
    },
};

/// A source model on an outside interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Model {
    pub egress: Egress,
    /// Whether a destination keeps its source while that is a candidate.
    pub sticky: bool,
}

impl Chooser for Model {
    fn choose(&self, next_hop: Ipv4Addr, destination: Ipv4Addr) -> Choice {
        match self.egress.choose(next_hop, destination) {
            Ok((address, _)) => Choice::Source(address),
            Err(Error::NotUnicast) => Choice::NotUnicast,
            Err(Error::NoRoute) => Choice::NoRoute,
            Err(_) => Choice::NoSource,
        }
    }

    fn unrouted(&self, destination: Ipv4Addr) -> Choice {
        match self.egress.choose(destination, destination) {
            Err(Error::NotUnicast) => Choice::NotUnicast,
            _ => Choice::NoRoute,
        }
    }

    fn points(&self) -> Vec<Ipv4Net> {
        self.egress.points().collect()
    }

    fn keeps(&self, source: Ipv4Addr) -> bool {
        self.sticky && self.egress.addresses().contains(&source)
    }
}

pub struct Kept(Table<Model>);

impl Kept {
    /// `before` is the assignment in force, of which a sticky model may keep something.
    pub fn new(
        key: &TableKey,
        model: Model,
        network: &Network,
        before: Vec<(Ipv4Net, Choice)>,
    ) -> Self {
        let before = if model.sticky { before } else { Vec::new() };
        Self(Table::resume(model, all_routes(key, network), before).0)
    }

    /// The whole assignment.
    pub fn entries(&self) -> Vec<(Ipv4Net, Choice)> {
        self.0.entries()
    }

    /// Follows a change of the host; `model` is its new state, if links are part of the change. Says
    /// what it changes, in an order in which every destination has its old or its new answer after
    /// each step.
    pub fn follow(
        &mut self,
        key: &TableKey,
        network: &Network,
        delta: &NetworkDelta,
        model: Option<&Model>,
    ) -> Vec<Change> {
        let table = &mut self.0;
        // What was never in force must not stick.
        let two_at_once = key.sticky && model.is_some() && !delta.routes.is_empty();
        // The place of every route may be another.
        if delta.tables || two_at_once {
            let model = model.unwrap_or(table.chooser()).clone();
            let (new, changes) = Table::resume(model, all_routes(key, network), table.entries());
            *table = new;
            return changes;
        }
        let edits = |list: &[host::routes::Route], edit: fn(Route) -> Edit| -> Vec<Edit> {
            routes(key, network, list.iter().copied()).map(edit).collect()
        };
        let removed = edits(&delta.routes.removed, Edit::Remove);
        let added = edits(&delta.routes.added, Edit::Insert);
        let changes = table.update(removed.into_iter().chain(added));
        match model.filter(|model| *model != table.chooser()) {
            Some(model) => both(changes, table.set_chooser(model.clone())),
            None => changes,
        }
    }

    /// What most destinations get: the source of the widest prefix that has one, and a destination
    /// in it.
    pub fn default_source(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let sources = self.entries().into_iter().filter_map(|(prefix, choice)| match choice {
            Choice::Source(address) => Some((prefix, address)),
            _ => None,
        });
        let (prefix, address) = sources.min_by_key(|(prefix, _)| prefix.prefix_len())?;
        Some((address, prefix.hosts().next()?))
    }

    /// Whether the default has moved away from an address that is still there.
    pub fn moved(&self, key: &TableKey, old: Ipv4Addr, network: &Network) -> Option<Moved> {
        let egress = &self.0.chooser().egress;
        let (new, destination) = self.default_source()?;
        if new == old || !egress.addresses().contains(&old) {
            return None;
        }
        let route = all_routes(key, network)
            .filter(|route| route.dst.contains(&destination))
            .min_by_key(|route| (route.table, 32 - route.dst.prefix_len(), route.metric))?;
        let next_hop = route.via.unwrap_or(destination);
        let (_, rule) = egress.choose(next_hop, destination).ok()?;
        Some(Moved { key: *key, old, new, rule })
    }
}

/// Two changes as one: no destination sees what is between them.
fn both(first: Vec<Change>, second: Vec<Change>) -> Vec<Change> {
    let prefix = |change: &Change| match change {
        Change::Set(prefix, _) | Change::Remove(prefix) => *prefix,
    };
    let changes = first.into_iter().chain(second);
    let last: BTreeMap<_, _> = changes.map(|change| (prefix(&change), change)).collect();
    let mut changes: Vec<_> = last.into_values().collect();
    table::safe_order(&mut changes);
    changes
}

fn all_routes(key: &TableKey, network: &Network) -> impl Iterator<Item = Route> {
    routes(key, network, network.routes.iter())
}

/// Routes over the interface of a table, as tables want them.
fn routes(
    key: &TableKey,
    network: &Network,
    routes: impl Iterator<Item = host::routes::Route>,
) -> impl Iterator<Item = Route> {
    let here = routes.filter(|route| route.dev == key.ifindex);
    here.filter_map(|route| {
        let table = network.tables.position(route.table, route.dst.prefix_len())?;
        Some(Route { dst: route.dst, table, via: route.via, metric: route.metric })
    })
}
