//! Keeping the picture of the network up to date: what has to be read again after a change, and
//! what has become different by it.
use super::{
    network::Network,
    routes::RouteDelta,
    watch::{Change, Event, Watch},
};
use crate::exit::Failure;

/// What has become different.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NetworkDelta {
    /// Links or their addresses.
    pub links: bool,
    /// The order in which tables are asked: the place of any route.
    pub tables: bool,
    pub routes: RouteDelta,
}

impl NetworkDelta {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What has to be read again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Again {
    Nothing,
    /// Links, addresses and rules: little.
    AllButRoutes,
    Everything,
}

impl Network {
    /// Makes this the picture after `changes`, and tells what is different.
    ///
    /// A route that is announced is followed without reading the others. But the kernel removes
    /// routes without a word when their link goes down or loses its last address, or when the
    /// source address that they name goes (net/ipv4/fib_frontend.c, `fib_sync_down_dev` and
    /// `_addr`), and revives next hops of a multipath route likewise: then all are read.
    pub async fn follow(
        &mut self,
        watch: &mut Watch,
        changes: &[Change],
    ) -> Result<NetworkDelta, Failure> {
        let again = changes.iter().map(|change| self.again(change)).max();
        let events = changes.iter().filter_map(|change| match &change.0 {
            Event::Route(event) => Some(event),
            _ => None,
        });
        let routes = match again {
            None | Some(Again::Everything) => None,
            Some(_) => self.routes.apply(events).ok(),
        };
        let Some(routes) = routes else {
            return self.read_again(watch).await;
        };
        let mut delta = NetworkDelta { routes, ..NetworkDelta::default() };
        if again == Some(Again::AllButRoutes) {
            let new = Self::read_without_routes().await?;
            self.take_links(new, &mut delta);
        }
        Ok(delta)
    }

    /// Reads everything, and tells what is different.
    pub async fn read_again(&mut self, watch: &mut Watch) -> Result<NetworkDelta, Failure> {
        watch.discard()?;
        let mut new = Self::read().await?;
        let routes = std::mem::take(&mut new.routes);
        let mut delta =
            NetworkDelta { routes: self.routes.delta_to(&routes), ..NetworkDelta::default() };
        self.routes = routes;
        self.take_links(new, &mut delta);
        Ok(delta)
    }

    fn take_links(&mut self, new: Self, delta: &mut NetworkDelta) {
        delta.links = self.links != new.links;
        delta.tables = self.tables != new.tables;
        self.links = new.links;
        self.tables = new.tables;
    }

    fn again(&self, change: &Change) -> Again {
        let known = |index| self.links.iter().find(|link| link.index == index);
        match change.0 {
            Event::Route(_) => Again::Nothing,
            Event::Rule => Again::AllButRoutes,
            Event::Link { index, up, turned } => match known(index) {
                Some(link) if turned || link.up != up => Again::Everything,
                _ => Again::AllButRoutes,
            },
            // The first one of a link that has been there before: next hops may revive.
            Event::Address { index } => match known(index) {
                Some(link) if link.ipv4().next().is_none() => Again::Everything,
                _ => Again::AllButRoutes,
            },
            Event::LinkRemoved | Event::AddressRemoved | Event::NextHop | Event::Lost => {
                Again::Everything
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::network::{Address, Link};

    fn network() -> Network {
        let address =
            Address { ip: [192, 0, 2, 1].into(), prefix_len: 24, flags: Default::default() };
        let link = |index, up, addresses: &[Address]| Link {
            index,
            up,
            addresses: addresses.to_vec(),
            ..Link::default()
        };
        let links = vec![link(1, true, &[address]), link(2, false, &[])];
        Network { links, ..Network::default() }
    }

    fn again(event: Event) -> Again {
        network().again(&Change(event))
    }

    #[test]
    fn routes_are_read_again_where_the_kernel_changes_them_without_a_word() {
        let link = |index, up, turned| again(Event::Link { index, up, turned });
        assert_eq!(link(1, false, false), Again::Everything, "went down");
        assert_eq!(link(2, true, false), Again::Everything, "came up");
        assert_eq!(link(1, true, true), Again::Everything, "down and up in one burst");
        assert_eq!(link(1, true, false), Again::AllButRoutes, "a new name, say");
        assert_eq!(link(3, true, true), Again::AllButRoutes, "a new link has no routes");
        assert_eq!(again(Event::LinkRemoved), Again::Everything);
        assert_eq!(again(Event::AddressRemoved), Again::Everything);
        assert_eq!(again(Event::Address { index: 1 }), Again::AllButRoutes);
        assert_eq!(again(Event::Address { index: 2 }), Again::Everything);
        assert_eq!(again(Event::Rule), Again::AllButRoutes);
        assert_eq!(again(Event::Lost), Again::Everything);
    }
}
