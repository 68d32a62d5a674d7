//! Configuration and host → the rule table that the data path works with. Pure.
use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;
use nat_common::{
    limits::PREFIXES_MAX,
    pool::Pooling,
    port::PortRange,
    rule::{Action, RuleBits, Subset},
    settings::{Lifetime, SLOTS, Settings},
};

use crate::{
    config::{self, Config, Selector},
    exit::Failure,
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
    pub settings: Settings,
}

/// A rule of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompiledRule {
    pub name: String,
    pub action: Action,
    pub ports: PortRange,
    pub pooling: Pooling,
    /// External addresses by outside interface index, in configured order, none empty.
    pub pools: Vec<(u32, Vec<Ipv4Addr>)>,
}

/// What the table depends on besides the configuration.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Host {
    pub outside: Vec<OutsideInterface>,
    /// Every address of this machine: the network `local-host`.
    pub local: Vec<Ipv4Addr>,
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
    let rules: Vec<_> =
        config.rules.iter().map(|rule| compile_rule(rule, &host.outside, &mut warnings)).collect();
    let table = RuleTable {
        rules,
        from: prefixes(config, &host.local, Side::From)?,
        to: prefixes(config, &host.local, Side::To)?,
        subsets: subsets(config),
        settings: settings(config),
    };
    Ok((table, warnings))
}

fn compile_rule(
    rule: &config::Rule,
    outside: &[OutsideInterface],
    warnings: &mut Vec<String>,
) -> CompiledRule {
    let config::Action::Snat(snat) = &rule.action else {
        return CompiledRule {
            name: rule.name.clone(),
            action: match rule.action {
                config::Action::Route => Action::Route,
                _ => Action::Drop,
            },
            ports: PortRange { min: 0, max: 0 },
            pooling: Pooling::Paired,
            pools: Vec::new(),
        };
    };
    let mut pools = Vec::new();
    for interface in outside {
        let here: Vec<_> = snat
            .addresses
            .iter()
            .copied()
            .filter(|address| interface.addresses.contains(address))
            .collect();
        if here.is_empty() {
            warnings.push(format!(
                "rule `{}` has no external address on `{}`: what it covers and leaves there is \
                 dropped as address_not_on_egress",
                rule.name, interface.name
            ));
        } else {
            pools.push((interface.index, here));
        }
    }
    for address in &snat.addresses {
        if !outside.iter().any(|interface| interface.addresses.contains(address)) {
            warnings.push(format!(
                "rule `{}`: {address} is on no outside interface and is not used",
                rule.name
            ));
        }
    }
    CompiledRule {
        name: rule.name.clone(),
        action: Action::Snat,
        ports: PortRange { min: *snat.ports.start(), max: *snat.ports.end() },
        pooling: match snat.pooling {
            config::Pooling::Paired => Pooling::Paired,
            config::Pooling::Random => Pooling::Random,
        },
        pools,
    }
}

/// Every prefix at which the set of rules may change, with the rules that hold there.
///
/// A packet's longest prefix among these decides as its address would: each prefix that a rule
/// names is one of them, so no rule's boundary lies between the address and its longest prefix.
fn prefixes(
    config: &Config,
    local: &[Ipv4Addr],
    side: Side,
) -> Result<Vec<(Ipv4Net, RuleBits)>, TooManyPrefixes> {
    let mut points = BTreeSet::new();
    for (rule, selector) in
        config.rules.iter().flat_map(|rule| side.of(rule).iter().map(move |one| (rule, one)))
    {
        // What is in `local-host` is in no other network, so each of these ends at its addresses;
        // and some prefixes leave them out.
        let ends_there = match selector {
            Selector::Prefix(prefix) => leaves_local_out(side, rule, *prefix),
            _ => true,
        };
        if ends_there {
            points.extend(local.iter().copied().map(Ipv4Net::from));
        }
        match selector {
            Selector::Prefix(prefix) => {
                points.insert(*prefix);
            }
            Selector::LocalHost => {}
            Selector::Network(index) => points.extend(network(config, *index)),
            Selector::External => {
                points.insert(Ipv4Net::default());
                points.extend(config.networks.iter().flat_map(|network| &network.prefixes));
            }
        }
    }
    let rules_at = |point: &Ipv4Net| {
        let mut bits = RuleBits::EMPTY;
        for (position, rule) in config.rules.iter().enumerate() {
            let holds = |selector| match selector {
                Selector::Prefix(prefix) if leaves_local_out(side, rule, prefix) => {
                    prefix.contains(point) && !is_local(local, point)
                }
                selector => holds(config, local, &selector, point),
            };
            if side.of(rule).iter().copied().any(holds) {
                bits.insert(position as u32);
            }
        }
        bits
    };
    if points.len() > PREFIXES_PER_TABLE {
        return Err(TooManyPrefixes { key: side.key(), found: points.len() });
    }
    Ok(points.iter().map(|point| (*point, rules_at(point))).collect())
}

/// Whether a prefix does not mean the machine's own addresses although it covers them. Their packets
/// are translated by rules that say so: one for everybody's would break the answers of the
/// gateway's own services.
fn leaves_local_out(side: Side, rule: &config::Rule, prefix: Ipv4Net) -> bool {
    let translates = matches!(rule.action, config::Action::Snat(_));
    side == Side::From && translates && prefix.prefix_len() < 32
}

/// Whether a prefix is one of the machine's own addresses.
fn is_local(local: &[Ipv4Addr], point: &Ipv4Net) -> bool {
    point.prefix_len() == 32 && local.contains(&point.addr())
}

/// The two sides of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    From,
    To,
}

impl Side {
    const fn of(self, rule: &config::Rule) -> &Vec<Selector> {
        match self {
            Self::From => &rule.from,
            Self::To => &rule.to,
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
        }
    }
}

fn network(config: &Config, index: usize) -> &[Ipv4Net] {
    config.networks.get(index).map_or(&[], |network| &network.prefixes)
}

/// Whether a selector covers the addresses of which `point` is the longest prefix.
fn holds(config: &Config, local: &[Ipv4Addr], selector: &Selector, point: &Ipv4Net) -> bool {
    let is_local = is_local(local, point);
    let in_network = |index| network(config, index).iter().any(|prefix| prefix.contains(point));
    match selector {
        Selector::Prefix(prefix) => prefix.contains(point),
        Selector::LocalHost => is_local,
        Selector::Network(index) => !is_local && in_network(*index),
        Selector::External => !is_local && !(0..config.networks.len()).any(in_network),
    }
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

fn settings(config: &Config) -> Settings {
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
    Settings { timeout_ns, unmatched: unmatched as u8, zero: [0; 7] }
}

#[cfg(test)]
mod tests;
