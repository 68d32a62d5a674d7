//! The types in the maps have no padding: both sides of the kernel copy them as plain bytes, and a
//! map key with bytes that nobody sets would be another key each time.
use nat_common::{
    cooldown::{Cooldown, CooldownCounters, Rested, Resting},
    external::{ExternalKey, ExternalPorts, Span},
    flow::FlowKey,
    fragment::{Datagram, FragmentKey},
    guard::{Guard, LocalKey},
    hop::Hop,
    instance::{ConfigChunk, ConfigInfo, Device, Instance, Interface, RuleName},
    limit::{Bucket, Client, ClientLimits, Counts},
    mapping::{Mapping, Owner, Shared},
    pool::{Pool, PoolKey},
    ports::Ports,
    refusal::Refusal,
    rule::{PrefixKey, Rule, RuleBits},
    session::Session,
    settings::{Control, Settings},
    source::{Choice, ChoiceKey},
    stats::{Counter, RuleCounters},
};

/// Compares a type's size with the sum of its fields' sizes. Naming the fields of a whole pattern
/// makes a new field fail to compile here.
macro_rules! no_padding {
    ($type:ident { $($field:ident),+ $(,)? }) => {
        let sum = |value: &$type| {
            let $type { $($field),+ } = value;
            [$(size_of_val($field)),+].into_iter().sum::<usize>()
        };
        // SAFETY: integers and arrays of them, for which zero is a value.
        let zero: $type = unsafe { std::mem::zeroed() };
        assert_eq!(sum(&zero), size_of::<$type>(), stringify!($type));
    };
}

#[test]
fn types_in_maps_have_no_padding() {
    no_padding!(Choice { address, verdict, zero });
    no_padding!(ChoiceKey { table, destination });
    no_padding!(Client { counts, bucket, address, zero });
    no_padding!(ClientLimits { sessions, half_open, new_per_second, zero });
    no_padding!(ConfigInfo { bytes, name });
    no_padding!(Control { generation, zero });
    no_padding!(Cooldown { wait_ns, enabled, scope, pressure_reuse, zero });
    no_padding!(CooldownCounters { rested, released_early, reused_early });
    no_padding!(Counter { packets, bytes });
    no_padding!(Datagram { check, address, deadline_ns, units, total, refused, seen });
    no_padding!(ExternalKey { generation, address, protocol });
    no_padding!(Instance {
        netns_device,
        netns_inode,
        attached_ns,
        heartbeat_ns,
        max_sessions,
        max_cooling,
        controller_pid,
        flags,
        ways,
        follows_ways,
    });
    no_padding!(Device { ifindex, role, zero, mac });
    no_padding!(Hop { generation, until_ticks, ifindex, mtu, mac, zero });
    no_padding!(Interface { name, role, hook, mac, because_of, why, zero });
    no_padding!(Mapping { shared, port, zero, created_s });
    no_padding!(Owner { check, address, port, range });
    no_padding!(Shared { users, deadline_ns });
    no_padding!(Guard { named, interfaces });
    no_padding!(LocalKey { generation, ifindex, address });
    no_padding!(Pool { table, count, addresses });
    no_padding!(PoolKey { generation, rule, ifindex });
    no_padding!(PrefixKey { generation, address });
    no_padding!(Refusal { ifindex, length, verdict, zero, quote });
    no_padding!(Rested { tuple, closed_ns });
    no_padding!(Resting { closed_ns, reason, closed_by_both, owner_port, owner, next, zero });
    no_padding!(Rule { id, ports, action, pooling, mss, behaviour, port_set, range, zero });
    no_padding!(RuleCounters {
        sessions,
        routed_packets,
        dropped_packets,
        ended_packets_out,
        ended_packets_in,
        ended_bytes_out,
        ended_bytes_in,
    });
    no_padding!(Session {
        check,
        address,
        port,
        transport_delta,
        header_delta,
        tcp,
        lifetime,
        deadline_ns,
        refresh_ticks,
        hop,
        packets,
        bytes,
        next,
        ack,
        asked,
        window,
        mss,
        rule,
        range,
        uses,
        zero,
        created_s,
        room,
    });
    no_padding!(Settings {
        timeout_ns,
        cooldown,
        clients,
        unmatched,
        guarded,
        enforce_strong_send,
        zero,
        port_sets,
        hints_since,
        externals,
    });
    no_padding!(Span { least, greatest });
}

/// Fields that are private, and types that are one array.
#[test]
fn the_other_sizes_are_those_of_their_contents() {
    assert_eq!(size_of::<FlowKey>(), 4 + 4 + 2 + 2 + 1 + 3);
    assert_eq!(size_of::<FragmentKey>(), 4 + 4 + 2 + 1 + 1);
    assert_eq!((size_of::<Bucket>(), size_of::<Counts>()), (8, 8));
    assert_eq!(size_of::<ExternalPorts>(), 8 * 8);
    assert_eq!(size_of::<ConfigChunk>(), 4096);
    assert_eq!(size_of::<Ports>(), 2 + 2 + 15 * 4);
    assert_eq!(size_of::<RuleBits>(), 128);
    assert_eq!(size_of::<RuleName>(), 64);
}
