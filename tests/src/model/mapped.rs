//! A new session of a mapping that does not depend on the remote endpoint, judged.
use std::net::Ipv4Addr;

use super::{
    Model, Opening,
    cooldown::toward_everybody,
    flow::Endpoint,
    mappings::{Key, Mapping},
    opening::LATE_NS,
    session::Phase,
};

/// Ports that are tried by chance: where there are no more, an inside endpoint finds the one of its
/// own that rests.
const BY_CHANCE: usize = 8;

impl Opening {
    /// Of its mapping on an external address.
    pub(super) fn mapping(&self, address: Ipv4Addr) -> Key {
        let (protocol, inside) = (self.flow.protocol, self.flow.local);
        Key { protocol, inside, address, range: self.snat.ports.0 }
    }
}

impl Model {
    /// Whether a session may have an external endpoint: that of its inside endpoint's mapping, if
    /// there is one, and else one that is nobody's.
    pub(super) fn check_mapped(
        &mut self,
        opening: &Opening,
        external: Endpoint,
    ) -> Result<(), String> {
        let (address, port) = external;
        match self.mappings.get(&opening.mapping(address)) {
            Some(mapping) if mapping.port != port => {
                Err(format!("mapped to port {}, now to {port}", mapping.port))
            }
            Some(_) => self.check_shared_tuple(opening, external),
            None => {
                self.check_endpoint(opening, external)?;
                self.check_tuple(opening, external).map(|_| ())
            }
        }
    }

    fn check_endpoint(&mut self, opening: &Opening, external: Endpoint) -> Result<(), String> {
        let (address, port) = external;
        if !opening.snat.allows(port) {
            return Err(format!("external port {port} is not allowed by {:?}", opening.snat));
        }
        if let Some(owner) = self.mappings.owner(opening.flow.protocol, external) {
            return Err(format!("{address}:{port} is the endpoint of {owner:?}"));
        }
        let endpoint = toward_everybody(&opening.outside(external));
        let cooldown = self.table.as_ref().ok_or("no rule table")?.cooldown;
        let Some(rest) = self.resting.get(&endpoint).copied() else { return Ok(()) };
        let own = rest.owner == Some(opening.flow.local);
        if rest.blocks(&cooldown, self.now_ns) && !own {
            let early = rest.over_ns(&cooldown) - self.now_ns;
            return Err(format!("endpoint {address}:{port} is used {early} ns too early"));
        }
        if !own || rest.over_ns(&cooldown) <= self.now_ns {
            self.resting.used(&endpoint);
        }
        Ok(())
    }

    /// Another tuple of a mapping has to be free, however that came about: whoever holds it stays.
    fn check_shared_tuple(&self, opening: &Opening, external: Endpoint) -> Result<(), String> {
        let (address, port) = external;
        let outside = opening.outside(external);
        if let Some(holder) = self.sessions.claimant(&outside) {
            return Err(format!("{address}:{port} is taken toward this remote: {holder:?}"));
        }
        let cooldown = self.table.as_ref().ok_or("no rule table")?.cooldown;
        match self.resting.get(&outside) {
            Some(rest) if rest.blocks(&cooldown, self.now_ns) => {
                let early = rest.over_ns(&cooldown) - self.now_ns;
                Err(format!("{address}:{port} is used {early} ns too early"))
            }
            _ => Ok(()),
        }
    }

    /// The port of an address that a session can be had by: that of its mapping, if there is one.
    pub(super) fn free_mapped(&self, opening: &Opening, address: Ipv4Addr) -> Option<u16> {
        match self.mappings.get(&opening.mapping(address)) {
            Some(mapping) => self.usable(opening, (address, mapping.port)),
            None => self.free_endpoint(opening, address),
        }
    }

