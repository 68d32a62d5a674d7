use std::collections::HashSet;

use proptest::{prelude::*, sample::select as one_of};

use super::{literal, *};
use crate::source::{
    Address, CandidateSet, Egress, Flag, PrivateScope, Route, TieBreak, testing::host,
};

/// Addresses with much in common, of every scope and label.
const V4: [&str; 11] = [
    "192.168.1.14",
    "192.168.1.68",
    "192.168.1.127",
    "192.168.0.255",
    "10.0.0.10",
    "100.64.0.10",
    "8.8.8.8",
    "8.8.8.10",
    "169.254.7.7",
    "169.254.10.5",
    "127.0.0.1",
];
const V6: [&str; 14] = [
    "2001:db8:1::1",
    "2001:db8:1::2",
    "2001:db8:1:1::1",
    "2001:db8:3::1",
    "2002:c633:6401::1",
    "2001::1",
    "fd00::1",
    "fd00:0:0:1::1",
    "fe80::1",
    "fe80::2",
    "fec0::1",
    "ff02::1",
    "ff05::1",
    "ff0e::1",
];
const FLAGS: [Flag; 8] = [
    Flag::SkipAsSource,
    Flag::Deprecated,
    Flag::Deprecated,
    Flag::Tentative,
    Flag::Temporary,
    Flag::Temporary,
    Flag::Home,
    Flag::CareOf,
];

fn ip(v6: bool) -> BoxedStrategy<IpAddr> {
    let list: Vec<&str> = if v6 { V6.to_vec() } else { V4.to_vec() };
    one_of(list).prop_map(|text| text.parse().unwrap()).boxed()
}

/// An interface's addresses.
fn addresses(v6: bool) -> impl Strategy<Value = Vec<Address>> {
    let lens = if v6 { vec![46_u8, 48, 64, 128] } else { vec![8, 16, 24, 26, 31, 32] };
    let flags = prop::collection::vec(one_of(FLAGS.to_vec()), 0..3);
    let flags = prop_oneof![Just(Vec::new()), flags];
    let router = prop::option::of(one_of(vec!["fe80::1", "fe80::2"]));
    let parts = (ip(v6), one_of(lens), flags, router);
    let address = parts.prop_map(|(ip, prefix_len, flags, router)| Address {
        ip,
        prefix_len,
        flags: flags.into_iter().collect(),
        advertised_by: router.map(|router| router.parse().unwrap()),
    });
    prop::collection::vec(address, 0..5).prop_map(|mut addresses| {
        // Each once, by which the tests find it again.
        let mut known = HashSet::new();
        addresses.retain(|address| known.insert(address.ip));
        addresses
    })
}

prop_compose! {
    fn options()(
        (lowest, all, site_local, cap) in any::<(bool, bool, bool, Option<bool>)>(),
        (prefer_temporary, honour_skip_as_source) in any::<(bool, bool)>(),
    ) -> Options {
        Options {
            tie_break: if lowest { TieBreak::Lowest } else { TieBreak::First },
            candidates: if all { CandidateSet::All } else { CandidateSet::Egress },
            private_scope:
                if site_local { PrivateScope::SiteLocal } else { PrivateScope::Global },
            cpl_cap_to_prefix: cap,
            prefer_temporary,
            honour_skip_as_source,
        }
    }
}

prop_compose! {
    /// A host with one route, and a question to it.
    fn case()(v6 in any::<bool>())(
        lan in addresses(v6),
        wan in addresses(v6),
        lan_up in any::<bool>(),
        destination in ip(v6),
        gateway in prop::option::of(ip(v6)),
        by_rfc in any::<bool>(),
        options in options(),
    ) -> (Host, Query) {
        let interface = |name: &str, up, addresses| Interface {
            name: name.to_owned(),
            up,
            addresses,
        };
        let any = if destination.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        let route = Route {
            dst: any.parse().unwrap(),
            via: gateway,
            dev: "wan0".to_owned(),
            metric: 0,
            src: None,
            table: 0,
        };
        let interfaces = vec![interface("lan0", lan_up, lan), interface("wan0", true, wan)];
        let host = Host { interfaces, routes: vec![route] };
        let model = if by_rfc { Model::Rfc6724 } else { Model::Strong };
        (host, Query { options, ..Query::new(destination, model) })
    }
}

