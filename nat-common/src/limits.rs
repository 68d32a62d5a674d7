//! Every capacity and bound of the data path, with its reason. Units stand last in the names.

/// Rules in one configuration. One bit each in [`crate::rule::RuleBits`], which a packet without a
/// session ANDs word by word: 1024 rules are 16 words.
pub const RULES_MAX: u32 = 1024;

/// Rule identities over the life of an instance: sessions and counters refer to them, so one is
/// used again only when nothing newer is free.
pub const RULE_IDS_MAX: u32 = 4096;

/// Prefixes in each of the two tries, both generations together.
pub const PREFIXES_MAX: u32 = 65_536;

/// External addresses of one rule on one outside interface. The paired choice weighs each of them
/// for the first packet of a flow.
pub const POOL_ADDRESSES_MAX: u32 = 64;

/// Other addresses of its pool on which a port is looked for where a client's own is full and the rule
/// says `spill`. Each costs a search.
pub const SPILL_ADDRESSES_MAX: u32 = 3;

/// Pools: one for each rule and outside interface, both generations together.
pub const POOLS_MAX: u32 = 4096;

/// Destination prefixes of all choices of a source model, old and new ones together. Their memory is
/// taken when they are made: a full routing table with several next hops needs some 100,000.
pub const CHOICES_MAX: u32 = 4_194_304;

/// Addresses of this machine, both generations together.
pub const LOCAL_ADDRESSES_MAX: u32 = 8192;

/// External addresses by protocol, both generations together: each is one of this machine's.
pub const EXTERNALS_MAX: u32 = 3 * LOCAL_ADDRESSES_MAX;

/// Ranges of ports on one external address: each is compared with the port of every packet from
/// outside that has no session.
pub const EXTERNAL_RANGES_MAX: u32 = 8;

/// Prefixes whose packets must arrive by certain interfaces, both generations together.
pub const GUARDS_MAX: u32 = 65_536;

/// Interfaces that one network can name: each is compared with that of every packet from it.
pub const GUARD_INTERFACES_MAX: u32 = 15;

/// Interfaces with a role.
pub const INTERFACES_MAX: u32 = 256;

/// Numbers of protocols in an IPv4 header.
pub const PROTOCOLS: u32 = 256;

/// Gaps in the external ports of one rule. Each costs a few instructions in every try for a port.
pub const PORT_GAPS_MAX: u32 = 15;

/// Ports tried by chance for a new session before the gateway begins to remember what is free toward
/// its destination. With a third of the range in use one in 6000 new sessions fails so often.
pub const PORT_TRIES_MAX: u32 = 8;

/// Resting ports that are looked at for one new session under pressure: of those that give way, one of the
/// oldest 6 % is found by 98 of 100.
pub const PRESSURE_PORTS: u32 = 64;

/// Steps of a search for a free port: looks at 64 ports, of which there are 1024, and tries. Few
/// tries fail once a destination is known; when it is new, or has been forgotten, every port that
/// is taken may have to be tried once.
pub const SEARCH_TURNS_MAX: u32 = 8192;

/// Searches for one new session: it goes on where the port that was found has to be cleared first,
/// or is a socket's of this machine.
pub const CLAIM_ROUNDS_MAX: u32 = 4;

/// Sessions and resting tuples for one place of a busy destination. Half the ports toward a
/// destination are in use before it needs one, or the range is small and soon learnt again.
pub const TUPLES_PER_HINTS: u32 = 32_768;

/// Sessions that one run of the `sweep` program looks at: about 70 µs with softirqs off.
pub const SWEEP_SESSIONS_MAX: u32 = 64;

/// Tuples that one run of the `clear` program forgets.
pub const CLEAR_TUPLES_MAX: u32 = 32;

/// How often a session's deadline is moved at most: spares the cache line on every packet, and what the
/// session uses of a mapping. See [`crate::session::refresh_interval_ns`].
pub const REFRESH_INTERVAL_NS: u64 = 1_000_000_000;

/// The same as a part of the timeout, if that is longer.
pub const REFRESH_PART: u64 = 32;

/// Longest cooldown: that of Microsoft TMG's CooldownForLocalSourcePortReuseTime, 27.8 hours.
pub const COOLDOWN_MAX_MS: u64 = 100_000_000;

/// The same in nanoseconds. Whatever ended longer ago is free under any settings.
pub const COOLDOWN_MAX_NS: u64 = COOLDOWN_MAX_MS * 1_000_000;

/// Most new sessions in a second that one client can be allowed: a fraction of the bucket's
/// millisecond counts as far. More than one machine opens, for practical purposes no limit.
pub const NEW_PER_SECOND_MAX: u32 = 1_000_000;

/// Packets in fragments whose first fragment is remembered: 8.3 MiB. When there are more, the one that
/// has been left alone for longest is forgotten. The fragments of a packet mostly arrive within
/// milliseconds: 100,000 such packets a second, forged or not, leave each of them 80.
pub const FRAGMENTS_MAX: u32 = 8192;

/// How long fragments are taken after the first one: the reassembly time that RFC 791 section 3.2
/// suggests. RFC 1122 section 3.3.2 has receivers wait for 60 to 120 seconds; what comes so late is
/// more likely to be another packet with the same number (RFC 4963).
pub const FRAGMENT_TIMEOUT_NS: u64 = 15_000_000_000;

/// Bytes of a frame that can be held until the first fragment of its packet comes.
pub const HELD_BYTES_MAX: usize = 2048;

/// Bytes of the ring by which frames reach the controller that holds them.
pub const HELD_RING_BYTES: u32 = 1 << 20;

/// Fragments that one CPU gives the controller to hold in a second: the rest of a flood is dropped
/// before it costs more.
pub const HELD_PER_SECOND_MAX: u32 = 4000;

/// How long a fragment is held. What the network brings out of order is milliseconds apart.
pub const HELD_NS: u64 = 2_000_000_000;

/// Bytes of all frames that are held at a time.
pub const HELD_TOTAL_BYTES_MAX: usize = 4 << 20;

/// ICMP errors about refused sessions that one CPU has the controller send in a second; and those to one
/// client. Linux sends one a second to each host, after a burst of six, and 1000 to all.
pub const REFUSALS_PER_SECOND_MAX: u32 = 200;
pub const REFUSALS_PER_CLIENT_AND_SECOND_MAX: u32 = 10;

/// Bytes of the ring by which refused sessions reach the controller: some 200.
pub const REFUSALS_RING_BYTES: u32 = 1 << 14;

/// How long after its last sign a controller is taken to be there: five sweeps.
pub const ATTENDED_NS: u64 = 10_000_000_000;

/// Bytes of the configuration in force that one map entry holds.
pub const CONFIG_CHUNK_BYTES: usize = 4096;

/// Entries for one configuration: 1 MiB of text, some 6000 rules' worth.
pub const CONFIG_CHUNKS_MAX: u32 = 256;

/// Bytes of a rule's name, the terminating zero included.
pub const RULE_NAME_BYTES: usize = 64;

/// Bytes of an interface's name, the terminating zero included (IFNAMSIZ).
pub const INTERFACE_NAME_BYTES: usize = 16;

const _: () = assert!(RULES_MAX.is_multiple_of(64));
const _: () = assert!(RULE_IDS_MAX >= 2 * RULES_MAX);
const _: () = assert!(PREFIXES_MAX >= 2 * RULES_MAX);
