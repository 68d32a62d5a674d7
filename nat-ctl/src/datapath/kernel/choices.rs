//! Choices by destination ↔ the map that holds all of them.
//!
//! A table has a number of its own and outlives generations: rule tables refer to it by that
//! number, and what changes on the host changes it in place, prefix by prefix.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use aya::maps::{MapError, lpm_trie::Key};
use ipnet::Ipv4Net;
use nat_common::{
    addr::Ipv4,
    source::{Choice, ChoiceKey},
};

use super::maps::Maps;
use crate::{
    datapath::{ChoiceChange, Error},
    source::TableKey,
};

/// The tables that this process has written.
#[derive(Debug, Default)]
pub struct Tables {
    numbers: BTreeMap<TableKey, u32>,
    /// Whether the map holds these tables and no others, as far as this process knows.
    clean: bool,
}

impl Tables {
    /// Number of a table that has been written.
    pub fn number(&self, key: &TableKey) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    /// Writes tables under new numbers. Those that it cannot finish have to be forgotten.
    pub fn add(
        &mut self,
        maps: &mut Maps,
        keys: &[TableKey],
        entries: impl Fn(&TableKey) -> Vec<(Ipv4Net, Choice)>,
    ) -> Result<(), MapError> {
        for key in keys {
            let number = self.unused(maps)?;
            self.numbers.insert(*key, number);
            for (prefix, choice) in entries(key) {
                maps.choices.insert(&trie_key(number, prefix), choice, 0)?;
            }
        }
        Ok(())
    }

    /// Forgets every table but those.
    pub fn keep(&mut self, wanted: &BTreeSet<TableKey>) {
        let before = self.numbers.len();
        self.numbers.retain(|key, _| wanted.contains(key));
        self.clean &= self.numbers.len() == before;
    }

    /// Forgets tables whose contents are not as they should be.
    pub fn forget(&mut self, keys: &[TableKey]) {
        self.numbers.retain(|key, _| !keys.contains(key));
        self.clean = false;
    }

    /// Removes what no rule table in force refers to.
    pub fn clear(&mut self, maps: &mut Maps, in_force: u32) -> Result<(), MapError> {
        if self.clean {
            return Ok(());
        }
        let referred = referred(maps, |generation| generation == in_force)?;
        let keys: Vec<Key<ChoiceKey>> = maps.choices.keys().collect::<Result<_, _>>()?;
        for key in keys.iter().filter(|key| !referred.contains(&key.data().table)) {
            maps.choices.remove(key)?;
        }
        self.clean = true;
        Ok(())
    }

    /// Changes a table in place, in the given order.
    pub fn change(
        &mut self,
        maps: &mut Maps,
        key: &TableKey,
        changes: &[ChoiceChange],
    ) -> Result<(), Error> {
        let Some(number) = self.number(key) else { return Ok(()) };
        let changed = changes.iter().try_for_each(|change| {
            let (prefix, choice) = *change;
            match choice {
                Some(choice) => maps.choices.insert(&trie_key(number, prefix), choice, 0),
                None => match maps.choices.remove(&trie_key(number, prefix)) {
                    // Two changes in one: the first would have added it.
                    Err(MapError::KeyNotFound) => Ok(()),
                    removed => removed,
                },
            }
        });
        changed.map_err(|error| {
            // Half old, half new: the next rule table gets a whole one.
            self.forget(&[*key]);
            Error::kernel("cannot change the choice of external addresses")(error.into())
        })
    }

    /// A number that no rule table and no table of this process has.
    fn unused(&self, maps: &Maps) -> Result<u32, MapError> {
        let mut used = referred(maps, |_| true)?;
        used.extend(self.numbers.values());
        let free = (1..=u32::MAX).find(|number| !used.contains(number));
        Ok(free.unwrap_or(u32::MAX))
    }
}

/// Numbers of the tables that pools of certain generations refer to.
fn referred(maps: &Maps, of: impl Fn(u32) -> bool) -> Result<BTreeSet<u32>, MapError> {
    let mut numbers = BTreeSet::new();
    for entry in maps.pools.iter() {
        let (key, pool) = entry?;
        if of(key.generation) && pool.table != 0 {
            numbers.insert(pool.table);
        }
    }
    Ok(numbers)
}

/// All tables by number.
pub fn read(maps: &Maps) -> Result<HashMap<u32, Vec<(Ipv4Net, Choice)>>, MapError> {
    let mut tables: HashMap<u32, Vec<(Ipv4Net, Choice)>> = HashMap::new();
    for entry in maps.choices.iter() {
        let (key, choice) = entry?;
        let ChoiceKey { table, destination } = key.data();
        let bits = key.prefix_len().saturating_sub(ChoiceKey::TABLE_BITS).min(32) as u8;
        if let Ok(prefix) = Ipv4Net::new(destination.into(), bits) {
            tables.entry(table).or_default().push((prefix, choice));
        }
    }
    tables.values_mut().for_each(|entries| entries.sort_by_key(|(prefix, _)| *prefix));
    Ok(tables)
}

fn trie_key(table: u32, prefix: Ipv4Net) -> Key<ChoiceKey> {
    let destination = Ipv4::from(prefix.network());
    let bits = ChoiceKey::TABLE_BITS + u32::from(prefix.prefix_len());
    Key::new(bits, ChoiceKey { table, destination })
}
