//! Configuration and host → the rule table that the data path works with. Pure.
mod coverage;
mod externals;
mod ports;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use nat_common::{
    cooldown::{Cooldown, Reason, Scope},
    external::Span,
    flow::Protocol,
    guard::Guard,
    limit::ClientLimits,
    limits::{GUARD_INTERFACES_MAX, PREFIXES_MAX},
    mapping::{Behaviour, Filtering, Kind},
    pool::Pooling,
    ports::Ports,
    rule::{Action, RuleBits, Subset},
    settings::{Lifetime, SLOTS, Settings},
};

pub use self::coverage::{Matched, Own, Packet, first_match};
use self::{coverage::Side, externals::Externals};
use crate::{
    config::{self, Config},
    exit::Failure,
    source::TableKey,
};

/// A rule table, ready to be written into maps. Rules refer to each other by position.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleTable {
    pub rules: Vec<CompiledRule>,
    /// Rules whose `from` holds a prefix, for every prefix that makes a difference.
    pub from: Vec<(Ipv4Net, RuleBits)>,
    /// The same for `to`.
    pub to: Vec<(Ipv4Net, RuleBits)>,
    /// By [`Subset`].
    pub subsets: [RuleBits; Subset::COUNT as usize],
    /// Where packets from a prefix may arrive; empty if no network names its interfaces.
    pub guards: Vec<(Ipv4Net, Guard)>,
    /// This machine's addresses, each with the index of its interface.
    pub locals: Vec<(u32, Ipv4Addr)>,
    /// The ports that rules may use, by address and protocol.
    pub externals: Externals,
    /// But for what depends on the table before: see [`crate::port_sets`].
    pub settings: Settings,
}

impl RuleTable {
    /// The tables of choices that the rules refer to, some of them more than once.
    pub fn choices(&self) -> impl Iterator<Item = TableKey> {
        self.rules.iter().flat_map(|rule| &rule.pools).filter_map(|(_, external)| match external {
            External::Listed(_) => None,
            External::Chosen(key) => Some(*key),
        })
    }
}

/// A rule of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompiledRule {
    pub name: String,
    pub action: Action,
    pub ports: Ports,
    pub pooling: Pooling,
    /// What TCP segments are limited to, bytes; 0 for no limit.
    pub mss: u16,
    pub behaviour: Behaviour,
    /// The first port of `ports` in the configuration, excluded or not.
    pub range: u16,
    /// External addresses by outside interface index.
    pub pools: Vec<(u32, External)>,
}

/// Where a rule's external addresses on an outside interface come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum External {
    /// These, in configured order; not empty.
    Listed(Vec<Ipv4Addr>),
    /// A source model's choice by destination.
    Chosen(TableKey),
}

/// What the table depends on besides the configuration.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Host {
    pub outside: Vec<OutsideInterface>,
    /// Names and indexes of the inside interfaces that are there.
    pub inside: Vec<(String, u32)>,
    /// Every address of this machine, with the index of its interface: the network `local-host`.
    pub local: Vec<(u32, Ipv4Addr)>,
    /// Largest packets of interfaces, bytes, by index.
    pub mtus: BTreeMap<u32, u32>,
}

/// An outside interface that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutsideInterface {
    pub index: u32,
    pub name: String,
    pub addresses: Vec<Ipv4Addr>,
}

/// Why a configuration does not fit into a rule table.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the rules name {found} different prefixes in `{key}`; there is room for {PREFIXES_PER_TABLE}"
)]
pub struct TooManyPrefixes {
    key: &'static str,
    found: usize,
}

impl From<TooManyPrefixes> for Failure {
    fn from(error: TooManyPrefixes) -> Self {
        Self::usage(error.to_string()).with_help("merge prefixes, or name larger ones")
    }
}

/// The map holds two tables.
const PREFIXES_PER_TABLE: usize = PREFIXES_MAX as usize / SLOTS as usize;

/// Compiles a checked configuration for a host, and says what will not work there.
pub fn compile(config: &Config, host: &Host) -> Result<(RuleTable, Vec<String>), TooManyPrefixes> {
    let mut warnings = Vec::new();
    let mut rules = Vec::new();
    for rule in &config.rules {
        rules.push(compile_rule(rule, config, host, &mut warnings));
    }
    let local: Vec<Ipv4Addr> = host.local.iter().map(|(_, address)| *address).collect();
    let outside: Vec<Ipv4Addr> =
        host.outside.iter().flat_map(|interface| &interface.addresses).copied().collect();
    let own = Own { all: &local, outside: &outside };
    let pools = rules.iter().map(|rule| rule.pools.as_slice());
    let externals = externals::externals(config, pools, &host.outside);
    let table = RuleTable {
        rules,
        from: coverage::prefixes(config, own, Side::From)?,
        to: coverage::prefixes(config, own, Side::To)?,
        subsets: subsets(config),
        guards: guards(config, &host.inside),
        locals: host.local.clone(),
        settings: settings(config, &externals),
        externals,
    };
    Ok((table, warnings))
}

