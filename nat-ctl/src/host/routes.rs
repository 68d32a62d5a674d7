//! The IPv4 routes of this machine, all tables, and how single changes of them are followed.
use std::{
    collections::{BTreeMap, btree_map},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;

/// A route by one next hop. A multipath route is several of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Route {
    pub dst: Ipv4Net,
    /// None on-link: the destination itself. A gateway of IPv6 (RTA_VIA) counts as none: it has no
    /// bits in common with IPv4 addresses that could be compared.
    pub via: Option<Ipv4Addr>,
    /// Index of the interface; 0 where there is none: packets for `dst` are refused or thrown away
    /// (`unreachable`, `prohibit`, `blackhole`). So they are where the next hop is known by its
    /// number only (`net.ipv4.nexthop_compat_mode` is 0).
    pub dev: u32,
    pub metric: u32,
    /// RTA_PREFSRC
    pub src: Option<Ipv4Addr>,
    /// The kernel's number: 254 is `main`.
    pub table: u32,
}

/// What a change has done to the routes. To make an old list the new one, take away `removed`, then
/// add `added`.
///
/// Routes that differ in the next hop only are listed in the kernel's order, of which it takes the
/// first; where one of them changes, all of them are removed and added.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RouteDelta {
    pub removed: Vec<Route>,
    pub added: Vec<Route>,
}

impl RouteDelta {
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }

    fn push(&mut self, key: Key, old: &[Path], new: &[Path]) {
        let (old, new) = (key.routes(old), key.routes(new));
        if !old.clone().eq(new.clone()) {
            self.removed.extend(old);
            self.added.extend(new);
        }
    }
}

/// What the kernel tells routes apart by. It may have several of one key: see `ip route append`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key {
    pub table: u32,
    pub network: u32,
    pub prefix_len: u8,
    pub metric: u32,
}

impl Key {
    pub fn dst(self) -> Ipv4Net {
        Ipv4Net::new(Ipv4Addr::from_bits(self.network), self.prefix_len).unwrap_or_default()
    }

    /// The routes of a key as others see them.
    fn routes<'a>(self, paths: &'a [Path]) -> impl Iterator<Item = Route> + Clone + use<'a> {
        let (dst, Self { table, metric, .. }) = (self.dst(), self);
        let seen = paths.iter().filter(|path| path.kind != Kind::Other && !path.dead);
        seen.map(move |path| match path.kind {
            Kind::Unicast if path.dev != 0 => {
                Route { dst, via: path.via, dev: path.dev, metric, src: path.src, table }
            }
            _ => Route { dst, via: None, dev: 0, metric, src: None, table },
        })
    }
}

/// What becomes of packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Kind {
    /// They go to the next hop.
    #[default]
    Unicast,
    /// There is no way for them.
    Unreachable,
    /// Nothing that is of interest: local, broadcast, throw.
    Other,
}

/// One next hop of a route of the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Path {
    pub via: Option<Ipv4Addr>,
    pub dev: u32,
    pub src: Option<Ipv4Addr>,
    pub protocol: u8,
    pub scope: u8,
    pub kind: Kind,
    /// The interface is down: the other next hops are used.
    pub dead: bool,
    /// The route's place among those of its key.
    pub place: u8,
}

/// Not by `dead`, which changes without a word, nor by `place`.
impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        let what =
            |path: &Self| (path.via, path.dev, path.src, path.protocol, path.scope, path.kind);
        what(self) == what(other)
    }
}

impl Eq for Path {}

/// Nearly every key has one next hop: no allocation for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Paths {
    One(Path),
    Many(Vec<Path>),
}

impl Paths {
    fn as_slice(&self) -> &[Path] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Many(paths) => paths,
        }
    }

    /// Adds another route of the same key.
    fn append(&mut self, more: &Self) {
        let place = self.as_slice().last().map_or(0, |path| path.place.saturating_add(1));
        let more = more.as_slice().iter().map(|path| Path { place, ..*path });
        *self = Self::Many(self.as_slice().iter().copied().chain(more).collect());
    }

    /// Whether this is more than one route.
    fn is_ambiguous(&self) -> bool {
        self.as_slice().last().is_some_and(|path| path.place > 0)
    }
}

/// A change that the kernel announces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RouteEvent {
    pub what: RouteChange,
    pub key: Key,
    pub paths: Paths,
}

