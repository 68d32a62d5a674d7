//! Every map: purpose, key, who writes, who reads. The sizes of [`OUTBOUND`] and [`INBOUND`] are
//! placeholders that the loader replaces by `max_sessions`.
use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, Queue, RingBuf},
};
use nat_common::{
    addr::Ipv4,
    cooldown::{CooldownCounters, Rested, Resting},
    external::{ExternalKey, ExternalPorts},
    flow::FlowKey,
    fragment::{Datagram, FragmentKey},
    guard::{Guard, LocalKey},
    hint::{CHUNKS, Chunk, Place, WAYS},
    instance::{ConfigChunk, ConfigInfo, Device, Instance, Interface, RuleName},
    limit::Client,
    limits::{
        CHOICES_MAX, CONFIG_CHUNKS_MAX, EXTERNALS_MAX, FRAGMENTS_MAX, GUARDS_MAX, HELD_RING_BYTES,
        INTERFACES_MAX, LOCAL_ADDRESSES_MAX, POOLS_MAX, PREFIXES_MAX, PROTOCOLS,
        REFUSALS_RING_BYTES, RULE_IDS_MAX, RULES_MAX,
    },
    mapping::{Mapping, Owner, Shared},
    pool::{Pool, PoolKey},
    rule::{PrefixKey, Rule, RuleBits, Subset},
    session::Session,
    settings::{Control, SLOTS, Settings},
    source::{Choice, ChoiceKey},
    stats::{COUNTERS, Counter, Effort, RuleCounters},
};

/// Sessions by (inside, remote). Written and read by the data path; read by the controller's sweep
/// and by the command line. Preallocated and never evicting: when full, new sessions are refused.
#[map]
pub static OUTBOUND: HashMap<FlowKey, Session> = HashMap::with_max_entries(1024, 0);

/// Sessions by (external, remote): replies find their session here, and an entry is the claim on
/// its external tuple. Written and read as [`OUTBOUND`].
#[map]
pub static INBOUND: HashMap<FlowKey, Session> = HashMap::with_max_entries(1024, 0);

/// Inside address → what the client has: as long as it has sessions. Written by the data path, read by
/// the command line. Has room for as many as there can be sessions; its memory is taken as it is needed.
#[map]
pub static CLIENTS: HashMap<Ipv4, Client> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);

/// Mappings by inside endpoint and external address: see [`nat_common::mapping::key`]. Written by the
/// data path, read by it for a flow's first packet and now and then for each session, and by the
/// command line. One for each session at most, and as many as sessions.
#[map]
pub static MAPPINGS: HashMap<FlowKey, Mapping> = HashMap::with_max_entries(1024, 0);

/// Whose an external endpoint is: the claim of a mapping on it. Likewise.
#[map]
pub static OWNERS: HashMap<FlowKey, Owner> = HashMap::with_max_entries(1024, 0);

/// Remote addresses that may answer from any port: [`nat_common::mapping::permission_key`]. Likewise,
/// but its memory is taken as it is needed: few rules filter so.
#[map]
pub static PERMISSIONS: HashMap<FlowKey, Shared> =
    HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);

/// Which rule table is in force. Written by the controller as the last step of a change.
#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

/// Settings by slot. Written by the controller.
#[map]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(SLOTS, 0);

/// Source prefix → rules whose `from` holds it. Written by the controller.
#[map]
pub static FROM: LpmTrie<PrefixKey, RuleBits> = LpmTrie::with_max_entries(PREFIXES_MAX, 0);

/// Destination prefix → rules whose `to` holds it. Written by the controller.
#[map]
pub static TO: LpmTrie<PrefixKey, RuleBits> = LpmTrie::with_max_entries(PREFIXES_MAX, 0);

/// Rules by protocol, and the `snat` rules: slot × [`Subset`]. Written by the controller.
#[map]
pub static SUBSETS: Array<RuleBits> = Array::with_max_entries(SLOTS * Subset::COUNT, 0);

/// Rules by slot and position. Written by the controller.
#[map]
pub static RULES: Array<Rule> = Array::with_max_entries(SLOTS * RULES_MAX, 0);

/// External addresses by rule and outside interface. Written by the controller.
#[map]
pub static POOLS: HashMap<PoolKey, Pool> = HashMap::with_max_entries(POOLS_MAX, 0);

/// External addresses chosen by a source model, by table and destination. Written by the controller,
/// in place.
#[map]
pub static CHOICES: LpmTrie<ChoiceKey, Choice> = LpmTrie::with_max_entries(CHOICES_MAX, 0);

/// Source prefix → where its packets may arrive. Written by the controller; empty unless the settings
/// say otherwise.
#[map]
pub static GUARDS: LpmTrie<PrefixKey, Guard> = LpmTrie::with_max_entries(GUARDS_MAX, 0);

/// This machine's addresses by interface, each with the index of an interface that has it. Written by
/// the controller.
#[map]
pub static LOCALS: HashMap<LocalKey, u32> = HashMap::with_max_entries(LOCAL_ADDRESSES_MAX, 0);

/// External address and protocol → ports that rules may use there. Written by the controller.
#[map]
pub static EXTERNALS: HashMap<ExternalKey, ExternalPorts> =
    HashMap::with_max_entries(EXTERNALS_MAX, 0);

