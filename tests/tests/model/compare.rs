//! The model's state against what stands in the maps.
use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
};

use nat_common::{
    addr::{Ipv4, Port},
    cooldown,
    flow::{self, Direction, FlowKey},
    limit::ClientLimits,
    mapping::{self, Users},
    session::{Session as Entry, TICK_SHIFT},
    settings::Lifetime,
    stats::{Counter, Hook, RuleCounters, counter_index},
    tcp::options::NO_SCALE,
    verdict::Verdict,
};
use nat_ctl::datapath::kernel::maps::Maps;
use nat_tests::model::{
    Model,
    cooldown::Reason,
    flow::{Endpoint, Flow, Protocol},
    limits::Limits,
    mappings::{Key, Shared, Uses},
    session::{Half, Phase, Session},
    tcp::{Connection, Stream},
};

use super::common::bench::Bench;

/// A verdict's counter, summed over the CPUs.
pub fn counter(maps: &Maps, hook: Hook, verdict: Verdict) -> Counter {
    let values = maps.verdicts.get(&counter_index(hook, verdict), 0).unwrap();
    values.iter().fold(Counter::default(), |sum, one| Counter {
        packets: sum.packets + one.packets,
        bytes: sum.bytes + one.bytes,
    })
}

/// What a rule has counted, summed over the CPUs.
pub fn rule(maps: &Maps, id: u32) -> RuleCounters {
    let values = maps.rule_counters.get(&id, 0).unwrap();
    values.iter().fold(RuleCounters::default(), |sum, one| sum.plus(one))
}

/// Where counters differ: of verdicts, and of rules by identity.
pub fn counters(model: &Model, maps: &Maps, ids: &HashMap<String, u32>) -> Vec<String> {
    let mut differences = Vec::new();
    for hook in Hook::ALL {
        for &verdict in Verdict::ALL {
            let (expected, got) =
                (model.counters.of_verdict(hook, verdict), counter(maps, hook, verdict));
            if expected != got {
                let name = format!("{} {}", hook.name(), verdict.name());
                differences.push(format!("{name}: the model has {expected:?}, the map {got:?}"));
            }
        }
    }
    for (name, id) in ids {
        let got = rule(maps, *id);
        let expected = model.counters.of_rule(name);
        if expected != got {
            differences.push(format!("rule {name}: the model has {expected:?}, the map {got:?}"));
        }
    }
    differences
}

/// Where sessions differ: in both maps, every field.
pub fn sessions(model: &Model, maps: &Maps, ids: &HashMap<String, u32>) -> Vec<String> {
    let (mut outbound, mut inbound) = (HashMap::new(), HashMap::new());
    for (map, entries) in [(&maps.outbound, &mut outbound), (&maps.inbound, &mut inbound)] {
        let keep = |key: &FlowKey, entry: &Entry| {
            entries.insert(*key, *entry);
        };
        map.for_each(keep).unwrap();
    }
    let mut differences = Vec::new();
    for session in model.sessions.all() {
        let outside = session.flow.with_local(session.external);
        let id = ids.get(&session.rule).copied();
        let sides = [
            (key(&session.flow), outbound.remove(&key(&session.flow)), true),
            (key(&outside), inbound.remove(&key(&outside)), false),
        ];
        let translations = [session.external, session.flow.local];
        for ((key, entry, is_outbound), to) in sides.into_iter().zip(translations) {
            match entry {
                None => differences.push(format!("the maps lack {key:?}")),
                Some(entry) => {
                    let expected = expected(session, is_outbound, to, id);
                    let got = what_counts(&entry, is_outbound, &expected);
                    if expected != got {
                        differences
                            .push(format!("{key:?}: the model has {expected:?}, the map {got:?}"));
                    }
                }
            }
        }
    }
    let more = outbound.keys().chain(inbound.keys());
    differences.extend(more.map(|key| format!("the model knows nothing of {key:?}")));
    differences
}

