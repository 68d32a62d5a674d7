//! Which ports of which addresses the rules may use, all of them together.
use std::{collections::BTreeMap, net::Ipv4Addr};

use nat_common::{
    external::ExternalPorts, flow::Protocol, limits::EXTERNAL_RANGES_MAX, port::PortRange,
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
    let mut all: BTreeMap<(Ipv4Addr, u8), Vec<PortRange>> = BTreeMap::new();
    for (rule, pools) in config.rules.iter().zip(pools) {
        let config::Action::Snat(snat) = &rule.action else { continue };
        let ports = ports::allowed(snat);
        let of = |index: u32| outside.iter().find(move |interface| interface.index == index);
        for (index, external) in pools {
            let addresses: &[Ipv4Addr] = match external {
                External::Listed(addresses) => addresses,
                External::Chosen(_) => of(*index).map_or(&[], |interface| &interface.addresses),
            };
            for address in addresses {
                for protocol in protocols(rule) {
                    all.entry((*address, protocol as u8)).or_default().extend(&ports);
                }
            }
        }
    }
    let entry = |((address, protocol), ranges): ((Ipv4Addr, u8), Vec<PortRange>)| {
        Some((address, Protocol::from_number(protocol)?, ExternalPorts::new(&merged(ranges))))
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

/// The fewest ranges that hold the same ports. If these are still too many, gaps are closed, the
/// smallest first: a port that no rule uses then goes unanswered, too.
fn merged(mut ranges: Vec<PortRange>) -> Vec<PortRange> {
    ranges.sort_by_key(|range| (range.min, range.max));
    let mut merged: Vec<PortRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if u32::from(range.min) <= u32::from(last.max) + 1 => {
                last.max = last.max.max(range.max);
            }
            _ => merged.push(range),
        }
    }
    while merged.len() > EXTERNAL_RANGES_MAX as usize {
        let gap = |pair: &[PortRange]| match pair {
            [one, next] => next.min - one.max,
            _ => u16::MAX,
        };
        let smallest = merged.windows(2).enumerate().min_by_key(|(_, pair)| gap(pair));
        let Some((at, _)) = smallest else { break };
        let next = merged.remove(at + 1);
        if let Some(range) = merged.get_mut(at) {
            range.max = next.max;
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range((a, b): (u16, u16)) -> PortRange {
        PortRange { min: a.min(b), max: a.max(b) }
    }

    proptest! {
        #[test]
        fn merging_loses_no_port_and_adds_none_while_there_is_room(
            pairs in proptest::collection::vec((1_u16..300, 1_u16..300), 0..30),
        ) {
            let ranges: Vec<_> = pairs.into_iter().map(range).collect();
            let merged = merged(ranges.clone());
            prop_assert!(merged.len() <= EXTERNAL_RANGES_MAX as usize);
            let has = |ranges: &[PortRange], port| {
                ranges.iter().any(|range| (range.min..=range.max).contains(&port))
            };
            for port in 0..310 {
                let (before, after) = (has(&ranges, port), has(&merged, port));
                prop_assert!(after || !before, "{port} is lost");
                if merged.len() < EXTERNAL_RANGES_MAX as usize {
                    prop_assert_eq!(after, before, "{}", port);
                }
            }
        }
    }

    #[test]
    fn too_many_ranges_close_the_smallest_gaps() {
        let ranges =
            (0..9).map(|n| range((1000 * n + 1, 1000 * n + if n == 4 { 990 } else { 500 })));
        let merged = merged(ranges.collect());
        assert_eq!(merged.len(), 8);
        assert!(merged.contains(&range((4001, 5500))), "{merged:?}");
    }
}
