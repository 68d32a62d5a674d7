//! Rule table → maps.
//!
//! A table is written beside the one in force, under the next generation, and put in force by one
//! store to the control map. What is left of the generation before is removed when the next table
//! is written, so that a packet that has just read the old generation still finds it whole.
use std::collections::{BTreeSet, HashMap};

use aya::{
    maps::{MapError, PerCpuValues, lpm_trie::Key},
    util::nr_cpus,
};
use ipnet::Ipv4Net;
use nat_common::{
    addr::{Ipv4, Port},
    external::ExternalKey,
    guard::LocalKey,
    instance::{RuleName, stored, text},
    limits::{POOL_ADDRESSES_MAX, RULE_IDS_MAX, RULE_NAME_BYTES, RULES_MAX},
    pool::{Pool, PoolKey},
    rule::{PrefixKey, Rule, RuleBits, Subset},
    settings::{Control, Settings, slot},
    stats::RuleCounters,
};

use super::{choices::Tables, config_text, cooling::Lacking, maps::Maps};
use crate::{
    compile::{External, RuleTable},
    datapath::{Choices, ConfigText, Error},
    port_sets, rule_ids,
    source::TableKey,
};

/// Puts `table` and the configuration that it was made from in force. Of the tables of choices that
/// it refers to, those that are not there yet are written whole.
pub fn apply(
    maps: &mut Maps,
    tables: &mut Tables,
    table: &RuleTable,
    choices: &dyn Choices,
    config: &ConfigText,
) -> Result<(), Error> {
    config_text::check(config)?;
    let in_force = generation(maps)?;
    let next = in_force.wrapping_add(1).max(1);
    let cooldown = &table.settings.cooldown;
    let rests_anew = maps.settings_in_force()?.is_none_or(|old| old.cooldown != *cooldown);
    if rests_anew {
        // Before the change, so that no port that rests is used in between.
        maps.widen(cooldown)?;
    }
    remove_others(maps, in_force)?;
    tables.clear(maps, in_force).map_err(removing)?;
    let wanted: BTreeSet<TableKey> = table.choices().collect();
    let missing: Vec<TableKey> =
        wanted.iter().filter(|key| tables.number(key).is_none()).copied().collect();
    let written = name_rules(maps, table)
        .and_then(|ids| {
            let (settings, rules) = entries(maps, table, &ids, next)?;
            tables.add(maps, &missing, |key| choices.entries(key)).map_err(writing)?;
            write(maps, tables, table, &rules, next).map_err(writing)?;
            maps.settings.set(slot(next), settings, 0).map_err(writing)
        })
        .and_then(|()| config_text::write(maps, config, next).map_err(writing))
        .and_then(|()| {
            let control = Control { generation: next, zero: 0 };
            maps.control.set(0, control, 0).map_err(writing)
        });
    match written {
        Ok(()) => {
            tables.keep(&wanted);
            if rests_anew {
                // And after it, for the sessions that have ended meanwhile.
                say(&maps.widen(cooldown));
            }
        }
        Err(_) => {
            tables.forget(&missing);
            // The first error says more than one of this.
            let _ = remove_others(maps, in_force);
        }
    }
    written
}

/// Says what could not be made to rest toward everybody: the table is in force all the same.
fn say(widened: &Result<Lacking, Error>) {
    match widened {
        Ok(Lacking(0)) => {}
        Ok(Lacking(count)) => tracing::warn!(
            "{count} ports that rest toward one destination cannot rest toward everybody: there is no \
             room; raise `max_cooling` in [cooldown], which takes effect after `nat-ctl detach`"
        ),
        Err(error) => tracing::error!("{error}"),
    }
}

/// The generation in force; 0 for none.
pub fn generation(maps: &Maps) -> Result<u32, Error> {
    let control = maps.control.get(&0, 0);
    Ok(control
        .map_err(|error| Error::kernel("cannot read the control map")(error.into()))?
        .generation)
}

fn removing(error: MapError) -> Error {
    Error::kernel("cannot remove an old rule table")(error.into())
}

