//! The model's state against what stands in the maps.
use std::collections::HashMap;

use nat_common::{
    addr::{Ipv4, Port},
    flow::{self, FlowKey},
    session::Session as Entry,
    settings::Lifetime,
    stats::{Counter, Hook, RuleCounters, counter_index},
    verdict::Verdict,
};
use nat_ctl::datapath::kernel::maps::Maps;
use nat_tests::model::{
    Model,
    flow::{Endpoint, Flow, Protocol},
    session::{Half, Phase, Session},
};

/// A verdict's counter, summed over the CPUs.
pub fn counter(maps: &Maps, hook: Hook, verdict: Verdict) -> Counter {
    let values = maps.verdicts.get(&counter_index(hook, verdict), 0).unwrap();
    values.iter().fold(Counter::default(), |sum, one| Counter {
        packets: sum.packets + one.packets,
        bytes: sum.bytes + one.bytes,
    })
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
        let values = maps.rule_counters.get(id, 0).unwrap();
        let got = values.iter().fold(RuleCounters::default(), |sum, one| sum.plus(one));
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
            (key(&session.flow), outbound.remove(&key(&session.flow)), session.out),
            (key(&outside), inbound.remove(&key(&outside)), session.back),
        ];
        let translations = [session.external, session.flow.local];
        for ((key, entry, half), to) in sides.into_iter().zip(translations) {
            match entry {
                None => differences.push(format!("the maps lack {key:?}")),
                Some(entry) => {
                    let expected = expected(session, half, to, id);
                    let got = what_counts(&entry);
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

/// The fields of an entry that the model knows.
#[derive(PartialEq, Eq, Debug)]
struct Fields {
    to: (Ipv4, Port),
    rule: Option<u32>,
    lifetime: u8,
    created_ns: u64,
    half: Half,
}

fn expected(session: &Session, half: Half, to: Endpoint, rule: Option<u32>) -> Fields {
    let lifetime = match session.phase {
        Phase::Opening => Lifetime::TcpOpening,
        Phase::Established => Lifetime::TcpEstablished,
        Phase::Closing => Lifetime::TcpClosing,
        Phase::Udp => Lifetime::Udp,
        Phase::Dns => Lifetime::UdpDns,
        Phase::Echo => Lifetime::Icmp,
    };
    let to = (Ipv4::from(to.0), Port::new(to.1));
    Fields { to, rule, lifetime: lifetime as u8, created_ns: session.created_ns, half }
}

fn what_counts(entry: &Entry) -> Fields {
    let Entry { seen: sent, deadline_ns, refresh_ns, packets, bytes, .. } = *entry;
    Fields {
        to: (entry.address, entry.port),
        rule: Some(entry.rule),
        lifetime: entry.lifetime,
        created_ns: entry.created_ns,
        half: Half { sent, deadline_ns, refresh_ns, packets, bytes },
    }
}

/// The key of a flow.
pub fn key(flow: &Flow) -> FlowKey {
    let protocol = match flow.protocol {
        Protocol::Icmp => flow::Protocol::Icmp,
        Protocol::Tcp => flow::Protocol::Tcp,
        Protocol::Udp => flow::Protocol::Udp,
    };
    let end = |(address, port)| (Ipv4::from(address), Port::new(port));
    FlowKey::new(protocol, end(flow.local), end(flow.remote))
}