/// Where mappings differ, their claims, or whom they let in.
pub fn mappings(model: &Model, maps: &Maps) -> Vec<String> {
    let mut expected = BTreeSet::new();
    for (key, mapping) in model.mappings.all() {
        let Key { protocol, inside, address, range } = *key;
        let Shared { users, deadline_ns } = mapping.shared;
        let remote = (address, range);
        let entry = flow_key(protocol, inside, remote);
        expected.insert(format!("mapping {entry:?} {} {users} {deadline_ns}", mapping.port));
        let claim = flow_key(protocol, (address, mapping.port), (Ipv4Addr::UNSPECIFIED, 0));
        expected.insert(format!("owner {claim:?} {inside:?} {range}"));
    }
    for ((protocol, external, remote), Shared { users, deadline_ns }) in
        model.mappings.permissions()
    {
        let entry = flow_key(*protocol, *external, (*remote, 0));
        expected.insert(format!("permission {entry:?} {users} {deadline_ns}"));
    }
    let mut got = BTreeSet::new();
    let shared = |shared: &mapping::Shared| (Users(shared.users).count(), shared.deadline_ns);
    let keep = |key: &FlowKey, mapping: &mapping::Mapping| {
        let (users, deadline_ns) = shared(&mapping.shared);
        got.insert(format!("mapping {key:?} {} {users} {deadline_ns}", mapping.port.number()));
    };
    maps.mappings.for_each(keep).unwrap();
    let keep = |key: &FlowKey, owner: &mapping::Owner| {
        let inside = (Ipv4Addr::from(owner.address), owner.port.number());
        got.insert(format!("owner {key:?} {inside:?} {}", owner.range.number()));
    };
    maps.owners.for_each(keep).unwrap();
    let keep = |key: &FlowKey, one: &mapping::Shared| {
        let (users, deadline_ns) = shared(one);
        got.insert(format!("permission {key:?} {users} {deadline_ns}"));
    };
    maps.permissions.for_each(keep).unwrap();
    let lacking = expected.difference(&got).map(|one| format!("the maps lack {one}"));
    let more = got.difference(&expected).map(|one| format!("the model knows nothing of {one}"));
    lacking.chain(more).collect()
}

/// Where clients differ: how many sessions they have, and half-open ones. One that has none may be
/// known for what it has opened lately.
pub fn clients(model: &Model, bench: &Bench) -> Vec<String> {
    let mut got = bench.clients();
    let clients: BTreeSet<_> = model.sessions.all().map(|session| session.flow.local.0).collect();
    let mut differences = Vec::new();
    for client in clients {
        let expected = model.sessions_of(client);
        let got = got.remove(&client).map(|got| (got.counts.sessions(), got.counts.half_open()));
        if got != Some(expected) {
            differences.push(format!("{client}: the model has {expected:?}, the map {got:?}"));
        }
    }
    let more = got.iter().filter(|(_, client)| client.counts.0 != 0);
    differences.extend(more.map(|one| format!("the model knows of no session of {one:?}")));
    differences
}

/// What the data path knows limits as.
pub fn limits(limits: &Limits) -> ClientLimits {
    let Limits { sessions, half_open, new_per_second } = *limits;
    ClientLimits { sessions, half_open, new_per_second, zero: 0 }
}

/// How many tuples have been released before their time.
pub fn released(maps: &Maps) -> u64 {
    let counters = maps.cooldown_counters.get(&0, 0).unwrap();
    counters.iter().map(|counters| counters.released_early).sum()
}

/// Where what has begun to rest lately differs.
pub fn resting(model: &Model, bench: &Bench, begun: &[Flow]) -> Vec<String> {
    let Some(settings) = model.table.as_ref().map(|table| table.cooldown) else {
        return Vec::new();
    };
    let mut differences = Vec::new();
    for flow in begun {
        let key = key(flow);
        let expected = model.resting.get(flow);
        let got = bench.rest_of(&key);
        let equal = match (expected, got) {
            (None, None) => true,
            // What gave way rests on until its session ends anew.
            (None, Some(_)) => settings.pressure_reuse && model.sessions.claimant(flow).is_some(),
            // Forgotten when somebody has looked at it.
            (Some(rest), None) => rest.maybe || rest.over_ns(&settings) <= model.now_ns,
            (Some(rest), Some(got)) => {
                let late_ns = got.closed_ns.wrapping_sub(rest.end.closed_ns);
                let owner = (Ipv4Addr::from(got.owner), got.owner_port.number());
                late_ns <= 1 << TICK_SHIFT
                    && got.reason == reason(rest.end.reason) as u8
                    && owner == rest.owner.unwrap_or((Ipv4Addr::UNSPECIFIED, 0))
            }
        };
        if !equal {
            differences.push(format!("{key:?}: the model has {expected:?}, the map {got:?}"));
        }
    }
    differences
}

