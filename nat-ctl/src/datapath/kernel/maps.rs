//! Typed handles of the pinned maps. Names and types are those of `nat-ebpf/src/maps.rs`.
use aya::{
    Pod,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, Queue},
};
use nat_common::{
    addr::Ipv4,
    cooldown::{CooldownCounters, Rested, Resting},
    external::{ExternalKey, ExternalPorts},
    flow::FlowKey,
    fragment::{Datagram, FragmentKey},
    guard::{Guard, LocalKey},
    hint::{self, CHUNKS, Chunk, Place, WAYS},
    instance::{ConfigChunk, ConfigInfo, Device, Instance, Interface, RuleName},
    limit::Client,
    limits::{
        CHOICES_MAX, CONFIG_CHUNKS_MAX, EXTERNALS_MAX, FRAGMENTS_MAX, GUARDS_MAX, INTERFACES_MAX,
        LOCAL_ADDRESSES_MAX, POOLS_MAX, PREFIXES_MAX, PROTOCOLS, RULE_IDS_MAX, RULES_MAX,
    },
    mapping::{Mapping, Owner, Shared},
    pool::{Pool, PoolKey},
    rule::{PrefixKey, Rule, RuleBits, Subset},
    session::Session,
    settings::{Control, SLOTS, Settings},
    source::{Choice, ChoiceKey},
    stats::{COUNTERS, Counter, RuleCounters},
};

use super::{batch::BatchMap, pins::Pins};
use crate::datapath::{Error, error::chain};

/// The maps of sessions, of those who have them and of what they share, whose size the configuration
/// gives.
pub const SESSION_MAPS: [&str; 6] =
    ["OUTBOUND", "INBOUND", "CLIENTS", "MAPPINGS", "OWNERS", "PERMISSIONS"];

/// The maps of resting tuples, likewise.
pub const COOLING_MAPS: [&str; 2] = ["COOLING", "COOLING_ORDER"];

/// All pinned maps.
pub const PINNED_MAPS: [&str; 34] = [
    "OUTBOUND",
    "INBOUND",
    "CLIENTS",
    "MAPPINGS",
    "OWNERS",
    "PERMISSIONS",
    "COOLING",
    "COOLING_ORDER",
    "COOLED",
    "HINT_SETS",
    "HINT_PLACES",
    "HINT_CHUNKS",
    "COOLDOWN_COUNTERS",
    "CONTROL",
    "SETTINGS",
    "FROM",
    "TO",
    "SUBSETS",
    "RULES",
    "POOLS",
    "CHOICES",
    "GUARDS",
    "LOCALS",
    "EXTERNALS",
    "FRAGMENTS",
    "FRAGMENTS_PASSED",
    "INTERFACES",
    "DEVICES",
    "VERDICTS",
    "RULE_COUNTERS",
    "RULE_NAMES",
    "CONFIG_INFO",
    "CONFIG",
    "INSTANCE",
];

/// Numbers of entries that the configuration gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    pub sessions: u32,
    pub cooling: u32,
}

impl Sizes {
    /// Sets of the maps of hints that go with these.
    pub fn hint_sets(self) -> u32 {
        hint::sets(self.sessions, self.cooling)
    }
}

/// The maps of an attached instance.
pub struct Maps {
    pub outbound: BatchMap<FlowKey, Session>,
    pub inbound: BatchMap<FlowKey, Session>,
    pub clients: BatchMap<Ipv4, Client>,
    pub mappings: BatchMap<FlowKey, Mapping>,
    pub owners: BatchMap<FlowKey, Owner>,
    pub permissions: BatchMap<FlowKey, Shared>,
    pub cooling: BatchMap<FlowKey, Resting>,
    pub cooling_order: Queue<MapData, Rested>,
    pub cooled: Array<MapData, u32>,
    pub hint_sets: Array<MapData, [u64; WAYS as usize]>,
    pub hint_places: Array<MapData, Place>,
    pub hint_chunks: Array<MapData, Chunk>,
    pub cooldown_counters: PerCpuArray<MapData, CooldownCounters>,
    pub control: Array<MapData, Control>,
    pub settings: Array<MapData, Settings>,
    pub from: LpmTrie<MapData, PrefixKey, RuleBits>,
    pub to: LpmTrie<MapData, PrefixKey, RuleBits>,
    pub subsets: Array<MapData, RuleBits>,
    pub rules: Array<MapData, Rule>,
    pub pools: HashMap<MapData, PoolKey, Pool>,
    pub choices: LpmTrie<MapData, ChoiceKey, Choice>,
    pub guards: LpmTrie<MapData, PrefixKey, Guard>,
    pub locals: HashMap<MapData, LocalKey, u32>,
    pub externals: HashMap<MapData, ExternalKey, ExternalPorts>,
    pub fragments: HashMap<MapData, FragmentKey, Datagram>,
    pub fragments_passed: HashMap<MapData, FragmentKey, u64>,
    pub interfaces: HashMap<MapData, u32, Interface>,
    pub devices: Array<MapData, Device>,
    pub verdicts: PerCpuArray<MapData, Counter>,
    pub rule_counters: PerCpuArray<MapData, RuleCounters>,
    pub rule_names: Array<MapData, RuleName>,
    pub config_info: Array<MapData, ConfigInfo>,
    pub config: Array<MapData, ConfigChunk>,
    pub instance: Array<MapData, Instance>,
}

