//! Finds rules that can never match: because an earlier one takes all their packets, or because
//! what they name covers no address.
//!
//! Which addresses this machine has is not known here. So `local-host` counts as a set of its own,
//! which only `local-host` itself and the prefix of all addresses cover, and is disregarded where a
//! rule does not name it.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::config::checked::{Action, Network, Rule, Selector};
use crate::config::document::Span;
use crate::config::report::Report;
use crate::output::text::excerpt;

/// Warns about each rule that cannot match. `places` are those of the rules.
pub(super) fn warn(rules: &[Rule], places: &[Span], networks: &[Network], report: &mut Report<'_>) {
    let external = AddressSet::of_prefixes(networks.iter().flat_map(|n| n.prefixes.iter()));
    let external = external.complement();
    let reaches: Vec<Reach> =
        rules.iter().map(|rule| Reach::of(rule, networks, &external)).collect();
    for (index, reach) in reaches.iter().enumerate() {
        let (Some(rule), Some(at)) = (rules.get(index), places.get(index)) else { continue };
        let name = excerpt(&rule.name);
        if reach.is_empty() {
            let message = format!("rule `{name}` never matches: `external` covers no address");
            report.warn(at, message, "the networks cover every address: narrow them");
            continue;
        }
        let earlier = reaches.iter().zip(rules).take(index);
        let shadow = earlier.into_iter().find(|(earlier, _)| earlier.covers(reach));
        if let Some((_, shadow)) = shadow {
            let shadow = excerpt(&shadow.name);
            let message = format!(
                "rule `{name}` never matches: rule `{shadow}` before it takes all its packets"
            );
            report.warn(at, message, format!("move it before `{shadow}`, or remove it"));
        }
    }
}

/// What a rule covers.
struct Reach<'r> {
    rule: &'r Rule,
    from: Side,
    to: Side,
}

/// What one of `from` and `to` covers.
struct Side {
    addresses: AddressSet,
    names_local_host: bool,
    covers_local_host: bool,
}

impl<'r> Reach<'r> {
    fn of(rule: &'r Rule, networks: &[Network], external: &AddressSet) -> Self {
        Self {
            rule,
            // A prefix does not have the machine's own packets translated.
            from: Side::of(&rule.from, networks, external, !matches!(rule.action, Action::Snat(_))),
            to: Side::of(&rule.to, networks, external, true),
        }
    }

    fn is_empty(&self) -> bool {
        self.from.is_empty() || self.to.is_empty()
    }

    fn covers(&self, other: &Reach<'_>) -> bool {
        self.rule.protocols.is_superset(other.rule.protocols)
            && self.from.covers(&other.from)
            && self.to.covers(&other.to)
    }
}

impl Side {
    fn of(
        selectors: &[Selector],
        networks: &[Network],
        external: &AddressSet,
        prefixes_count: bool,
    ) -> Self {
        let names_local_host = selectors.contains(&Selector::LocalHost);
        let prefixes = selectors.iter().filter_map(|selector| match selector {
            Selector::Prefix(prefix) => Some(prefix),
            _ => None,
        });
        Self {
            addresses: AddressSet::of_selectors(selectors, networks, external),
            names_local_host,
            covers_local_host: names_local_host
                || (prefixes_count && AddressSet::of_prefixes(prefixes).complement().0.is_empty()),
        }
    }

    fn is_empty(&self) -> bool {
        self.addresses.0.is_empty() && !self.names_local_host
    }

    fn covers(&self, other: &Self) -> bool {
        self.addresses.is_superset(&other.addresses)
            && (self.covers_local_host || !other.names_local_host)
    }
}

/// A set of IPv4 addresses: inclusive ranges in rising order that do not touch each other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AddressSet(Vec<(u32, u32)>);

impl AddressSet {
    fn of_selectors(selectors: &[Selector], networks: &[Network], external: &Self) -> Self {
        let mut ranges = Vec::new();
        for selector in selectors {
            match selector {
                Selector::Prefix(prefix) => ranges.push(range(prefix)),
                Selector::Network(index) => ranges
                    .extend(networks.get(*index).iter().flat_map(|n| n.prefixes.iter().map(range))),
                Selector::External => ranges.extend_from_slice(&external.0),
                Selector::LocalHost => {}
            }
        }
        Self::of_ranges(ranges)
    }

    fn of_prefixes<'p>(prefixes: impl IntoIterator<Item = &'p Ipv4Net>) -> Self {
        Self::of_ranges(prefixes.into_iter().map(range).collect())
    }

    fn of_ranges(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(open) if first <= open.1.saturating_add(1) => open.1 = open.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    fn complement(&self) -> Self {
        let mut gaps = Vec::with_capacity(self.0.len() + 1);
        let mut next = Some(0);
        for (first, last) in &self.0 {
            if let Some(start) = next.filter(|start| start < first) {
                gaps.push((start, first - 1));
            }
            next = last.checked_add(1);
        }
        gaps.extend(next.map(|start| (start, u32::MAX)));
        Self(gaps)
    }

    fn is_superset(&self, other: &Self) -> bool {
        let mut ranges = self.0.iter().peekable();
        other.0.iter().all(|(first, last)| {
            while ranges.next_if(|range| range.1 < *first).is_some() {}
            ranges.peek().is_some_and(|range| range.0 <= *first && *last <= range.1)
        })
    }
}

fn range(prefix: &Ipv4Net) -> (u32, u32) {
    let bits = |address: Ipv4Addr| u32::from(address);
    (bits(prefix.network()), bits(prefix.broadcast()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(prefixes: &[&str]) -> AddressSet {
        let prefixes: Vec<Ipv4Net> = prefixes.iter().map(|text| text.parse().unwrap()).collect();
        AddressSet::of_prefixes(&prefixes)
    }

    #[test]
    fn sets_merge_and_contain() {
        assert_eq!(set(&["10.0.0.0/9", "10.128.0.0/9"]), set(&["10.0.0.0/8"]));
        assert!(set(&["10.0.0.0/9", "10.128.0.0/9"]).is_superset(&set(&["10.1.0.0/16"])));
        assert!(!set(&["10.0.0.0/8"]).is_superset(&set(&["10.0.0.0/7"])));
        assert!(set(&["0.0.0.0/0"]).is_superset(&set(&["255.255.255.255/32"])));
        assert_eq!(set(&["0.0.0.0/0"]).complement(), set(&[]));
        assert_eq!(set(&[]).complement(), set(&["0.0.0.0/0"]));
        assert_eq!(set(&["0.0.0.0/1"]).complement(), set(&["128.0.0.0/1"]));
    }

    proptest! {
        #[test]
        fn complement_is_the_rest(
            ranges in prop::collection::vec((any::<u32>(), any::<u32>()), 0..9),
        ) {
            let ranges = ranges.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
            let set = AddressSet::of_ranges(ranges);
            let rest = set.complement();
            prop_assert_eq!(&rest.complement(), &set);
            prop_assert_eq!(rest.is_superset(&set), set.0.is_empty());
            let mut both = set.0.clone();
            both.extend(&rest.0);
            prop_assert_eq!(AddressSet::of_ranges(both), AddressSet(vec![(0, u32::MAX)]));
        }
    }
}
