//! The compiled tables against the models, destination by destination.
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::{
    config::{Config, SourceModel},
    desired::order,
    host::{
        Address, Link,
        routes::{Route, RouteDelta},
    },
    source::{Flag, Flags, Query, options, select},
};

/// All destinations are in 192.168.0.0/24, next to the addresses and on both sides of every route.
const UNIVERSE: [u8; 3] = [192, 168, 0];

fn at(last: u8) -> Ipv4Addr {
    let [a, b, c] = UNIVERSE;
    Ipv4Addr::new(a, b, c, last)
}

fn address() -> impl Strategy<Value = Address> {
    let flags = prop_oneof![
        6 => Just(Flags::default()),
        1 => Just(Flags::default().with(Flag::Deprecated)),
        1 => Just(Flags::default().with(Flag::Tentative)),
    ];
    (any::<u8>(), 24..=32_u8, flags).prop_map(|(last, prefix_len, flags)| Address {
        ip: at(last).into(),
        prefix_len,
        flags,
    })
}

fn links() -> impl Strategy<Value = Vec<Link>> {
    let addresses = proptest::collection::vec(address(), 0..4);
    proptest::collection::vec((addresses, proptest::bool::weighted(0.9)), 2).prop_map(|links| {
        let link = |(number, (addresses, up)): (u32, (Vec<Address>, bool))| Link {
            index: number,
            name: format!("wan{number}"),
            up,
            addresses,
            ..Link::default()
        };
        (1..).zip(links).map(link).collect()
    })
}

fn route() -> impl Strategy<Value = Route> {
    let via = proptest::option::weighted(0.6, any::<u8>().prop_map(at));
    // `main` is asked before `default`.
    let table = prop_oneof![4 => Just(254_u32), 1 => Just(253)];
    let bits = prop_oneof![2 => Just(0), 6 => 24..=32_u8];
    (any::<u8>(), bits, via, 0..=2_u32, 0..3_u32, table).prop_map(
        |(last, bits, via, dev, metric, table)| Route {
            dst: Ipv4Net::new(at(last), bits).unwrap().trunc(),
            // An unreachable one has no next hop.
            via: via.filter(|_| dev > 0),
            dev,
            metric,
            src: None,
            table,
        },
    )
}

/// What the kernel could have: one route of a table, prefix and metric, and none over links that
/// are down.
fn network() -> impl Strategy<Value = Network> {
    (links(), proptest::collection::vec(route(), 0..8)).prop_map(|(links, mut routes)| {
        let up = |dev| dev == 0 || links.iter().any(|link: &Link| link.index == dev && link.up);
        routes.retain(|route| up(route.dev));
        let mut known = BTreeSet::new();
        routes.retain(|route| known.insert((route.table, route.dst, route.metric)));
        Network { links, routes: routes.into_iter().collect(), ..Network::default() }
    })
}

fn config(text: &str) -> Config {
    let header = "[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan1\", \"wan2\"]\n";
    Config::parse(&format!("{header}{text}"), "test.toml").unwrap()
}

const CONFIGS: [&str; 3] = [
    "",
    "[source]\ntie_break = \"lowest\"\nprivate_scope = \"site-local\"\ncandidates = \"all\"\n",
    "[source]\nhonour_skip_as_source = false\n[addresses]\n\
     wan1 = [\"192.168.0.9\", { address = \"192.168.0.70\", skip_as_source = true }]\n",
];

const MODELS: [SourceModel; 4] =
    [SourceModel::StrongHost, SourceModel::WeakHost, SourceModel::First, SourceModel::Lowest];

fn keys(config: &Config, sticky: bool) -> BTreeSet<TableKey> {
    let key = |ifindex| MODELS.map(|model| TableKey::new(ifindex, model, sticky, config));
    [1, 2].into_iter().flat_map(key).collect()
}

fn longest(entries: &[(Ipv4Net, Entry)], destination: Ipv4Addr) -> Option<Entry> {
    let matching = entries.iter().filter(|(prefix, _)| prefix.contains(&destination));
    matching.max_by_key(|(prefix, _)| prefix.prefix_len()).map(|(_, entry)| *entry)
}

