//! How full external addresses are: schema `nat-ctl/pools/1`. Pure.
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
};

use nat_common::{
    flow::{FlowKey, Protocol},
    mapping::Kind,
};
use serde::Serialize;

use crate::{
    config::{self, Config},
    cooling,
    datapath::{PoolState, RuleState, State},
    exit::Failure,
    session::{self, Endpoint},
};

/// An external address with a protocol: an element of `pools -j`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PoolView {
    pub address: Ipv4Addr,
    pub proto: &'static str,
    /// Those that rules may use; of ICMP, identifiers.
    pub ports: u32,
    /// With a live session, toward whomever.
    pub in_use: u32,
    /// Without one that cool, toward whomever.
    pub cooling: u32,
    /// Neither.
    pub free: u32,
    /// Live sessions.
    pub sessions: u32,
    /// Endpoint-independent mappings that they use: each has a port of its own.
    pub mappings: u32,
    /// The remote endpoints toward which the fewest ports are left, at most [`HOTTEST_MAX`].
    pub hottest: Vec<Destination>,
}

/// A remote endpoint: toward each, a port can be used once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Destination {
    pub remote: Endpoint,
    pub in_use: u32,
    /// Those that cool toward everybody included.
    pub cooling: u32,
    /// Of those that rules may use.
    pub free: u32,
}

/// Remote endpoints that are shown of a pool.
pub const HOTTEST_MAX: usize = 3;

/// The pools of the rules in force, and whatever else has sessions or cools.
pub fn views(state: &impl State, now_ns: u64) -> Result<Vec<PoolView>, Failure> {
    let mut pools: BTreeMap<(Ipv4Addr, u8), Pool> = BTreeMap::new();
    if let Some(text) = state.config()? {
        let config = Config::parse(&text.text, &text.name)?;
        add_ports(&config, &state.rules()?, &state.pools()?, &mut pools);
    }
    let mut of = |tuple: &FlowKey, note: fn(&mut Pool, &FlowKey)| {
        note(pools.entry((tuple.local.into(), tuple.protocol)).or_default(), tuple);
    };
    for pair in state.sessions()?.iter().filter(|pair| pair.deadline_ns() > now_ns) {
        let tuple = pair.key.translated(pair.outbound.address, pair.outbound.port);
        of(&tuple, Pool::note_session);
        if session::kind(&pair.outbound) == Kind::EndpointIndependent {
            of(&tuple, Pool::note_mapping);
        }
    }
    cooling::each(state, now_ns, |tuple, _, _| of(tuple, Pool::note_cooling))?;
    let views = pools.into_iter().filter_map(|((address, protocol), pool)| {
        Some(pool.view(address, Protocol::from_number(protocol)?))
    });
    Ok(views.collect())
}

/// The ports that rules may use, by address.
fn add_ports(
    config: &Config,
    rules: &[RuleState],
    states: &[PoolState],
    pools: &mut BTreeMap<(Ipv4Addr, u8), Pool>,
) {
    for rule in &config.rules {
        let config::Action::Snat(snat) = &rule.action else { continue };
        let id = rules.iter().find(|known| known.name == rule.name).map(|known| known.id);
        let states = states.iter().filter(|state| Some(state.rule) == id);
        for address in states.flat_map(|state| &state.addresses) {
            for (named, protocol) in [
                (config::Protocol::Tcp, Protocol::Tcp),
                (config::Protocol::Udp, Protocol::Udp),
                (config::Protocol::Icmp, Protocol::Icmp),
            ] {
                if rule.protocols.contains(named) {
                    let pool = pools.entry((*address, protocol as u8)).or_default();
                    let excluded =
                        |port: &u16| snat.exclude_ports.iter().any(|range| range.contains(port));
                    let ports = snat.ports.clone().filter(|port| !excluded(port));
                    ports.for_each(|port| pool.usable.insert(port));
                }
            }
        }
    }
}

/// What is known about an address and a protocol.
#[derive(Default)]
struct Pool {
    usable: Ports,
    in_use: Ports,
    cooling: Ports,
    toward_everybody: Ports,
    sessions: u32,
    /// That mappings have: a port is one mapping's alone.
    mapped: Ports,
    toward: HashMap<Endpoint, Taken>,
}

/// The ports that cannot be had toward a remote endpoint. None is in both: a tuple that is used has
/// ceased to cool.
#[derive(Default)]
struct Taken {
    in_use: Vec<u16>,
    cooling: Vec<u16>,
}

impl Pool {
    fn note_session(&mut self, tuple: &FlowKey) {
        let port = tuple.local_port.number();
        self.in_use.insert(port);
        self.sessions += 1;
        self.toward.entry(remote(tuple)).or_default().in_use.push(port);
    }

    fn note_mapping(&mut self, tuple: &FlowKey) {
        self.mapped.insert(tuple.local_port.number());
    }

    fn note_cooling(&mut self, tuple: &FlowKey) {
        let port = tuple.local_port.number();
        self.cooling.insert(port);
        if *tuple == tuple.toward_everybody() {
            self.toward_everybody.insert(port);
        } else {
            self.toward.entry(remote(tuple)).or_default().cooling.push(port);
        }
    }

    fn view(self, address: Ipv4Addr, protocol: Protocol) -> PoolView {
        let ports = self.usable.count(|_| true);
        let taken = |port| self.in_use.contains(port) || self.cooling.contains(port);
        let destinations = self.toward.iter().map(|(remote, taken)| {
            let everybody = self.toward_everybody.count(|port| !taken.in_use.contains(&port));
            let own = taken.cooling.iter().filter(|port| !self.toward_everybody.contains(**port));
            let (in_use, cooling) = (taken.in_use.len() as u32, everybody + own.count() as u32);
            let free = ports.saturating_sub(in_use + cooling);
            Destination { remote: *remote, in_use, cooling, free }
        });
        let mut hottest: Vec<_> = destinations.collect();
        hottest.sort_by_key(|one| (one.free, Reverse(one.in_use), one.remote));
        hottest.truncate(HOTTEST_MAX);
        PoolView {
            address,
            proto: protocol.name(),
            ports,
            in_use: self.in_use.count(|_| true),
            cooling: self.cooling.count(|port| !self.in_use.contains(port)),
            free: self.usable.count(|port| !taken(port)),
            sessions: self.sessions,
            mappings: self.mapped.count(|_| true),
            hottest,
        }
    }
}

fn remote(tuple: &FlowKey) -> Endpoint {
    Endpoint { addr: tuple.remote.into(), port: tuple.remote_port.number() }
}

/// A set of ports.
struct Ports(Vec<u64>);

impl Default for Ports {
    fn default() -> Self {
        Self(vec![0; (1 << 16) / 64])
    }
}

impl Ports {
    fn insert(&mut self, port: u16) {
        if let Some(word) = self.0.get_mut(usize::from(port / 64)) {
            *word |= 1 << (port % 64);
        }
    }

    fn contains(&self, port: u16) -> bool {
        self.0.get(usize::from(port / 64)).is_some_and(|word| word >> (port % 64) & 1 != 0)
    }

    /// How many of them are such.
    fn count(&self, such: impl Fn(u16) -> bool) -> u32 {
        (0..=u16::MAX).filter(|port| self.contains(*port) && such(*port)).count() as u32
    }
}

#[cfg(test)]
mod tests;