fn reason(reason: Reason) -> cooldown::Reason {
    match reason {
        Reason::Reset => cooldown::Reason::Rst,
        Reason::HalfOpen => cooldown::Reason::HalfOpen,
        Reason::Closed => cooldown::Reason::Fin,
        Reason::Silent => cooldown::Reason::UdpIcmp,
    }
}

/// The fields of an entry that the model knows.
#[derive(PartialEq, Eq, Debug)]
struct Fields {
    to: (Ipv4, Port),
    rule: Option<u32>,
    lifetime: u8,
    created_s: u32,
    half: Half,
    /// TCP: of the sender of this direction.
    stream: Option<Stream>,
    /// TCP, with the outbound entry: which of the server's SYN, the client's FIN, the server's FIN
    /// and RST there have been.
    connection: Option<(bool, (bool, bool), bool)>,
    /// TCP, with the inbound entry.
    asked: Option<u32>,
    uses: Option<Uses>,
}

fn expected(session: &Session, outbound: bool, to: Endpoint, rule: Option<u32>) -> Fields {
    let lifetime = match session.phase {
        Phase::Opening => Lifetime::TcpOpening,
        Phase::Established => Lifetime::TcpEstablished,
        Phase::Closing => Lifetime::TcpClosing,
        Phase::Udp => Lifetime::Udp,
        Phase::Dns => Lifetime::UdpDns,
        Phase::Echo => Lifetime::Icmp,
    };
    let to = (Ipv4::from(to.0), Port::new(to.1));
    let (half, direction) = if outbound {
        (session.out, Direction::Outbound)
    } else {
        (session.back, Direction::Inbound)
    };
    let connection = session.connection;
    // That the server has begun is where its FIN would be.
    let awaits = |c: Connection| c.from_outside && !c.answered;
    let bits = |c: Connection| (c.answered, (c.closed.0, c.closed.1 || awaits(c)), c.reset);
    Fields {
        to,
        rule,
        lifetime: lifetime as u8,
        created_s: (session.created_ns / 1_000_000_000) as u32,
        half,
        stream: session.streams(direction).map(|(own, _)| own),
        connection: connection.filter(|_| outbound).map(bits),
        asked: connection.filter(|_| !outbound).and_then(|connection| connection.asked),
        uses: session.uses,
    }
}

/// The same of an entry; of what the model knows nothing yet, the entry may say anything.
fn what_counts(entry: &Entry, outbound: bool, expected: &Fields) -> Fields {
    let Entry { deadline_ns, refresh_ticks, packets, bytes, .. } = *entry;
    let refresh_ns = u64::from(refresh_ticks) << TICK_SHIFT;
    let track = entry.track();
    let stream = expected.stream.map(|known| Stream {
        next: known.next.map(|_| track.next),
        heard: known.heard.map(|_| track.ack),
        window: known.window.map(|_| track.window),
        scale: known.scale.map(|_| (track.scale != NO_SCALE).then_some(track.scale)),
    });
    let bit = |number: u8| entry.tcp >> number & 1 == 1;
    let tcp = stream.is_some();
    Fields {
        to: (entry.address, entry.port),
        rule: Some(entry.rule_id()),
        lifetime: entry.lifetime,
        created_s: entry.created_s,
        half: Half { deadline_ns, refresh_ns, packets, bytes },
        stream,
        connection: (tcp && outbound).then(|| (bit(0), (bit(1), bit(2)), bit(3))),
        asked: (tcp && !outbound && track.asked != 0).then_some(track.asked),
        uses: (entry.uses != mapping::Uses::NOTHING).then(|| Uses {
            range: entry.range.number(),
            permission: entry.uses == mapping::Uses::PERMISSION,
        }),
    }
}

/// The key of a flow.
pub fn key(flow: &Flow) -> FlowKey {
    flow_key(flow.protocol, flow.local, flow.remote)
}

fn flow_key(protocol: Protocol, local: Endpoint, remote: Endpoint) -> FlowKey {
    let protocol = match protocol {
        Protocol::Icmp => flow::Protocol::Icmp,
        Protocol::Tcp => flow::Protocol::Tcp,
        Protocol::Udp => flow::Protocol::Udp,
    };
    let end = |(address, port)| (Ipv4::from(address), Port::new(port));
    FlowKey::new(protocol, end(local), end(remote))
}