fn compile_rule(
    rule: &config::Rule,
    config: &Config,
    host: &Host,
    warnings: &mut Vec<String>,
) -> CompiledRule {
    let name = rule.name.clone();
    let config::Action::Snat(snat) = &rule.action else {
        let action = match rule.action {
            config::Action::Route => Action::Route,
            _ => Action::Drop,
        };
        let ports = Ports::NONE;
        let (pooling, pools) = (Pooling::Paired, Vec::new());
        let behaviour = Behaviour::default();
        return CompiledRule { name, action, ports, pooling, mss: 0, behaviour, range: 0, pools };
    };
    let ports = Ports::new(&ports::allowed(snat));
    let (pooling, pools) = match &snat.source {
        config::Source::Model(model) => {
            let key = |ifindex| TableKey::new(ifindex, *model, snat.sticky, config);
            let indexes = host.outside.iter().map(|interface| interface.index);
            let chosen = indexes.map(|index| (index, External::Chosen(key(index))));
            (Pooling::Paired, chosen.collect())
        }
        config::Source::Addresses { addresses, pooling } => {
            let pooling = match pooling {
                config::Pooling::Paired if snat.spill => Pooling::Spilling,
                config::Pooling::Paired => Pooling::Paired,
                config::Pooling::Random => Pooling::Random,
            };
            (pooling, listed(&name, addresses, &host.outside, warnings))
        }
    };
    let mss = mss(snat.mss, &pools, host);
    let behaviour = behaviour(snat);
    let range = *snat.ports.start();
    CompiledRule { name, action: Action::Snat, ports, pooling, mss, behaviour, range, pools }
}

/// How a rule maps and filters, by protocol.
fn behaviour(snat: &config::Snat) -> Behaviour {
    let protocols = [
        (config::Protocol::Tcp, Protocol::Tcp),
        (config::Protocol::Udp, Protocol::Udp),
        (config::Protocol::Icmp, Protocol::Icmp),
    ];
    protocols.into_iter().fold(Behaviour::default(), |behaviour, (of, protocol)| {
        let kind = match snat.mapping.get(of) {
            config::Mapping::EndpointIndependent => Kind::EndpointIndependent,
            config::Mapping::AddressAndPortDependent => Kind::AddressAndPortDependent,
        };
        let filtering = match snat.filtering.get(of) {
            config::Filtering::EndpointIndependent => Filtering::EndpointIndependent,
            config::Filtering::AddressDependent => Filtering::AddressDependent,
            config::Filtering::AddressAndPortDependent => Filtering::AddressAndPortDependent,
        };
        behaviour.with(protocol, kind, filtering)
    })
}

/// Bytes of IPv4 and TCP headers without options: what a packet holds beside its segment (RFC 6691).
const HEADER_BYTES: u32 = 40;

/// What the segments of a rule's connections are limited to. `auto`: what fits into a packet on every
/// interface that they may pass: those inside, and those outside that the rule uses.
fn mss(wanted: config::Mss, pools: &[(u32, External)], host: &Host) -> u16 {
    match wanted {
        config::Mss::Off => 0,
        config::Mss::Clamp(bytes) => bytes,
        config::Mss::Auto => {
            let outside = pools.iter().map(|(index, _)| index);
            let passed = outside.chain(host.inside.iter().map(|(_, index)| index));
            let mtu = passed.filter_map(|index| host.mtus.get(index)).min();
            let segment = mtu.map_or(0, |mtu| mtu.saturating_sub(HEADER_BYTES));
            segment.try_into().unwrap_or(u16::MAX)
        }
    }
}

/// Where the addresses that a rule lists are.
fn listed(
    rule: &str,
    addresses: &[Ipv4Addr],
    outside: &[OutsideInterface],
    warnings: &mut Vec<String>,
) -> Vec<(u32, External)> {
    let mut pools = Vec::new();
    for interface in outside {
        let is_here = |address: &Ipv4Addr| interface.addresses.contains(address);
        let here: Vec<_> = addresses.iter().copied().filter(is_here).collect();
        if here.is_empty() {
            warnings.push(format!(
                "rule `{rule}` has no external address on `{}`: what it covers and leaves there is \
                 dropped as address_not_on_egress",
                interface.name
            ));
        } else {
            pools.push((interface.index, External::Listed(here)));
        }
    }
    for address in addresses {
        if !outside.iter().any(|interface| interface.addresses.contains(address)) {
            warnings.push(format!(
                "rule `{rule}`: {address} is on no outside interface and is not used"
            ));
        }
    }
    pools
}