fn asked<'a>(host: &'a Host, query: &Query) -> literal::Asked<'a> {
    literal::Asked {
        destination: query.destination,
        next_hop: host.routes[0].via.unwrap_or(query.destination),
        egress: &host.routes[0].dev,
        options: query.options,
        rfc6724: query.model == Model::Rfc6724,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_rules_as_worded_give_the_same_answer((host, query) in case()) {
        let told = select(&host, &query);
        if told.error() == Some(Error::NotUnicast) {
            return Ok(());
        }
        let expected = literal::select(&host.interfaces, &asked(&host, &query));
        let answer = told.outcome.ok().map(|(source, rule)| (source, rule.to_string()));
        prop_assert_eq!(answer, expected);
    }

    /// What the compiler of destinations asks, and what people ask, have one answer.
    #[test]
    fn a_prepared_way_out_gives_the_same_answer(
        (host, query) in case(),
        model in one_of(Model::ALL.to_vec()),
    ) {
        let query = Query { model, ..query };
        let IpAddr::V4(destination) = query.destination else { return Ok(()) };
        let next_hop = match host.routes[0].via {
            Some(IpAddr::V4(gateway)) => gateway,
            _ => destination,
        };
        let told = select(&host, &query).outcome;
        let prepared = Egress::new(&host, "wan0", model, &query.options);
        let answer = prepared.choose(next_hop, destination);
        prop_assert_eq!(answer.map(|(source, rule)| (IpAddr::V4(source), rule)), told);
    }

    /// Rules 4 and 5.5 leave some pairs undecided in a way that can make a circle, so only without.
    #[test]
    fn nobody_beats_the_winner((mut host, query) in case()) {
        for address in host.interfaces.iter_mut().flat_map(|one| &mut one.addresses) {
            address.advertised_by = None;
            address.flags = address.flags.without(Flag::Home).without(Flag::CareOf);
        }
        let told = select(&host, &query);
        let source = |judged: &Judged| {
            let interface = host.interface(&judged.dev).unwrap();
            interface.addresses.iter().find(|one| one.ip == judged.address && one.flags == judged.flags)
        };
        let asked = asked(&host, &query);
        let winner = told.candidates.iter().find(|judged| judged.eliminated_by.is_none());
        for loser in told.candidates.iter().filter(|judged| {
            matches!(judged.eliminated_by, Some(Eliminated::Rule(_)))
        }) {
            let winner = winner.unwrap();
            let (Some(one), Some(other)) = (source(loser), source(winner)) else { continue };
            prop_assert!(!literal::beats(&(&loser.dev, one), &(&winner.dev, other), &asked));
        }
    }
}

/// "After an 8a tie at k bits, rule 8 can separate two candidates only if the destination shares
/// exactly k bits with the next hop." All sources, next hops and destinations of 5 bits.
#[test]
fn rule_8_decides_only_as_far_from_the_next_hop_as_the_candidates_are() {
    const BITS: u8 = 5;
    let all = || (0..1_u8 << BITS).map(|n| Ipv4Addr::new(100, 64, 7, n << (8 - BITS) | 1));
    let shared = |a: Ipv4Addr, b: Ipv4Addr| (a.to_bits() ^ b.to_bits()).leading_zeros();
    let mut decided = 0;
    for (one, other) in all().flat_map(|one| all().map(move |other| (one, other))) {
        if one >= other {
            continue;
        }
        let host = host(&format!("wan0: {one}/32, {other}/32"));
        let egress = Egress::new(&host, "wan0", Model::Strong, &Options::default());
        for (next_hop, destination) in all().flat_map(|n| all().map(move |d| (n, d))) {
            if egress.choose(next_hop, destination).unwrap().1 == Rule::Longest {
                assert_ne!(destination, next_hop);
                assert_eq!(shared(one, next_hop), shared(other, next_hop));
                assert_eq!(shared(destination, next_hop), shared(one, next_hop));
                decided += 1;
            }
        }
    }
    assert!(decided > 0);
}