/// What the data path would look up.
fn looked_up(entries: &[(Ipv4Net, Entry)], destination: Ipv4Addr) -> Result<IpAddr, Verdict> {
    match longest(entries, destination).map(Entry::address) {
        Some(Ok(address)) => Ok(Ipv4Addr::from(address).into()),
        Some(Err(verdict)) => Err(verdict),
        None => Err(Verdict::NoRoute),
    }
}

/// Asks the model about every destination, and compares with the table of the interface by which it
/// says the packet leaves.
fn compare(sources: &Sources, network: &Network, config: &Config) -> Result<(), TestCaseError> {
    let host = network.to_host(&order(config));
    for key in keys(config, false) {
        let entries = sources.entries(&key);
        for last in 0..=255 {
            let destination = at(last);
            let query = Query {
                options: options(config.source),
                ..Query::new(destination.into(), key.model)
            };
            let told = select(&host, &query);
            let expected = match told.outcome {
                Ok((source, _)) => Ok(source),
                Err(Error::NoRoute) => Err(Verdict::NoRoute),
                Err(Error::NotUnicast) => Err(Verdict::NotUnicast),
                Err(_) => Err(Verdict::NoSource),
            };
            let name = format!("wan{}", key.ifindex);
            // Where the packet leaves by another interface, or none, nobody asks this one.
            if told.dev() == Some(&name) || told.outcome == Err(Error::NotUnicast) {
                prop_assert_eq!(looked_up(&entries, destination), expected, "{}", destination);
            }
        }
    }
    Ok(())
}

/// Applies changes to the entries that a data path has.
fn change(entries: &mut BTreeMap<Ipv4Net, Entry>, changes: &[ChoiceChange]) {
    for (prefix, entry) in changes {
        match entry {
            Some(entry) => entries.insert(*prefix, *entry),
            None => entries.remove(prefix),
        };
    }
}

fn delta(old: &Network, new: &Network) -> NetworkDelta {
    let routes = match old.routes == new.routes {
        true => RouteDelta::default(),
        false => {
            RouteDelta { removed: old.routes.iter().collect(), added: new.routes.iter().collect() }
        }
    };
    NetworkDelta { links: old.links != new.links, tables: old.tables != new.tables, routes }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_table_says_what_the_model_says_before_and_after_every_change(
        networks in proptest::collection::vec(network(), 1..4),
        which in 0..CONFIGS.len(),
    ) {
        let config = config(CONFIGS[which]);
        let keys = keys(&config, false);
        let mut sources = Sources::default();
        let mut last = networks[0].clone();
        sources.add(&keys, &last, &order(&config), &Remembered::new());
        compare(&sources, &last, &config)?;
        let mut in_force: BTreeMap<TableKey, BTreeMap<Ipv4Net, Entry>> =
            keys.iter().map(|key| (*key, sources.entries(key).into_iter().collect())).collect();
        for network in &networks[1..] {
            let followed = sources.follow(network, &delta(&last, network));
            for (key, changes) in &followed.changes {
                change(in_force.get_mut(key).unwrap(), changes);
            }
            compare(&sources, network, &config)?;
            for key in &keys {
                let expected: BTreeMap<_, _> = sources.entries(key).into_iter().collect();
                prop_assert_eq!(&in_force[key], &expected);
            }
            last = network.clone();
        }
    }

    #[test]
    fn a_sticky_table_keeps_what_is_a_candidate(old in network(), new in network()) {
        let config = config("");
        let keys = keys(&config, true);
        let mut sources = Sources::default();
        sources.add(&keys, &old, &order(&config), &Remembered::new());
        let before: BTreeMap<_, _> = keys.iter().map(|key| (*key, sources.entries(key))).collect();
        sources.follow(&new, &delta(&old, &new));
        let mut fresh = Sources::default();
        fresh.add(&keys, &new, &order(&config), &Remembered::new());
        for key in &keys {
            let model = fresh.model(key, &new);
            let (after, free) = (sources.entries(key), fresh.entries(key));
            for destination in (0..=255).map(at) {
                let kept = match looked_up(&before[key], destination) {
                    Ok(IpAddr::V4(source)) if model.egress.addresses().contains(&source) => {
                        Some(Ok(source.into()))
                    }
                    _ => None,
                };
                let free = looked_up(&free, destination);
                let kept = kept.filter(|_| free != Err(Verdict::NotUnicast));
                prop_assert_eq!(looked_up(&after, destination), kept.unwrap_or(free));
            }
        }
    }
}