impl Maps {
    /// Opens the maps of an instance, and checks that each is what this program would make: aya
    /// compares nothing when it uses a pinned map.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        let instance: Array<MapData, Instance> = array(pins, "INSTANCE", 1)?;
        let recorded = instance
            .get(&0, 0)
            .map_err(|error| Error::kernel("cannot read the instance")(error.into()))?;
        let sizes = Sizes { sessions: recorded.max_sessions, cooling: recorded.max_cooling };
        Self::open_sized(pins, instance, sizes)
    }

    /// [`Maps::open`] for an instance whose record is not written yet.
    pub fn open_new(pins: &Pins, sizes: Sizes) -> Result<Self, Error> {
        Self::open_sized(pins, array(pins, "INSTANCE", 1)?, sizes)
    }

    fn open_sized(
        pins: &Pins,
        instance: Array<MapData, Instance>,
        sizes: Sizes,
    ) -> Result<Self, Error> {
        Ok(Self {
            outbound: batch(pins, "OUTBOUND", sizes.sessions)?,
            inbound: batch(pins, "INBOUND", sizes.sessions)?,
            clients: batch(pins, "CLIENTS", sizes.sessions)?,
            mappings: batch(pins, "MAPPINGS", sizes.sessions)?,
            owners: batch(pins, "OWNERS", sizes.sessions)?,
            permissions: batch(pins, "PERMISSIONS", sizes.sessions)?,
            cooling: batch(pins, "COOLING", sizes.cooling)?,
            cooling_order: open(pins, "COOLING_ORDER", sizes.cooling)?,
            cooled: array(pins, "COOLED", PROTOCOLS)?,
            hint_sets: array(pins, "HINT_SETS", sizes.hint_sets())?,
            hint_places: array(pins, "HINT_PLACES", sizes.hint_sets() * WAYS)?,
            hint_chunks: array(pins, "HINT_CHUNKS", sizes.hint_sets() * WAYS * CHUNKS)?,
            cooldown_counters: open(pins, "COOLDOWN_COUNTERS", 1)?,
            control: array(pins, "CONTROL", 1)?,
            settings: array(pins, "SETTINGS", SLOTS)?,
            from: open(pins, "FROM", PREFIXES_MAX)?,
            to: open(pins, "TO", PREFIXES_MAX)?,
            subsets: array(pins, "SUBSETS", SLOTS * Subset::COUNT)?,
            rules: array(pins, "RULES", SLOTS * RULES_MAX)?,
            pools: open(pins, "POOLS", POOLS_MAX)?,
            choices: open(pins, "CHOICES", CHOICES_MAX)?,
            guards: open(pins, "GUARDS", GUARDS_MAX)?,
            locals: open(pins, "LOCALS", LOCAL_ADDRESSES_MAX)?,
            externals: open(pins, "EXTERNALS", EXTERNALS_MAX)?,
            fragments: open(pins, "FRAGMENTS", FRAGMENTS_MAX)?,
            fragments_passed: open(pins, "FRAGMENTS_PASSED", FRAGMENTS_MAX)?,
            interfaces: open(pins, "INTERFACES", INTERFACES_MAX)?,
            devices: array(pins, "DEVICES", INTERFACES_MAX)?,
            verdicts: open(pins, "VERDICTS", COUNTERS)?,
            rule_counters: open(pins, "RULE_COUNTERS", RULE_IDS_MAX)?,
            rule_names: array(pins, "RULE_NAMES", RULE_IDS_MAX)?,
            config_info: array(pins, "CONFIG_INFO", SLOTS)?,
            config: array(pins, "CONFIG", SLOTS * CONFIG_CHUNKS_MAX)?,
            instance,
        })
    }
}

/// Opens a map of the type that `T` is for. The conversion compares map type, key and value sizes
/// with the kernel's.
fn open<T: TryFrom<Map, Error = MapError>>(
    pins: &Pins,
    name: &str,
    entries: u32,
) -> Result<T, Error> {
    let data = data(pins, name, entries)?;
    Map::from_map_data(data).and_then(T::try_from).map_err(|error| damaged(pins, name, &error))
}

fn array<V: Pod>(pins: &Pins, name: &str, entries: u32) -> Result<Array<MapData, V>, Error> {
    open(pins, name, entries)
}

fn batch<K: Pod, V: Pod>(pins: &Pins, name: &str, entries: u32) -> Result<BatchMap<K, V>, Error> {
    open(pins, name, entries).map(BatchMap::new)
}

fn data(pins: &Pins, name: &str, entries: u32) -> Result<MapData, Error> {
    let data = MapData::from_pin(pins.map(name)).map_err(|error| damaged(pins, name, &error))?;
    let info = data.info().map_err(|error| damaged(pins, name, &error))?;
    if info.max_entries() != entries {
        let why = format!("it has room for {}, expected {entries}", info.max_entries());
        return Err(Error::Damaged {
            instance: pins.instance().to_owned(),
            map: name.to_owned(),
            why,
        });
    }
    Ok(data)
}

fn damaged(pins: &Pins, name: &str, error: &MapError) -> Error {
    let why = chain(error);
    Error::Damaged { instance: pins.instance().to_owned(), map: name.to_owned(), why }
}