fn writing(error: MapError) -> Error {
    Error::kernel("cannot write the rule table")(error.into())
}

/// Gives every rule its identity, keeping those of names that are known.
fn name_rules(maps: &mut Maps, table: &RuleTable) -> Result<Vec<u32>, Error> {
    let known = names(maps)?;
    let in_use = rule_ids::in_use(maps.outbound_rules()?);
    let wanted: Vec<_> = table.rules.iter().map(|rule| rule.name.as_str()).collect();
    let ids = rule_ids::assign(&known, &in_use, &wanted, RULE_IDS_MAX)
        .ok_or(Error::NoRuleId(RULE_IDS_MAX as usize))?;
    for (&id, name) in ids.iter().zip(&wanted) {
        if known.get(&id).map(String::as_str) != Some(name) {
            // Names fit: the configuration limits them.
            let bytes = stored(name).unwrap_or([0; RULE_NAME_BYTES]);
            maps.rule_names.set(id, RuleName(bytes), 0).map_err(writing)?;
            // Whatever the identity's last owner has counted.
            let cpus = nr_cpus()
                .map_err(|(_, error)| Error::kernel("cannot count the CPUs")(error.into()))?;
            let zeros = PerCpuValues::try_from(vec![RuleCounters::default(); cpus])
                .map_err(|error| Error::kernel("cannot count the CPUs")(error.into()))?;
            maps.rule_counters.set(id, zeros, 0).map_err(writing)?;
        }
    }
    Ok(ids)
}

/// Names by identity.
pub fn names(maps: &Maps) -> Result<HashMap<u32, String>, Error> {
    let mut names = HashMap::new();
    for id in 0..RULE_IDS_MAX {
        let name = maps.rule_names.get(&id, 0);
        let name =
            name.map_err(|error| Error::kernel("cannot read the rule names")(error.into()))?;
        if !text(&name.0).is_empty() {
            names.insert(id, text(&name.0).to_owned());
        }
    }
    Ok(names)
}

/// The settings and rules of the next table. Of the one in force they keep what is known of ports.
fn entries(
    maps: &Maps,
    table: &RuleTable,
    ids: &[u32],
    generation: u32,
) -> Result<(Settings, Vec<Rule>), Error> {
    let (mut settings, old_settings) = (table.settings, maps.settings_in_force()?);
    let old_rules: Vec<Rule> = rules_in_force(maps)?.into_iter().map(|(_, rule)| rule).collect();
    let rules = table.rules.iter().zip(ids).map(|(rule, &id)| Rule {
        id,
        ports: rule.ports,
        action: rule.action as u8,
        pooling: rule.pooling as u8,
        mss: rule.mss,
        behaviour: rule.behaviour,
        port_set: 0,
        range: Port::new(rule.range),
        zero: [0; 2],
    });
    let mut rules: Vec<Rule> = rules.collect();
    let before = old_settings.as_ref().map(|settings| (settings, old_rules.as_slice()));
    port_sets::keep(before, generation, &mut settings, &mut rules);
    Ok((settings, rules))
}

fn write(
    maps: &mut Maps,
    tables: &Tables,
    table: &RuleTable,
    rules: &[Rule],
    generation: u32,
) -> Result<(), MapError> {
    for (trie, prefixes) in [(&mut maps.from, &table.from), (&mut maps.to, &table.to)] {
        for (prefix, bits) in prefixes {
            trie.insert(&trie_key(generation, *prefix), bits, 0)?;
        }
    }
    for (prefix, guard) in &table.guards {
        maps.guards.insert(&trie_key(generation, *prefix), guard, 0)?;
    }
    for (own, address) in &table.locals {
        let address = Ipv4::from(*address);
        for ifindex in [*own, ANY_INTERFACE] {
            maps.locals.insert(LocalKey { generation, ifindex, address }, own, 0)?;
        }
    }
    for (address, protocol, ports) in &table.externals {
        let (address, protocol) = (Ipv4::from(*address), *protocol as u32);
        maps.externals.insert(ExternalKey { generation, address, protocol }, ports, 0)?;
    }
    for (index, bits) in table.subsets.iter().enumerate() {
        maps.subsets.set(slot(generation) * Subset::COUNT + index as u32, bits, 0)?;
    }
    for (position, (rule, entry)) in table.rules.iter().zip(rules).enumerate() {
        maps.rules.set(slot(generation) * RULES_MAX + position as u32, entry, 0)?;
        for (ifindex, external) in &rule.pools {
            let key = PoolKey { generation, rule: position as u32, ifindex: *ifindex };
            maps.pools.insert(key, pool(tables, external), 0)?;
        }
    }
    Ok(())
}

