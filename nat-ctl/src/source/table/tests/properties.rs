//! Properties over random routes, addresses and edits.
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use proptest::{collection::vec, option, prelude::*, sample::Index};

use super::{
    super::{Edit, Route},
    bench::Bench,
    model::{Addresses, edges, net},
};

/// All there is for the small tests: the prefixes lie in its first half.
fn universe() -> Vec<Ipv4Addr> {
    (0x0a00_0000..=0x0a00_01ff).map(Ipv4Addr::from_bits).collect()
}

/// A prefix of the universe, or one that contains it.
fn near_prefix() -> impl Strategy<Value = Ipv4Net> + Clone {
    let inside = (any::<u8>(), 24..=32u8)
        .prop_map(|(low, len)| Ipv4Net::new(Ipv4Addr::new(10, 0, 0, low), len).unwrap().trunc());
    prop_oneof![8 => inside, 1 => Just(net("0.0.0.0/0")), 1 => Just(net("10.0.0.0/23"))]
}

/// Any prefix, half of them close together so that they nest.
fn far_prefix() -> impl Strategy<Value = Ipv4Net> + Clone {
    let bits = prop_oneof![any::<u32>(), any::<u32>().prop_map(|bits| bits & 0x8003_0f03)];
    (bits, 0..=32u8)
        .prop_map(|(bits, len)| Ipv4Net::new(Ipv4Addr::from_bits(bits), len).unwrap().trunc())
}

fn route(prefix: impl Strategy<Value = Ipv4Net> + Clone) -> impl Strategy<Value = Route> + Clone {
    let via = (0..6u8).prop_map(|host| Ipv4Addr::new(10, 0, 0, host * 40 + 1));
    let table = prop_oneof![3 => Just(1), 1 => Just(0), 1 => Just(u32::MAX)];
    (prefix, option::weighted(0.7, via), 0..3u32, table)
        .prop_map(|(dst, via, metric, table)| Route { dst, via, metric, table })
}

/// Addresses from a prefix's first on.
fn addresses(prefix: impl Strategy<Value = Ipv4Net>) -> impl Strategy<Value = Vec<Ipv4Net>> {
    let address = (prefix, 20..=32u8).prop_map(|(at, len)| Ipv4Net::new(at.addr(), len).unwrap());
    vec(address, 0..4)
}

#[derive(Clone, Debug)]
enum Step {
    /// Several at once, most often one or two.
    Edits(Vec<(Index, Option<Route>)>),
    Addresses(Vec<Ipv4Net>),
    /// Meanwhile everything has changed.
    Restart(Vec<Ipv4Net>, Vec<Route>),
}

fn step(prefix: impl Strategy<Value = Ipv4Net> + Clone) -> impl Strategy<Value = Step> {
    let route = route(prefix.clone());
    let edits = vec((any::<Index>(), option::weighted(0.6, route.clone())), 1..4);
    let restart = (addresses(prefix.clone()), vec(route, 0..24));
    prop_oneof![
        12 => edits.prop_map(Step::Edits),
        3 => addresses(prefix).prop_map(Step::Addresses),
        1 => restart.prop_map(|(list, routes)| Step::Restart(list, routes)),
    ]
}

impl Step {
    /// Takes the step, if `keep` with addresses that keep what they have.
    fn take(&self, bench: &mut Bench, keep: bool, destinations: &[Ipv4Addr]) {
        let addresses = |list: &Vec<_>| Addresses { list: list.clone(), keep };
        match self {
            Self::Edits(edits) => {
                let routes = bench.routes();
                let edit = |(index, route): &(Index, Option<Route>)| match route {
                    Some(route) => Some(Edit::Insert(*route)),
                    None if routes.is_empty() => None,
                    None => Some(Edit::Remove(*index.get(routes))),
                };
                let edits: Vec<_> = edits.iter().filter_map(edit).collect();
                bench.edit(&edits, destinations);
            }
            Self::Addresses(list) => bench.set_addresses(addresses(list), destinations),
            Self::Restart(list, routes) => {
                bench.restart(addresses(list), routes.clone(), destinations);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_destination_of_a_small_universe_has_its_answer(
        list in addresses(near_prefix()),
        routes in vec(route(near_prefix()), 0..24),
        steps in vec(step(near_prefix()), 0..12),
    ) {
        let mut bench = Bench::new(Addresses { list, keep: false }, routes);
        for step in &steps {
            step.take(&mut bench, false, &universe());
            bench.check_size();
        }
    }

    #[test]
    fn sources_in_force_are_kept_if_the_model_wants_that(
        list in addresses(near_prefix()),
        routes in vec(route(near_prefix()), 0..24),
        steps in vec(step(near_prefix()), 0..12),
    ) {
        let mut bench = Bench::new(Addresses { list, keep: true }, routes);
        for step in &steps {
            step.take(&mut bench, true, &universe());
            bench.check_entries();
        }
        // What was kept leaves nothing behind.
        bench.set_addresses(Addresses { list: Vec::new(), keep: false }, &universe());
        bench.check_size();
    }

    #[test]
    fn answers_are_right_in_the_whole_address_space(
        list in addresses(far_prefix()),
        routes in vec(route(far_prefix()), 0..40),
        steps in vec(step(far_prefix()), 0..12),
        anywhere in vec(any::<u32>().prop_map(Ipv4Addr::from_bits), 50),
    ) {
        let mut bench = Bench::new(Addresses { list, keep: false }, routes);
        for step in &steps {
            let mut destinations = edges(&bench.boundaries());
            destinations.extend(&anywhere);
            step.take(&mut bench, false, &destinations);
        }
        bench.check_size();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn after_a_long_life_a_table_is_like_a_new_one(
        list in addresses(far_prefix()),
        routes in vec(route(far_prefix()), 200),
        steps in vec(step(far_prefix()), 300),
    ) {
        let mut bench = Bench::new(Addresses { list, keep: false }, routes);
        for step in &steps {
            step.take(&mut bench, false, &[]);
        }
        let everywhere = edges(&bench.boundaries());
        bench.edit(&[], &everywhere);
        bench.check_size();
    }
}
