//! What the `from` and `to` of rules cover.
use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;
use nat_common::rule::RuleBits;

use super::{PREFIXES_PER_TABLE, TooManyPrefixes};
use crate::config::{self, Config, Protocol, Rule, Selector};

/// What the rules want to know of a packet; None is any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    pub from: Option<Ipv4Addr>,
    pub to: Ipv4Addr,
    pub protocol: Option<Protocol>,
}

/// The machine's own addresses.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Own<'a> {
    pub all: &'a [Ipv4Addr],
    /// Those of them that are on outside interfaces. As destinations they are outside, too: who
    /// addresses them from inside may mean a client behind them (RFC 4787 REQ-9).
    pub outside: &'a [Ipv4Addr],
}

/// What the rules say of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Matched<'c> {
    Rule(&'c Rule),
    /// No rule, but but for its protocol this one would: what it does not cover is dropped.
    OnlyProtocolDiffers(&'c Rule),
    Nothing,
}

/// The first rule for a packet, read in order as a person would.
pub fn first_match<'c>(config: &'c Config, own: Own<'_>, packet: Packet) -> Matched<'c> {
    let covers = |side, rule: &Rule, address: Ipv4Addr| {
        let selectors = Side::of(side, rule).iter();
        selectors.copied().any(|one| covers(config, own, side, rule, &one, &address.into()))
    };
    let covered = |rule: &&Rule| {
        let from = packet.from.is_none_or(|from| covers(Side::From, rule, from));
        from && covers(Side::To, rule, packet.to)
    };
    let is_of_protocol =
        |rule: &&Rule| packet.protocol.is_none_or(|protocol| rule.protocols.contains(protocol));
    let rules = || config.rules.iter().filter(covered);
    if let Some(rule) = rules().find(is_of_protocol) {
        return Matched::Rule(rule);
    }
    match rules().find(|rule| matches!(rule.action, config::Action::Snat(_))) {
        Some(rule) => Matched::OnlyProtocolDiffers(rule),
        None => Matched::Nothing,
    }
}

/// Every prefix at which the set of rules may change, with the rules that hold there.
///
/// A packet's longest prefix among these decides as its address would: each prefix that a rule
/// names is one of them, so no rule's boundary lies between the address and its longest prefix.
pub(super) fn prefixes(
    config: &Config,
    own: Own<'_>,
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
            points.extend(own.all.iter().copied().map(Ipv4Net::from));
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
            let holds = |selector| covers(config, own, side, rule, &selector, point);
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

/// Whether a selector of a rule covers the addresses of which `point` is the longest prefix.
fn covers(
    config: &Config,
    own: Own<'_>,
    side: Side,
    rule: &Rule,
    selector: &Selector,
    point: &Ipv4Net,
) -> bool {
    match selector {
        Selector::Prefix(prefix) if leaves_local_out(side, rule, *prefix) => {
            prefix.contains(point) && !is_local(own.all, point)
        }
        Selector::External if side == Side::To && is_local(own.outside, point) => {
            holds(config, &[], selector, point)
        }
        selector => holds(config, own.all, selector, point),
    }
}

/// Whether a prefix does not mean the machine's own addresses although it covers them. Their packets
/// are translated by rules that say so: one for everybody's would break the answers of the
/// gateway's own services.
fn leaves_local_out(side: Side, rule: &Rule, prefix: Ipv4Net) -> bool {
    let translates = matches!(rule.action, config::Action::Snat(_));
    side == Side::From && translates && prefix.prefix_len() < 32
}

/// Whether a prefix is one of the machine's own addresses.
fn is_local(local: &[Ipv4Addr], point: &Ipv4Net) -> bool {
    point.prefix_len() == 32 && local.contains(&point.addr())
}

/// The two sides of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    From,
    To,
}

impl Side {
    const fn of(self, rule: &Rule) -> &Vec<Selector> {
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