/// What has become of a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RouteChange {
    /// It is now the only one of its key.
    Only,
    /// It has taken the place of the first of its key.
    Replaced,
    /// It is there beside others of its key, before or after them.
    Beside,
    Removed,
}

/// What has happened cannot be told from the announcement: the routes have to be read again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ambiguous;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Routes {
    by_key: BTreeMap<Key, Paths>,
}

impl Routes {
    /// All of them: by table, destination, metric, and then in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = Route> {
        self.by_key.iter().flat_map(|(key, paths)| key.routes(paths.as_slice()))
    }

    /// The next hops of the routes of a key, in the kernel's order.
    pub(super) fn paths(&self, key: &Key) -> &[Path] {
        slice(self.by_key.get(key))
    }
    /// Takes in a route that the kernel lists.
    pub(super) fn push(&mut self, key: Key, paths: Paths) {
        match self.by_key.entry(key) {
            btree_map::Entry::Vacant(entry) => drop(entry.insert(paths)),
            btree_map::Entry::Occupied(mut entry) => entry.get_mut().append(&paths),
        }
    }

    /// Follows what the kernel announces; all or nothing.
    ///
    /// An announcement may be older than the picture, since one listens before one looks. That does
    /// no harm: to follow again what has been followed already leads to the same end, as long as
    /// there is one route of a key. Where there are several, it is ambiguous.
    pub(super) fn apply<'a>(
        &mut self,
        events: impl IntoIterator<Item = &'a RouteEvent>,
    ) -> Result<RouteDelta, Ambiguous> {
        let mut before = BTreeMap::new();
        let followed = events.into_iter().try_for_each(|event| self.follow(event, &mut before));
        let mut delta = RouteDelta::default();
        for (key, old) in before {
            match followed {
                Ok(()) => delta.push(key, slice(old.as_ref()), slice(self.by_key.get(&key))),
                Err(Ambiguous) => drop(self.set(key, old)),
            }
        }
        followed.map(|()| delta)
    }

    fn follow(
        &mut self,
        event: &RouteEvent,
        before: &mut BTreeMap<Key, Option<Paths>>,
    ) -> Result<(), Ambiguous> {
        let old = self.by_key.get(&event.key);
        let new = match event.what {
            RouteChange::Beside => return Err(Ambiguous),
            _ if old.is_some_and(Paths::is_ambiguous) => return Err(Ambiguous),
            RouteChange::Only | RouteChange::Replaced => Some(event.paths.clone()),
            RouteChange::Removed if old == Some(&event.paths) => None,
            // Another one is there already.
            RouteChange::Removed => return Ok(()),
        };
        let old = self.set(event.key, new);
        before.entry(event.key).or_insert(old);
        Ok(())
    }

    fn set(&mut self, key: Key, paths: Option<Paths>) -> Option<Paths> {
        match paths {
            Some(paths) => self.by_key.insert(key, paths),
            None => self.by_key.remove(&key),
        }
    }

    /// What makes these routes the new ones.
    pub(super) fn delta_to(&self, new: &Self) -> RouteDelta {
        let mut delta = RouteDelta::default();
        let (mut old, mut new) = (self.by_key.iter().peekable(), new.by_key.iter().peekable());
        // Both are in order: whichever key is less is missing on the other side.
        while let Some(key) = old.peek().into_iter().chain(new.peek()).map(|(key, _)| **key).min() {
            let before = old.next_if(|(of, _)| **of == key).map(|(_, paths)| paths);
            let after = new.next_if(|(of, _)| **of == key).map(|(_, paths)| paths);
            delta.push(key, slice(before), slice(after));
        }
        delta
    }
}

impl FromIterator<Route> for Routes {
    /// For hosts that are made up.
    fn from_iter<I: IntoIterator<Item = Route>>(routes: I) -> Self {
        let mut all = Self::default();
        for Route { dst, via, dev, metric, src, table } in routes {
            let (network, prefix_len) = (dst.network().to_bits(), dst.prefix_len());
            let kind = if dev == 0 { Kind::Unreachable } else { Kind::Unicast };
            let path = Path { via, dev, src, kind, ..Path::default() };
            all.push(Key { table, network, prefix_len, metric }, Paths::One(path));
        }
        all
    }
}

fn slice(paths: Option<&Paths>) -> &[Path] {
    paths.map_or(&[], Paths::as_slice)
}

#[cfg(test)]
mod tests;