    /// The port of a mapping, if its tuple is free.
    fn usable(&self, opening: &Opening, external: Endpoint) -> Option<u16> {
        let outside = opening.outside(external);
        let cooldown = self.table.as_ref()?.cooldown;
        let rest = self.resting.get(&outside);
        let over = rest.is_none_or(|rest| rest.over_ns(&cooldown) + LATE_NS <= self.now_ns);
        (self.sessions.claimant(&outside).is_none() && over).then_some(external.1)
    }

    /// A port of an address that is free for a new mapping, and has been for a while. Those do not
    /// count of which anything is or has been used without a mapping.
    fn free_endpoint(&self, opening: &Opening, address: Ipv4Addr) -> Option<u16> {
        let cooldown = self.table.as_ref()?.cooldown;
        let protocol = opening.flow.protocol;
        let few = opening.snat.all().take(BY_CHANCE + 1).count() <= BY_CHANCE;
        opening.snat.all().find(|port| {
            let external = (address, *port);
            if self.mappings.owner(protocol, external).is_some()
                || self.sessions.any(protocol, external)
            {
                return false;
            }
            if few && self.own(opening, external) {
                return self.usable(opening, external).is_some();
            }
            let endpoint = self.resting.get(&toward_everybody(&opening.outside(external)));
            match endpoint {
                // Since that mapping, sessions without one may have used it: who has wanted it toward
                // one of their destinations has left a hint to all.
                Some(rest) => {
                    let over_ns = rest.over_ns(&cooldown);
                    let longest_ns = self.resting.longest_ns(protocol, external, &cooldown);
                    self.now_ns >= over_ns.max(longest_ns) + LATE_NS
                }
                None => !self.resting.any(protocol, external),
            }
        })
    }

    /// Whether a session without a mapping may have one at this endpoint.
    pub(super) fn unmapped(&self, opening: &Opening, external: Endpoint) -> bool {
        let Some(cooldown) = self.table.as_ref().map(|table| table.cooldown) else { return false };
        let endpoint = self.resting.get(&toward_everybody(&opening.outside(external)));
        let over = endpoint.is_none_or(|rest| rest.kept_over_ns(&cooldown) <= self.now_ns);
        self.mappings.owner(opening.flow.protocol, external).is_none()
            && !self.mapped_anywhere(opening)
            && (over || self.own(opening, external))
    }

    /// Whether an endpoint rests that was this inside endpoint's.
    fn own(&self, opening: &Opening, external: Endpoint) -> bool {
        let endpoint = self.resting.get(&toward_everybody(&opening.outside(external)));
        endpoint.is_some_and(|rest| rest.owner == Some(opening.flow.local))
    }

    /// Refusing for want of room needs a full table, and a port that could have been had.
    pub(super) fn no_room(&self, opening: &Opening) -> Result<(), String> {
        let protocol = opening.flow.protocol;
        let possible = self.tried(opening).into_iter().any(|address| {
            match self.mappings.get(&opening.mapping(address)) {
                Some(Mapping { port, .. }) => {
                    self.sessions.claimant(&opening.outside((address, *port))).is_none()
                }
                None => opening
                    .snat
                    .all()
                    .any(|port| self.mappings.owner(protocol, (address, port)).is_none()),
            }
        });
        if possible { Ok(()) } else { Err("table_full where every port is somebody's".to_owned()) }
    }

    /// A loop is only found when everything else is done: the mapping has been prolonged.
    pub(super) fn mapped_loop(
        &mut self,
        opening: &Opening,
        endpoint: Endpoint,
    ) -> Result<(), String> {
        self.check_mapped(opening, endpoint)?;
        self.resting.used(&opening.outside(endpoint));
        let timeouts = self.table.as_ref().ok_or("no rule table")?.timeouts;
        let deadline_ns = Phase::first(&opening.flow).deadline_ns(self.now_ns, &timeouts);
        self.mappings.extend_mapping(&opening.mapping(endpoint.0), deadline_ns);
        if opening.uses().is_some_and(|uses| uses.permission) {
            let permission = (opening.flow.protocol, endpoint, endpoint.0);
            self.mappings.extend_permission(&permission, deadline_ns);
        }
        Ok(())
    }
}
