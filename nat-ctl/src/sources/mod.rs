//! The choices that the rules in force refer to, kept in step with this host: one table for each
//! source model and outside interface.
mod kept;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use nat_common::{source::Choice as Entry, verdict::Verdict};

use self::kept::{Kept, Model};
use crate::{
    datapath::{ChoiceChange, Choices},
    host::{AddressOrder, Network, NetworkDelta},
    source::{
        Egress, Error, Host, Rule, TableKey,
        table::{Change, Choice},
    },
};

/// See the module.
#[derive(Default)]
pub struct Sources {
    order: Vec<(String, Vec<(Ipv4Addr, bool)>)>,
    tables: BTreeMap<TableKey, Kept>,
}

/// A default source that has become another one although it could have stayed: the trap of TMG's
/// "default IP address", which moves when an address is added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    pub key: TableKey,
    pub old: Ipv4Addr,
    pub new: Ipv4Addr,
    /// What decided for the new one.
    pub rule: Rule,
}

/// What a change of the host makes of the tables.
#[derive(Debug, Default)]
pub struct Followed {
    /// In an order in which they can be made one by one.
    pub changes: Vec<(TableKey, Vec<ChoiceChange>)>,
    pub moved: Vec<Moved>,
}

/// What a process that has ended had chosen.
pub type Remembered = BTreeMap<TableKey, Vec<(Ipv4Net, Choice)>>;

impl Sources {
    /// Adds those of `wanted` that are missing. Sticky ones begin with what was chosen before.
    pub fn add(
        &mut self,
        wanted: &BTreeSet<TableKey>,
        network: &Network,
        order: &AddressOrder,
        remembered: &Remembered,
    ) {
        self.order = order.to_vec();
        for key in wanted {
            if self.tables.contains_key(key) {
                continue;
            }
            let before = self.predecessor(key).or_else(|| remembered.get(key).cloned());
            let model = self.model(key, network);
            let kept = Kept::new(key, model, network, before.unwrap_or_default());
            self.tables.insert(*key, kept);
        }
    }

    /// Forgets all others, and goes back to an order of addresses.
    pub fn keep(&mut self, wanted: &BTreeSet<TableKey>, order: &AddressOrder) {
        self.tables.retain(|key, _| wanted.contains(key));
        self.order = order.to_vec();
    }

    /// Follows a change of the host.
    pub fn follow(&mut self, network: &Network, delta: &NetworkDelta) -> Followed {
        let mut followed = Followed::default();
        let mut tables = std::mem::take(&mut self.tables);
        for (key, kept) in &mut tables {
            let model = delta.links.then(|| self.model(key, network));
            let default = model.as_ref().and_then(|_| kept.default_source());
            let changes = kept.follow(key, network, delta, model.as_ref());
            if let Some((old, _)) = default {
                followed.moved.extend(kept.moved(key, old, network));
            }
            if !changes.is_empty() {
                followed.changes.push((*key, changes.into_iter().map(step).collect()));
            }
        }
        self.tables = tables;
        followed
    }

    /// Why a table has no address for anybody; None if it has one.
    pub fn lack(&self, key: &TableKey) -> Option<Error> {
        let mut lack = Error::NoRoute;
        for (_, choice) in self.tables.get(key).map(Kept::entries).unwrap_or_default() {
            match choice {
                Choice::Source(_) => return None,
                Choice::NoSource => lack = Error::NoSource,
                Choice::NoRoute | Choice::NotUnicast => {}
            }
        }
        Some(lack)
    }

    /// What the table of the same rules has chosen so far under another configuration.
    fn predecessor(&self, key: &TableKey) -> Option<Vec<(Ipv4Net, Choice)>> {
        let old = self.tables.iter().find(|(old, _)| key.succeeds(old));
        old.map(|(_, kept)| kept.entries())
    }

    fn model(&self, key: &TableKey, network: &Network) -> Model {
        let host = Host { interfaces: network.to_interfaces(&self.order), routes: Vec::new() };
        let link = network.links.iter().find(|link| link.index == key.ifindex);
        let name = link.map_or("", |link| &link.name);
        let egress = Egress::new(&host, name, key.model, &key.options);
        Model { egress, sticky: key.sticky }
    }
}

impl Choices for Sources {
    fn entries(&self, key: &TableKey) -> Vec<(Ipv4Net, Entry)> {
        let entries = self.tables.get(key).map(Kept::entries).unwrap_or_default();
        entries.into_iter().map(|(prefix, choice)| (prefix, entry(choice))).collect()
    }
}

/// A choice as the data path has it.
fn entry(choice: Choice) -> Entry {
    match choice {
        Choice::Source(address) => Entry::chosen(address.into()),
        Choice::NoRoute => Entry::refused(Verdict::NoRoute),
        Choice::NoSource => Entry::refused(Verdict::NoSource),
        Choice::NotUnicast => Entry::refused(Verdict::NotUnicast),
    }
}

fn step(change: Change) -> ChoiceChange {
    match change {
        Change::Set(prefix, choice) => (prefix, Some(entry(choice))),
        Change::Remove(prefix) => (prefix, None),
    }
}

/// The reverse of [`entry`], for what another process has written.
pub fn choice(entry: Entry) -> Choice {
    match entry.address() {
        Ok(address) => Choice::Source(address.into()),
        Err(Verdict::NoSource) => Choice::NoSource,
        Err(Verdict::NotUnicast) => Choice::NotUnicast,
        Err(_) => Choice::NoRoute,
    }
}

#[cfg(test)]
mod tests;
