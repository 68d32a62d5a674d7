//! Typed handles of the pinned maps. Names and types are those of `nat-ebpf/src/maps.rs`.
use aya::{
    Pod,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray},
};
use nat_common::{
    flow::FlowKey,
    instance::{Instance, Interface, RuleName},
    pool::{Pool, PoolKey},
    rule::{PrefixKey, Rule, RuleBits},
    session::Session,
    settings::{Control, Settings},
    stats::{Counter, RuleCounters},
};

use super::{batch::BatchMap, pins::Pins};
use crate::datapath::Error;

/// The session maps, whose size the configuration gives.
pub const SESSION_MAPS: [&str; 2] = ["OUTBOUND", "INBOUND"];

/// All pinned maps.
pub const PINNED_MAPS: [&str; 14] = [
    "OUTBOUND",
    "INBOUND",
    "CONTROL",
    "SETTINGS",
    "FROM",
    "TO",
    "SUBSETS",
    "RULES",
    "POOLS",
    "INTERFACES",
    "VERDICTS",
    "RULE_COUNTERS",
    "RULE_NAMES",
    "INSTANCE",
];

/// The maps of an attached instance.
pub struct Maps {
    pub outbound: BatchMap<FlowKey, Session>,
    pub inbound: BatchMap<FlowKey, Session>,
    pub control: Array<MapData, Control>,
    pub settings: Array<MapData, Settings>,
    pub from: LpmTrie<MapData, PrefixKey, RuleBits>,
    pub to: LpmTrie<MapData, PrefixKey, RuleBits>,
    pub subsets: Array<MapData, RuleBits>,
    pub rules: Array<MapData, Rule>,
    pub pools: HashMap<MapData, PoolKey, Pool>,
    pub interfaces: HashMap<MapData, u32, Interface>,
    pub verdicts: PerCpuArray<MapData, Counter>,
    pub rule_counters: PerCpuArray<MapData, RuleCounters>,
    pub rule_names: Array<MapData, RuleName>,
    pub instance: Array<MapData, Instance>,
}

impl Maps {
    /// Opens the maps of an attached instance.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        Ok(Self {
            outbound: batch(pins, "OUTBOUND")?,
            inbound: batch(pins, "INBOUND")?,
            control: array(pins, "CONTROL")?,
            settings: array(pins, "SETTINGS")?,
            from: trie(pins, "FROM")?,
            to: trie(pins, "TO")?,
            subsets: array(pins, "SUBSETS")?,
            rules: array(pins, "RULES")?,
            pools: hash(pins, "POOLS")?,
            interfaces: hash(pins, "INTERFACES")?,
            verdicts: per_cpu(pins, "VERDICTS")?,
            rule_counters: per_cpu(pins, "RULE_COUNTERS")?,
            rule_names: array(pins, "RULE_NAMES")?,
            instance: array(pins, "INSTANCE")?,
        })
    }
}

/// The constructors check key and value sizes against the kernel's.
fn open<T: TryFrom<Map, Error = MapError>>(
    pins: &Pins,
    name: &str,
    kind: fn(MapData) -> Map,
) -> Result<T, Error> {
    let path = pins.map(name);
    MapData::from_pin(&path)
        .and_then(|data| T::try_from(kind(data)))
        .map_err(|error| Error::kernel(format!("cannot open {}", path.display()))(error.into()))
}

fn hash<K: Pod, V: Pod>(pins: &Pins, name: &str) -> Result<HashMap<MapData, K, V>, Error> {
    open(pins, name, Map::HashMap)
}

fn batch<K: Pod, V: Pod>(pins: &Pins, name: &str) -> Result<BatchMap<K, V>, Error> {
    let path = pins.map(name);
    BatchMap::new(|| MapData::from_pin(&path))
        .map_err(|error| Error::kernel(format!("cannot open {}", path.display()))(error.into()))
}

fn array<V: Pod>(pins: &Pins, name: &str) -> Result<Array<MapData, V>, Error> {
    open(pins, name, Map::Array)
}

fn per_cpu<V: Pod>(pins: &Pins, name: &str) -> Result<PerCpuArray<MapData, V>, Error> {
    open(pins, name, Map::PerCpuArray)
}

fn trie<K: Pod, V: Pod>(pins: &Pins, name: &str) -> Result<LpmTrie<MapData, K, V>, Error> {
    open(pins, name, Map::LpmTrie)
}