/// Tuples whose session has ended, and which must not be used again yet. Written by the data path
/// when a session is removed and when its tuple is used again; read by the command line. Its size is
/// `max_cooling`, and its memory is taken as it is needed: most gateways need little of it.
#[map]
pub static COOLING: HashMap<FlowKey, Resting> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);

/// The same tuples in the order in which their sessions ended, and some that have been used again:
/// which one goes first where there is no room, and what has rested long enough.
#[map]
pub static COOLING_ORDER: Queue<Rested> = Queue::with_max_entries(1024, 0);

/// Protocols, by IANA number, of which a tuple has ever rested: not 0. Written before the tuple is, by the
/// data path and the controller; read by the data path, which need not look into [`COOLING`] for others.
#[map]
pub static COOLED: Array<u32> = Array::with_max_entries(PROTOCOLS, 0);

/// Owners of the places for busy destinations, in sets. Written and read by the data path, as the
/// next two; their sizes follow from `max_sessions` and `max_cooling`.
#[map]
pub static HINT_SETS: Array<[u64; WAYS as usize]> = Array::with_max_entries(1, 0);

/// What is known of a busy destination as a whole: set × [`WAYS`].
#[map]
pub static HINT_PLACES: Array<Place> = Array::with_max_entries(WAYS, 0);

/// What is known of its ports: place × [`CHUNKS`].
#[map]
pub static HINT_CHUNKS: Array<Chunk> = Array::with_max_entries(WAYS * CHUNKS, 0);

/// What the search for ports has cost, by [`Effort`]. Written by the data path; not pinned, because
/// only measurements read it.
#[map]
pub static EFFORT: PerCpuArray<u64> = PerCpuArray::with_max_entries(Effort::COUNT, 0);

/// Tuples that rested, and those that did not rest long enough. Written by the data path.
#[map]
pub static COOLDOWN_COUNTERS: PerCpuArray<CooldownCounters> = PerCpuArray::with_max_entries(1, 0);

/// Packets in fragments of which the first has been translated. Written and read by the data path.
/// Forgets the one that has been left alone for longest when it is full: no session depends on it.
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, Datagram> =
    LruHashMap::with_max_entries(FRAGMENTS_MAX, 0);

/// Packets in fragments from outside of which the first went to the stack, and until when the others
/// do. As [`FRAGMENTS`], and apart from it, because anybody outside can make these.
#[map]
pub static FRAGMENTS_PASSED: LruHashMap<FragmentKey, u64> =
    LruHashMap::with_max_entries(FRAGMENTS_MAX, 0);

/// Packets of which the controller has been given fragments to hold, until their first one comes.
/// Written and read by the data path; not pinned, as the controller's memory is not.
#[map]
pub static FRAGMENTS_AWAITED: LruHashMap<FragmentKey, u64> =
    LruHashMap::with_max_entries(FRAGMENTS_MAX, 0);

/// Fragments for the controller to hold, and notices that it may give them back: a
/// [`nat_common::fragment::HeldFrame`] or a [`FragmentKey`]. Written by the data path.
#[map]
pub static HELD: RingBuf = RingBuf::with_byte_size(HELD_RING_BYTES, 0);

/// Sessions that were refused, for the controller to tell the client: a
/// [`nat_common::refusal::Refusal`]. Written by the data path; not pinned, as [`HELD`].
#[map]
pub static REFUSALS: RingBuf = RingBuf::with_byte_size(REFUSALS_RING_BYTES, 0);

/// Roles by interface index. Written by the controller.
#[map]
pub static INTERFACES: HashMap<u32, Interface> = HashMap::with_max_entries(INTERFACES_MAX, 0);

/// The same interfaces, as far as XDP has to know of them for every packet: by [`Device::place`]. Written
/// by the controller.
#[map]
pub static DEVICES: Array<Device> = Array::with_max_entries(INTERFACES_MAX, 0);

/// Packets and bytes by hook and verdict. Written by the data path.
#[map]
pub static VERDICTS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// What became of a rule's packets, by rule identity. Written by the data path.
#[map]
pub static RULE_COUNTERS: PerCpuArray<RuleCounters> =
    PerCpuArray::with_max_entries(RULE_IDS_MAX, 0);

/// Names by rule identity. Written by the controller, read by the command line.
#[map]
pub static RULE_NAMES: Array<RuleName> = Array::with_max_entries(RULE_IDS_MAX, 0);

/// What [`CONFIG`] holds, by slot. Written by the controller, read by the command line.
#[map]
pub static CONFIG_INFO: Array<ConfigInfo> = Array::with_max_entries(SLOTS, 0);

/// The text of the configuration in force, in parts, by slot: it changes in the same instant as the
/// rules made from it. Written by the controller, read by the command line.
#[map]
pub static CONFIG: Array<ConfigChunk> = Array::with_max_entries(SLOTS * CONFIG_CHUNKS_MAX, 0);

/// What the instance says about itself. Written by the controller, read by the command line.
#[map]
pub static INSTANCE: Array<Instance> = Array::with_max_entries(1, 0);

/// The time in tests: see [`crate::clock`].
#[map]
pub static TEST_CLOCK: Array<u64> = Array::with_max_entries(1, 0);
