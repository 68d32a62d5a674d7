//! What the tests hold the table against: the definition, evaluated address by address.
use std::{cmp::Reverse, collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;

use super::super::{Change, Choice, Chooser, Route};

/// The strong-host model of an interface with a few preferred addresses: rules 8a and 8 with the
/// uncapped common prefix, then the first configured.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub list: Vec<Ipv4Net>,
    /// Whether destinations keep the source they have.
    pub keep: bool,
}

impl Addresses {
    fn special(&self) -> Vec<Ipv4Net> {
        let broadcast =
            self.list.iter().filter(|net| net.prefix_len() < 31).map(Ipv4Net::broadcast);
        let mut special: Vec<_> = broadcast.map(Ipv4Net::from).collect();
        special.extend([net("224.0.0.0/4"), net("255.255.255.255/32")]);
        special
    }
}

impl Chooser for Addresses {
    fn choose(&self, next_hop: Ipv4Addr, destination: Ipv4Addr) -> Choice {
        if self.special().iter().any(|special| special.contains(&destination)) {
            return Choice::NotUnicast;
        }
        let common = |a: Ipv4Addr, b: Ipv4Addr| (a.to_bits() ^ b.to_bits()).leading_zeros();
        let rank = |net: &&Ipv4Net| {
            Reverse((common(net.addr(), next_hop), common(net.addr(), destination)))
        };
        // The first of equals.
        self.list.iter().min_by_key(rank).map_or(Choice::NoSource, |net| Choice::Source(net.addr()))
    }

    fn unrouted(&self, destination: Ipv4Addr) -> Choice {
        match self.special().iter().any(|special| special.contains(&destination)) {
            true => Choice::NotUnicast,
            false => Choice::NoRoute,
        }
    }

    fn points(&self) -> Vec<Ipv4Net> {
        let mut points = self.special();
        points.extend(self.list.iter().map(|net| Ipv4Net::from(net.addr())));
        points
    }

    fn keeps(&self, source: Ipv4Addr) -> bool {
        self.keep && self.list.iter().any(|net| net.addr() == source)
    }
}

/// The answer for a destination by the words of the definition.
pub fn answer(chooser: &impl Chooser, routes: &[Route], destination: Ipv4Addr) -> Choice {
    let matching = routes.iter().filter(|route| route.dst.contains(&destination));
    // min_by_key takes the first of equals.
    let route =
        matching.min_by_key(|route| (route.table, Reverse(route.dst.prefix_len()), route.metric));
    match route {
        None => chooser.unrouted(destination),
        Some(route) => chooser.choose(route.via.unwrap_or(destination), destination),
    }
}

/// The answer of an assignment.
pub fn look_up(entries: &BTreeMap<Ipv4Net, Choice>, destination: Ipv4Addr) -> Choice {
    let prefixes = (0..=32).rev().map(|len| Ipv4Net::new(destination, len).unwrap().trunc());
    prefixes.into_iter().find_map(|prefix| entries.get(&prefix)).copied().unwrap_or(Choice::NoRoute)
}

pub fn apply(entries: &mut BTreeMap<Ipv4Net, Choice>, change: Change) {
    match change {
        Change::Set(prefix, choice) => {
            assert_ne!(entries.insert(prefix, choice), Some(choice), "{prefix} was so before");
        }
        Change::Remove(prefix) => {
            assert!(entries.remove(&prefix).is_some(), "{prefix} was not there");
        }
    }
}

/// The prefixes of the routes and points, and the whole.
pub fn boundaries(chooser: &impl Chooser, routes: &[Route]) -> Vec<Ipv4Net> {
    let mut all = chooser.points();
    all.extend(routes.iter().map(|route| route.dst));
    all.push(net("0.0.0.0/0"));
    all
}

/// First and last address of each prefix, and their neighbours.
pub fn edges(prefixes: &[Ipv4Net]) -> Vec<Ipv4Addr> {
    let ends = prefixes.iter().flat_map(|prefix| [prefix.network(), prefix.broadcast()]);
    let around = |address: Ipv4Addr| {
        let bits = address.to_bits();
        [bits.wrapping_sub(1), bits, bits.wrapping_add(1)].map(Ipv4Addr::from_bits)
    };
    ends.flat_map(around).collect()
}

/// The least number of entries that give every destination its answer, by trying at each prefix
/// every answer and none. Answers differ at the boundaries only.
pub fn fewest(boundaries: &[Ipv4Net], answer: &impl Fn(Ipv4Addr) -> Choice) -> usize {
    let mut answers = vec![Choice::NoRoute];
    for address in edges(boundaries) {
        let answer = answer(address);
        if !answers.contains(&answer) {
            answers.push(answer);
        }
    }
    let whole: Vec<_> = boundaries.iter().filter(|net| net.prefix_len() > 0).copied().collect();
    cost(net("0.0.0.0/0"), &whole, &answers, answer)[0]
}

/// By inherited answer.
fn cost(
    prefix: Ipv4Net,
    inside: &[Ipv4Net],
    answers: &[Choice],
    right: &impl Fn(Ipv4Addr) -> Choice,
) -> Vec<usize> {
    const NEVER: usize = usize::MAX / 4;
    let without_entry: Vec<usize> = if inside.is_empty() {
        let right = right(prefix.network());
        answers.iter().map(|answer| if *answer == right { 0 } else { NEVER }).collect()
    } else {
        let half = |half: Ipv4Net| {
            let strictly = |net: &&Ipv4Net| half.contains(*net) && **net != half;
            let inside: Vec<_> = inside.iter().filter(strictly).copied().collect();
            cost(half, &inside, answers, right)
        };
        let halves: Vec<_> = prefix.subnets(prefix.prefix_len() + 1).unwrap().map(half).collect();
        halves[0].iter().zip(&halves[1]).map(|(low, high)| low + high).collect()
    };
    let with_entry = 1 + without_entry.iter().min().unwrap();
    without_entry.into_iter().map(|cost| cost.min(with_entry)).collect()
}

pub fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}