fn one_link(last: &[u8]) -> Network {
    let address =
        |last: &u8| Address { ip: at(*last).into(), prefix_len: 24, flags: Flags::default() };
    let link = Link {
        index: 1,
        name: "wan1".to_owned(),
        up: true,
        addresses: last.iter().map(address).collect(),
        ..Link::default()
    };
    let route = Route {
        dst: Ipv4Net::default(),
        via: Some(at(127)),
        dev: 1,
        metric: 0,
        src: None,
        table: 254,
    };
    Network { links: vec![link], routes: [route].into_iter().collect(), ..Network::default() }
}

#[test]
fn a_default_that_moves_although_it_could_stay_is_told_with_what_decided() {
    let config = config("");
    let strong = TableKey::new(1, SourceModel::StrongHost, false, &config);
    let lowest = TableKey::new(1, SourceModel::Lowest, false, &config);
    let mut sources = Sources::default();
    let keys = BTreeSet::from([strong, lowest]);
    sources.add(&keys, &one_link(&[14, 68]), &order(&config), &Remembered::new());
    let mut follow = |old: &[u8], new: &[u8]| {
        let (old, new) = (one_link(old), one_link(new));
        sources.follow(&new, &delta(&old, &new)).moved
    };
    let moved = follow(&[14, 68], &[14, 68, 126]);
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert_eq!((moved[0].key, moved[0].old, moved[0].new), (strong, at(68), at(126)));
    assert_eq!(moved[0].rule.as_str(), "8a");
    let moved = follow(&[14, 68, 126], &[14, 68, 126, 2]);
    assert_eq!((moved[0].key, moved[0].old, moved[0].new), (lowest, at(14), at(2)));
    assert_eq!(moved[0].rule.as_str(), "smallest");
    // Whoever is gone cannot stay.
    assert_eq!(follow(&[14, 68, 126, 2], &[14, 68, 2]), []);
}

#[test]
fn what_a_process_had_chosen_is_kept_by_the_next() {
    let config = config("");
    let key = TableKey::new(1, SourceModel::StrongHost, true, &config);
    let keys = BTreeSet::from([key]);
    let mut first = Sources::default();
    first.add(&keys, &one_link(&[14, 68]), &order(&config), &Remembered::new());
    let entries = first.entries(&key).into_iter().map(|(prefix, entry)| (prefix, choice(entry)));
    let remembered = Remembered::from([(key, entries.collect())]);
    let mut second = Sources::default();
    second.add(&keys, &one_link(&[14, 68, 126]), &order(&config), &remembered);
    assert_eq!(looked_up(&second.entries(&key), at(1)), Ok(at(68).into()));
    let mut third = Sources::default();
    third.add(&keys, &one_link(&[14, 126]), &order(&config), &remembered);
    assert_eq!(looked_up(&third.entries(&key), at(1)), Ok(at(126).into()));
}

#[test]
fn a_table_without_any_source_says_why() {
    let config = config("");
    let key = TableKey::new(1, SourceModel::StrongHost, false, &config);
    let keys = BTreeSet::from([key]);
    let lack = |network: &Network| {
        let mut sources = Sources::default();
        sources.add(&keys, network, &order(&config), &Remembered::new());
        sources.lack(&key)
    };
    assert_eq!(lack(&one_link(&[14])), None);
    assert_eq!(lack(&one_link(&[])), Some(Error::NoSource));
    let without_routes = Network { routes: Default::default(), ..one_link(&[14]) };
    assert_eq!(lack(&without_routes), Some(Error::NoRoute));
}