/// What networks that name their interfaces ask of every source.
fn guards(config: &Config, inside: &[(String, u32)]) -> Vec<(Ipv4Net, Guard)> {
    let named: Vec<_> =
        config.networks.iter().filter(|network| !network.interfaces.is_empty()).collect();
    if named.is_empty() {
        return Vec::new();
    }
    // One that is not there has no packets.
    let indexes = |names: &mut dyn Iterator<Item = &String>| -> Vec<u32> {
        let names: BTreeSet<_> = names.collect();
        let there = inside.iter().filter(|(name, _)| names.contains(name));
        there.map(|(_, index)| *index).take(GUARD_INTERFACES_MAX as usize).collect()
    };
    let every = indexes(&mut named.iter().flat_map(|network| &network.interfaces));
    let mut guards = vec![(Ipv4Net::default(), Guard::new(false, &every))];
    for network in named {
        let guard = Guard::new(true, &indexes(&mut network.interfaces.iter()));
        guards.extend(network.prefixes.iter().map(|prefix| (*prefix, guard)));
    }
    guards
}

fn subsets(config: &Config) -> [RuleBits; Subset::COUNT as usize] {
    let mut subsets = [RuleBits::EMPTY; Subset::COUNT as usize];
    for (position, rule) in config.rules.iter().enumerate() {
        let mut add = |subset: Subset| {
            if let Some(bits) = subsets.get_mut(subset as usize) {
                bits.insert(position as u32);
            }
        };
        let protocols = [
            (Subset::Tcp, rule.protocols.contains(config::Protocol::Tcp)),
            (Subset::Udp, rule.protocols.contains(config::Protocol::Udp)),
            (Subset::Icmp, rule.protocols.contains(config::Protocol::Icmp)),
            (Subset::Other, rule.protocols.contains_others()),
            (Subset::Snat, matches!(rule.action, config::Action::Snat(_))),
        ];
        protocols.into_iter().filter(|(_, member)| *member).for_each(|(subset, _)| add(subset));
    }
    subsets
}

fn settings(config: &Config, externals: &Externals) -> Settings {
    let mut timeout_ns = [0; Lifetime::COUNT];
    let timeouts = &config.timeouts;
    for (lifetime, timeout) in [
        (Lifetime::TcpOpening, timeouts.tcp_opening),
        (Lifetime::TcpEstablished, timeouts.tcp_established),
        (Lifetime::TcpClosing, timeouts.tcp_closing),
        (Lifetime::Udp, timeouts.udp),
        (Lifetime::UdpDns, timeouts.udp_dns),
        (Lifetime::Icmp, timeouts.icmp),
    ] {
        timeout_ns[lifetime as usize] = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX / 2);
    }
    let unmatched = match config.defaults.unmatched {
        config::Unmatched::Route => Action::Route,
        config::Unmatched::Drop => Action::Drop,
    };
    let guarded = config.networks.iter().any(|network| !network.interfaces.is_empty());
    Settings {
        timeout_ns,
        cooldown: cooldown(config.cooldown),
        clients: clients(config.limits),
        unmatched: unmatched as u8,
        guarded: guarded.into(),
        enforce_strong_send: config.source.enforce_strong_send.into(),
        zero: [0; 7],
        port_sets: 0,
        hints_since: 0,
        externals: Span::of(externals.iter().map(|(address, ..)| (*address).into())),
    }
}

fn clients(config: config::Limits) -> ClientLimits {
    ClientLimits {
        sessions: config.sessions_per_client,
        half_open: config.half_open_per_client,
        new_per_second: config.new_per_second_per_client,
        zero: 0,
    }
}

fn cooldown(config: config::Cooldown) -> Cooldown {
    let ns = |ms: u32| u64::from(ms) * 1_000_000;
    let mut wait_ns = [0; Reason::COUNT];
    for (reason, ms) in [
        (Reason::Fin, config.time_ms),
        (Reason::Rst, config.rst_ms),
        (Reason::HalfOpen, config.half_open_ms),
        (Reason::UdpIcmp, config.udp_ms),
    ] {
        wait_ns[reason as usize] = ns(ms);
    }
    let scope = match config.scope {
        config::CooldownScope::Destination => Scope::Destination,
        config::CooldownScope::Port => Scope::Port,
    };
    Cooldown {
        wait_ns,
        enabled: config.enabled.into(),
        scope: scope as u8,
        pressure_reuse: config.pressure_reuse.into(),
        zero: [0; 5],
    }
}

#[cfg(test)]
mod tests;
