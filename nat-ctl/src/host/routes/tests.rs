use super::*;

/// A route to 198.51.100.0/24 over the interface `dev`.
fn path(dev: u32) -> Paths {
    Paths::One(Path { dev, protocol: 4, ..Path::default() })
}

fn key(metric: u32) -> Key {
    Key { table: 254, network: 0xc633_6400, prefix_len: 24, metric }
}

fn event(what: RouteChange, dev: u32) -> RouteEvent {
    RouteEvent { what, key: key(0), paths: path(dev) }
}

fn route(dev: u32, metric: u32) -> Route {
    Route { dst: "198.51.100.0/24".parse().unwrap(), via: None, dev, metric, src: None, table: 254 }
}

/// What `fib_table_insert` and `fib_table_delete` of net/ipv4/fib_trie.c do with the routes of one
/// key, and what they announce.
#[derive(Clone, Default, PartialEq, Debug)]
struct Kernel(Vec<u32>);

#[derive(Clone, Copy, Debug)]
enum Order {
    Add(u32),
    Replace(u32),
    Append(u32),
    Prepend(u32),
    Delete(u32),
}

impl Kernel {
    fn obey(&mut self, order: Order) -> Option<RouteEvent> {
        let there = |dev| self.0.contains(&dev);
        let (what, dev) = match order {
            Order::Delete(dev) => (there(dev).then_some(RouteChange::Removed)?, dev),
            Order::Add(dev) => (self.0.is_empty().then_some(RouteChange::Only)?, dev),
            Order::Replace(dev) | Order::Append(dev) | Order::Prepend(dev)
                if there(dev) || self.0.is_empty() =>
            {
                (self.0.is_empty().then_some(RouteChange::Only)?, dev)
            }
            Order::Replace(dev) => (RouteChange::Replaced, dev),
            Order::Append(dev) | Order::Prepend(dev) => (RouteChange::Beside, dev),
        };
        match (what, order) {
            (RouteChange::Removed, _) => self.0.retain(|one| *one != dev),
            (RouteChange::Replaced, _) => self.0[0] = dev,
            (_, Order::Prepend(_)) => self.0.insert(0, dev),
            _ => self.0.push(dev),
        }
        Some(event(what, dev))
    }

    fn dump(&self) -> Routes {
        let mut routes = Routes::default();
        self.0.iter().for_each(|dev| routes.push(key(0), path(*dev)));
        routes
    }
}

/// Every sequence of orders up to a length.
fn histories(length: usize) -> Vec<Vec<Order>> {
    let of = |dev| {
        [
            Order::Add(dev),
            Order::Replace(dev),
            Order::Append(dev),
            Order::Prepend(dev),
            Order::Delete(dev),
        ]
    };
    let orders: Vec<_> = [1, 2, 3].into_iter().flat_map(of).collect();
    let mut all = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..length {
        let longer = |history: &Vec<Order>| {
            let history = history.clone();
            orders.iter().map(move |order| [history.as_slice(), &[*order]].concat())
        };
        last = last.iter().flat_map(longer).collect();
        all.extend_from_slice(&last);
    }
    all
}

#[test]
fn whatever_the_kernel_does_the_picture_follows_or_says_that_it_cannot() {
    let (mut followed, mut ambiguous) = (0, 0);
    for history in histories(4) {
        let mut kernel = Kernel::default();
        let mut routes = kernel.dump();
        for order in &history {
            let events = kernel.obey(*order);
            match routes.apply(&events) {
                Ok(_) => followed += 1,
                Err(Ambiguous) => {
                    ambiguous += 1;
                    routes = kernel.dump();
                }
            }
            assert_eq!(routes, kernel.dump(), "{history:?}");
        }
    }
    assert!(followed > 10_000 && ambiguous > 10_000, "{followed} {ambiguous}");
}

/// What is announced between the subscription and the dump is followed on top of its own result.
#[test]
fn to_follow_again_what_is_in_the_picture_leads_to_the_same_end() {
    for history in histories(4) {
        let mut kernel = Kernel::default();
        let mut steps = vec![(kernel.dump(), None)];
        for order in &history {
            let event = kernel.obey(*order);
            steps.push((kernel.dump(), event));
        }
        if steps.iter().any(|(routes, _)| routes.by_key.values().any(Paths::is_ambiguous)) {
            continue;
        }
        for (mut routes, _) in steps.clone() {
            routes.apply(steps.iter().filter_map(|(_, event)| event.as_ref())).unwrap();
            assert_eq!(routes, kernel.dump(), "{history:?}");
        }
    }
}

#[test]
fn a_delta_leaves_out_what_comes_and_goes() {
    let mut routes = Routes::default();
    let only = event(RouteChange::Only, 1);
    let delta = routes.apply([&only]).unwrap();
    assert_eq!(delta, RouteDelta { removed: vec![], added: vec![route(1, 0)] });
    let events = [
        event(RouteChange::Replaced, 2),
        event(RouteChange::Removed, 2),
        event(RouteChange::Only, 3),
    ];
    let delta = routes.apply(&events).unwrap();
    assert_eq!(delta, RouteDelta { removed: vec![route(1, 0)], added: vec![route(3, 0)] });
    let back = [event(RouteChange::Replaced, 1), event(RouteChange::Replaced, 3)];
    assert!(routes.apply(&back).unwrap().is_empty());
}

#[test]
fn what_cannot_be_followed_changes_nothing() {
    let mut routes = Kernel(vec![1]).dump();
    let before = routes.clone();
    let other = RouteEvent { what: RouteChange::Only, key: key(7), paths: path(4) };
    let events = [event(RouteChange::Replaced, 2), other, event(RouteChange::Beside, 3)];
    assert_eq!(routes.apply(&events), Err(Ambiguous));
    assert_eq!(routes, before);
}

#[test]
fn the_delta_of_two_pictures_takes_one_to_the_other() {
    let all: Vec<Route> = (1..=4).flat_map(|dev| [route(dev, 0), route(dev, 9)]).collect();
    let pictures: Vec<Vec<Route>> = (0..=u8::MAX)
        .map(|bits| {
            let chosen = all.iter().enumerate().filter(|(index, _)| bits >> index & 1 == 1);
            chosen.map(|(_, route)| *route).collect()
        })
        .collect();
    for old in &pictures {
        for new in &pictures {
            let from: Routes = old.iter().copied().collect();
            let to: Routes = new.iter().copied().collect();
            let delta = from.delta_to(&to);
            let mut changed: Vec<Route> = from.iter().collect();
            changed.retain(|route| !delta.removed.contains(route));
            changed.extend(&delta.added);
            changed.sort_by_key(|route| route.metric);
            assert_eq!(changed, to.iter().collect::<Vec<_>>());
            assert_eq!(delta.is_empty(), old == new);
        }
    }
}

#[test]
fn a_dead_next_hop_is_not_seen_but_is_there_to_be_removed() {
    let hop = |dev, dead| Path { dev, dead, ..Path::default() };
    let mut routes = Routes::default();
    routes.push(key(0), Paths::Many(vec![hop(1, true), hop(2, false)]));
    assert_eq!(routes.iter().collect::<Vec<_>>(), [route(2, 0)]);
    let paths = Paths::Many(vec![hop(1, false), hop(2, false)]);
    let removed = RouteEvent { what: RouteChange::Removed, key: key(0), paths };
    assert_eq!(routes.apply([&removed]).unwrap().removed, [route(2, 0)]);
    assert_eq!(routes, Routes::default());
}
