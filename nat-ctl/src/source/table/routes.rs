//! The routes of every prefix, and which of them counts.
use std::{collections::HashMap, net::Ipv4Addr};

use ipnet::Ipv4Net;

/// A route over the egress interface of a table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Route {
    pub dst: Ipv4Net,
    /// The next hop; None on-link: the destination itself.
    pub via: Option<Ipv4Addr>,
    /// The lowest wins among the routes of one prefix and table; of equals the first inserted.
    pub metric: u32,
    /// Position of the route's table in the order in which tables are asked. The first table with a
    /// route to a destination decides, however short its prefix is.
    pub table: u32,
}

/// A next hop by number, in [`Routes`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HopId(u32);

/// Where a next hop is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop {
    /// There is no route.
    None,
    /// The destination itself.
    OnLink,
    Gateway(Ipv4Addr),
}

/// The route that counts at some place: what decides about the places below, and about the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way {
    pub table: u32,
    pub hop: HopId,
}

impl Way {
    /// Without a route. Any route counts more, whatever its table is.
    pub const NONE: Self = Self { table: u32::MAX, hop: HopId(0) };

    /// What counts below a prefix with routes of its own, when this counts above it.
    pub const fn below(self, own: Option<Self>) -> Self {
        match own {
            Some(own) if own.table <= self.table => own,
            _ => self,
        }
    }
}

/// The routes of one prefix: none, a single one, or a position in [`Routes`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(u32);

impl Slot {
    pub const EMPTY: Self = Self(0);
    const LIST: u32 = 1 << 31;
}

/// A route without its prefix. There are few different ones, each kept once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Attributes {
    table: u32,
    metric: u32,
    via: Option<Ipv4Addr>,
}

/// See the module.
pub struct Routes {
    /// By number; number 0 means no route.
    attributes: Vec<(Attributes, Way)>,
    numbers: HashMap<Attributes, u32>,
    hops: Vec<Hop>,
    hop_ids: HashMap<Ipv4Addr, HopId>,
    /// Numbers of the routes of a prefix that has several, best first.
    lists: Vec<Vec<u32>>,
    unused_lists: Vec<u32>,
}

const ON_LINK: HopId = HopId(1);

impl Default for Routes {
    fn default() -> Self {
        let nothing = Attributes { table: u32::MAX, metric: u32::MAX, via: None };
        Self {
            attributes: vec![(nothing, Way::NONE)],
            numbers: HashMap::new(),
            hops: vec![Hop::None, Hop::OnLink],
            hop_ids: HashMap::new(),
            lists: Vec::new(),
            unused_lists: Vec::new(),
        }
    }
}

impl Routes {
    pub fn hop(&self, id: HopId) -> Hop {
        self.hops[id.0 as usize]
    }

    /// The route that counts among those of a prefix.
    pub fn best(&self, slot: Slot) -> Option<Way> {
        let number = match self.list(slot) {
            Some(list) => list[0],
            None => slot.0,
        };
        (number != 0).then(|| self.attributes[number as usize].1)
    }

    /// With another route, or None if it is there already.
    pub fn with(&mut self, slot: Slot, route: &Route) -> Option<Slot> {
        let number = self.number(route);
        let mut list = match self.list(slot) {
            Some(list) => list.clone(),
            None if slot == Slot::EMPTY => return Some(Slot(number)),
            None => vec![slot.0],
        };
        if list.contains(&number) {
            return None;
        }
        let rank = |number: u32| {
            let Attributes { table, metric, .. } = self.attributes[number as usize].0;
            (table, metric)
        };
        let place = list.partition_point(|other| rank(*other) <= rank(number));
        list.insert(place, number);
        Some(self.replace(slot, list))
    }

    /// Without a route, or None if it is not there.
    pub fn without(&mut self, slot: Slot, route: &Route) -> Option<Slot> {
        let number = *self.numbers.get(&attributes(route))?;
        let Some(list) = self.list(slot) else {
            return (slot.0 == number).then_some(Slot::EMPTY);
        };
        let place = list.iter().position(|other| *other == number)?;
        let mut list = list.clone();
        list.remove(place);
        Some(self.replace(slot, list))
    }

    fn list(&self, slot: Slot) -> Option<&Vec<u32>> {
        (slot.0 & Slot::LIST != 0).then(|| &self.lists[(slot.0 & !Slot::LIST) as usize])
    }

    /// Another list of at least one route in the place of a slot's.
    fn replace(&mut self, slot: Slot, list: Vec<u32>) -> Slot {
        let used = (slot.0 & Slot::LIST != 0).then_some(slot.0 & !Slot::LIST);
        if let [only] = *list {
            if let Some(position) = used {
                self.lists[position as usize] = Vec::new();
                self.unused_lists.push(position);
            }
            return Slot(only);
        }
        let position = used.or_else(|| self.unused_lists.pop()).unwrap_or_else(|| {
            self.lists.push(Vec::new());
            self.lists.len() as u32 - 1
        });
        self.lists[position as usize] = list;
        Slot(Slot::LIST | position)
    }

    fn number(&mut self, route: &Route) -> u32 {
        let attributes = attributes(route);
        if let Some(number) = self.numbers.get(&attributes) {
            return *number;
        }
        let hop = match route.via {
            None => ON_LINK,
            Some(gateway) => *self.hop_ids.entry(gateway).or_insert_with(|| {
                self.hops.push(Hop::Gateway(gateway));
                HopId(self.hops.len() as u32 - 1)
            }),
        };
        let number = self.attributes.len() as u32;
        self.attributes.push((attributes, Way { table: route.table, hop }));
        self.numbers.insert(attributes, number);
        number
    }

    /// Bytes of memory, without what hash tables take beside their entries.
    pub fn memory(&self) -> usize {
        let lists: usize = self.lists.iter().map(|list| size_of_val(&**list)).sum();
        lists
            + self.lists.capacity() * size_of::<Vec<u32>>()
            + self.attributes.capacity() * 2 * size_of::<(Attributes, Way)>()
            + self.hops.capacity() * 2 * size_of::<Hop>()
    }
}

const fn attributes(route: &Route) -> Attributes {
    Attributes { table: route.table, metric: route.metric, via: route.via }
}
