//! What the source-address table costs with a full IPv4 routing table: a line of JSON for each
//! number of routes.
//!
//! `cargo bench -p nat-ctl --bench source_table [-- ROUTES…]`
mod addresses;
mod full_table;
mod lpm_trie;

use std::{
    env,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use addresses::Addresses;
use full_table::{FullTable, Random};
use ipnet::Ipv4Net;
use nat_ctl::source::table::{Change, Edit, Route, Table};
use serde_json::{Value, json};

/// Most used first. By rule 8a the first two belong to different addresses of one subnet.
const GATEWAYS: [Ipv4Addr; 5] = [
    Ipv4Addr::new(198, 51, 100, 1),
    Ipv4Addr::new(198, 51, 100, 254),
    Ipv4Addr::new(203, 0, 113, 1),
    Ipv4Addr::new(192, 0, 2, 1),
    Ipv4Addr::new(192, 0, 2, 254),
];

const ADDRESSES: [Ipv4Net; 4] = [
    Ipv4Net::new_assert(Ipv4Addr::new(198, 51, 100, 10), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(198, 51, 100, 200), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 113, 9), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 2, 7), 24),
];

/// Addresses that come and go. No gateway has more bits in common with the first three than with
/// another address; one does with the fourth, and the busiest with the last.
const MORE: [Ipv4Net; 5] = [
    Ipv4Net::new_assert(Ipv4Addr::new(198, 51, 100, 11), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 113, 200), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 1), 32),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 2, 250), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(198, 51, 100, 2), 24),
];

const COMPILES: usize = 3;
const ROUTE_CHANGES: usize = 1000;

fn main() {
    let mut sizes: Vec<usize> = env::args().filter_map(|word| word.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 100_000, 1_000_000];
    }
    for size in sizes {
        println!("{}", measure(size));
    }
}

fn measure(size: usize) -> Value {
    let mut internet = FullTable::new(1, size, &GATEWAYS);
    let mut routes: Vec<_> = (0..size).map(|_| internet.route()).collect();
    let connected = |net: Ipv4Net| Route { dst: net.trunc(), via: None, metric: 0, table: 0 };
    routes.extend(ADDRESSES.map(connected));

    let addresses = Addresses(ADDRESSES.to_vec());
    let compile = || timed(|| Table::new(addresses.clone(), routes.iter().copied()));
    let compiles = (0..COMPILES).map(|_| compile().0).collect();
    let mut table = compile().1;
    let entries = table.entries();
    json!({
        "routes": size,
        "compile_ms": rounded(median(compiles).as_secs_f64() * 1e3),
        "prefixes": table.len(),
        "table_bytes": table.memory(),
        "map_bytes": lpm_trie::bytes(&entries),
        "route_change": route_changes(&mut table, &routes[..size], &mut internet),
        "address_change": MORE.map(|net| address_change(&mut table, net)),
        "default_replaced": default_replaced(&mut table),
    })
}

/// A route is removed, replaced or new; then back.
fn route_changes(
    table: &mut Table<Addresses>,
    routes: &[Route],
    internet: &mut FullTable<'_>,
) -> Value {
    let mut random = Random(2);
    let (mut times, mut counts) = (Vec::new(), Vec::new());
    for round in 0..ROUTE_CHANGES / 2 {
        let old = routes[random.below(routes.len())];
        let new = internet.route();
        let edits = match round % 3 {
            0 => vec![Edit::Remove(old)],
            1 => vec![Edit::Remove(old), Edit::Insert(Route { via: new.via, ..old })],
            _ => vec![Edit::Insert(new)],
        };
        let back = edits.iter().rev().map(|edit| match *edit {
            Edit::Insert(route) => Edit::Remove(route),
            Edit::Remove(route) => Edit::Insert(route),
        });
        for edits in [edits.clone(), back.collect()] {
            let (time, changes) = timed(|| table.update(edits));
            times.push(time);
            counts.push(changes.len());
        }
    }
    times.sort_unstable();
    counts.sort_unstable();
    let at = |share: usize| (times.len() - 1) * share / 100;
    let time = |share| rounded(times[at(share)].as_secs_f64() * 1e6);
    json!({
        "us": { "median": time(50), "p99": time(99), "max": time(100) },
        "prefixes": { "median": counts[at(50)], "p99": counts[at(99)], "max": counts[at(100)] },
    })
}

/// An address comes, then goes: the mean of both.
fn address_change(table: &mut Table<Addresses>, net: Ipv4Net) -> Value {
    let mut more = ADDRESSES.to_vec();
    more.push(net);
    let (there, changes) = timed(|| table.set_chooser(Addresses(more)));
    let (back, _) = timed(|| table.set_chooser(Addresses(ADDRESSES.to_vec())));
    outcome((there + back) / 2, &changes)
}

/// A default route goes from the second gateway to the third.
fn default_replaced(table: &mut Table<Addresses>) -> Value {
    let route = |via| Route { dst: Ipv4Net::default(), via: Some(via), metric: 0, table: 0 };
    table.insert_route(route(GATEWAYS[1]));
    let edits = [Edit::Remove(route(GATEWAYS[1])), Edit::Insert(route(GATEWAYS[2]))];
    let (time, changes) = timed(|| table.update(edits));
    outcome(time, &changes)
}

fn outcome(time: Duration, changes: &[Change]) -> Value {
    json!({ "ms": rounded(time.as_secs_f64() * 1e3), "prefixes": changes.len() })
}

/// With three digits after the point.
fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
