//! Which ports of which addresses the rules may use, all of them together.
use std::{collections::BTreeMap, net::Ipv4Addr};

use nat_common::{
    external::{ExternalPorts, ExternalRange},
    flow::Protocol,
    limits::EXTERNAL_RANGES_MAX,
    port::PortRange,
};

use super::{External, OutsideInterface, ports};
use crate::config::{self, Config};

/// Ports by address and protocol.
pub type Externals = Vec<(Ipv4Addr, Protocol, ExternalPorts)>;

/// Of rules in the order of the configuration, each with its pools. A source model may choose any
/// address of the interface by which a packet leaves.
pub fn externals<'a>(
    config: &Config,
    pools: impl Iterator<Item = &'a [(u32, External)]>,
    outside: &[OutsideInterface],
) -> Externals {
    let mut all: BTreeMap<(Ipv4Addr, u8), Vec<ExternalRange>> = BTreeMap::new();
    for ((position, rule), pools) in (0..).zip(&config.rules).zip(pools) {
        let config::Action::Snat(snat) = &rule.action else { continue };
        let owned = |ports| ExternalRange { ports, rule: position };
        let ranges: Vec<_> = ports::allowed(snat).into_iter().map(owned).collect();
        let of = |index: u32| outside.iter().find(move |interface| interface.index == index);
        for (index, external) in pools {
            let addresses: &[Ipv4Addr] = match external {
                External::Listed(addresses) => addresses,
                External::Chosen(_) => of(*index).map_or(&[], |interface| &interface.addresses),
            };
            for address in addresses {
                for protocol in protocols(rule) {
                    all.entry((*address, protocol as u8)).or_default().extend(&ranges);
                }
            }
        }
    }
    let entry = |((address, protocol), ranges): ((Ipv4Addr, u8), Vec<ExternalRange>)| {
        Some((address, Protocol::from_number(protocol)?, ExternalPorts::new(&merged(&ranges))))
    };
    all.into_iter().filter_map(entry).collect()
}

/// Those of a rule's protocols that are translated.
fn protocols(rule: &config::Rule) -> impl Iterator<Item = Protocol> {
    let known = [
        (config::Protocol::Icmp, Protocol::Icmp),
        (config::Protocol::Tcp, Protocol::Tcp),
        (config::Protocol::Udp, Protocol::Udp),
    ];
    known
        .into_iter()
        .filter(|(named, _)| rule.protocols.contains(*named))
        .map(|(_, protocol)| protocol)
}

/// The fewest ranges that hold the same ports, each for the first rule that has it, in rising order. If
/// these are still too many, gaps are closed and neighbours put together, the smallest gap first: a port
/// that no rule uses then goes unanswered, too.
fn merged(ranges: &[ExternalRange]) -> Vec<ExternalRange> {
    let mut merged: Vec<ExternalRange> = Vec::new();
    for next in apart(ranges) {
        match merged.last_mut() {
            Some(last) if last.rule == next.rule && gap(last, &next) == 0 => {
                last.ports.max = next.ports.max;
            }
            _ => merged.push(next),
        }
    }
    while merged.len() > EXTERNAL_RANGES_MAX as usize {
        let between = |pair: &[ExternalRange]| match pair {
            [one, next] => gap(one, next),
            _ => u16::MAX,
        };
        let smallest = merged.windows(2).enumerate().min_by_key(|(_, pair)| between(pair));
        let Some((at, _)) = smallest else { break };
        let next = merged.remove(at + 1);
        if let Some(range) = merged.get_mut(at) {
            range.ports.max = next.ports.max;
        }
    }
    merged
}

/// Ports between two ranges, the first of which ends before the other begins.
fn gap(one: &ExternalRange, next: &ExternalRange) -> u16 {
    next.ports.min - one.ports.max - 1
}

/// The same ports in ranges that do not overlap, in rising order.
fn apart(ranges: &[ExternalRange]) -> Vec<ExternalRange> {
    let mut apart: Vec<ExternalRange> = Vec::new();
    for range in ranges {
        let mut left = vec![*range];
        for taken in &apart {
            left = left.iter().flat_map(|range| without(range, &taken.ports)).collect();
        }
        apart.extend(left);
    }
    apart.sort_by_key(|range| range.ports.min);
    apart
}

/// What is left of a range without some ports.
fn without(range: &ExternalRange, taken: &PortRange) -> impl Iterator<Item = ExternalRange> {
    let PortRange { min, max } = range.ports;
    let below = taken.min.checked_sub(1).map(|last| (min, max.min(last)));
    let above = taken.max.checked_add(1).map(|first| (min.max(first), max));
    let rule = range.rule;
    [below, above]
        .into_iter()
        .flatten()
        .filter(|(min, max)| min <= max)
        .map(move |(min, max)| ExternalRange { ports: PortRange { min, max }, rule })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(rule: u32, (a, b): (u16, u16)) -> ExternalRange {
        ExternalRange { ports: PortRange { min: a.min(b), max: a.max(b) }, rule }
    }

    /// The first rule that has a port, one range after the other.
    fn first(ranges: &[ExternalRange], port: u16) -> Option<u32> {
        let has = |range: &&ExternalRange| (range.ports.min..=range.ports.max).contains(&port);
        ranges.iter().filter(has).map(|range| range.rule).min()
    }

    proptest! {
        #[test]
        fn merging_loses_no_port_and_adds_none_while_there_is_room(
            pairs in proptest::collection::vec((0_u32..4, (1_u16..300, 1_u16..300)), 0..12),
        ) {
            let mut ranges: Vec<_> =
                pairs.into_iter().map(|(rule, ports)| range(rule, ports)).collect();
            ranges.sort_by_key(|range| range.rule);
            let merged = merged(&ranges);
            prop_assert!(merged.len() <= EXTERNAL_RANGES_MAX as usize);
            for port in 0..310 {
                let (before, after) = (first(&ranges, port), first(&merged, port));
                prop_assert!(after.is_some() || before.is_none(), "{port} is lost");
                if merged.len() < EXTERNAL_RANGES_MAX as usize {
                    prop_assert_eq!(after, before, "{}", port);
                }
            }
        }
    }

    #[test]
    fn too_many_ranges_close_the_smallest_gaps() {
        let ranges: Vec<_> = (0..9)
            .map(|n| range(0, (1000 * n + 1, 1000 * n + if n == 4 { 990 } else { 500 })))
            .collect();
        let merged = merged(&ranges);
        assert_eq!(merged.len(), 8);
        assert!(merged.contains(&range(0, (4001, 5500))), "{merged:?}");
    }
}