/// [`LocalKey::ifindex`] of every address of this machine.
const ANY_INTERFACE: u32 = 0;

fn pool(tables: &Tables, external: &External) -> Pool {
    let mut pool =
        Pool { table: 0, count: 0, addresses: [Ipv4::UNSPECIFIED; POOL_ADDRESSES_MAX as usize] };
    match external {
        External::Listed(addresses) => {
            pool.count = addresses.len() as u32;
            for (entry, address) in pool.addresses.iter_mut().zip(addresses) {
                *entry = Ipv4::from(*address);
            }
        }
        // Written just before. An empty pool would still drop everything.
        External::Chosen(key) => pool.table = tables.number(key).unwrap_or_default(),
    }
    pool
}

fn trie_key(generation: u32, prefix: Ipv4Net) -> Key<PrefixKey> {
    let address = Ipv4::from(prefix.network());
    let bits = PrefixKey::GENERATION_BITS + u32::from(prefix.prefix_len());
    Key::new(bits, PrefixKey { generation, address })
}

/// Removes what does not belong to the generation in force.
fn remove_others(maps: &mut Maps, in_force: u32) -> Result<(), Error> {
    for trie in [&mut maps.from, &mut maps.to] {
        let keys: Vec<Key<PrefixKey>> = trie.keys().collect::<Result<_, _>>().map_err(removing)?;
        for key in keys.iter().filter(|key| key.data().generation != in_force) {
            trie.remove(key).map_err(removing)?;
        }
    }
    let keys: Vec<Key<PrefixKey>> =
        maps.guards.keys().collect::<Result<_, _>>().map_err(removing)?;
    for key in keys.iter().filter(|key| key.data().generation != in_force) {
        maps.guards.remove(key).map_err(removing)?;
    }
    let keys: Vec<LocalKey> = maps.locals.keys().collect::<Result<_, _>>().map_err(removing)?;
    for key in keys.iter().filter(|key| key.generation != in_force) {
        maps.locals.remove(key).map_err(removing)?;
    }
    let keys: Vec<ExternalKey> =
        maps.externals.keys().collect::<Result<_, _>>().map_err(removing)?;
    for key in keys.iter().filter(|key| key.generation != in_force) {
        maps.externals.remove(key).map_err(removing)?;
    }
    let keys: Vec<PoolKey> = maps.pools.keys().collect::<Result<_, _>>().map_err(removing)?;
    for key in keys.iter().filter(|key| key.generation != in_force) {
        maps.pools.remove(key).map_err(removing)?;
    }
    Ok(())
}

/// Rules in force: (position, rule).
pub fn rules_in_force(maps: &Maps) -> Result<Vec<(u32, Rule)>, Error> {
    let reading = |error: MapError| Error::kernel("cannot read the rule table")(error.into());
    let generation = generation(maps)?;
    let mut members = RuleBits::EMPTY;
    for subset in 0..Subset::COUNT {
        let index = slot(generation) * Subset::COUNT + subset;
        let bits = maps.subsets.get(&index, 0).map_err(reading)?;
        members.0.iter_mut().zip(bits.0).for_each(|(all, more)| *all |= more);
    }
    (0..RULES_MAX)
        .filter(|position| members.contains(*position))
        .map(|position| {
            let index = slot(generation) * RULES_MAX + position;
            Ok((position, maps.rules.get(&index, 0).map_err(reading)?))
        })
        .collect()
}
