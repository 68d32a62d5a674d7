//! A client whose own address of a pool is full, and which may go on with another one (RFC 7857
//! section 4). Mappings stay where they are.
use std::net::Ipv4Addr;

use super::{Model, Opening, pool::Chooser};

impl Model {
    /// The addresses on which the session's inside endpoint has a mapping.
    fn mapped_on(&self, opening: &Opening) -> Vec<Ipv4Addr> {
        if opening.uses().is_none() {
            return Vec::new();
        }
        let mut on = opening.addresses.clone();
        on.retain(|address| self.mappings.get(&opening.mapping(*address)).is_some());
        match self.own_address(opening) {
            // Looked for there first.
            Some(own) if on.contains(&own) => vec![own],
            _ => on,
        }
    }

    pub(super) fn mapped_anywhere(&self, opening: &Opening) -> bool {
        !self.mapped_on(opening).is_empty()
    }

    /// The client's own address, if that is known.
    fn own_address(&self, opening: &Opening) -> Option<Ipv4Addr> {
        let chooser = Chooser::of(&opening.snat, &opening.flow, &opening.addresses);
        self.choices.known(&chooser, &opening.addresses)
    }

    /// The addresses on which a port may have been looked for.
    pub(super) fn searched(&self, opening: &Opening) -> Vec<Ipv4Addr> {
        match self.mapped_on(opening) {
            on if opening.snat.spill && !on.is_empty() => on,
            _ => self.tried(opening),
        }
    }

    /// Whether a session may be on an address: where its mapping is, or else on the client's own, or
    /// on another one if that is full.
    pub(super) fn check_spilled(
        &mut self,
        opening: &Opening,
        address: Ipv4Addr,
    ) -> Result<(), String> {
        let on = self.mapped_on(opening);
        if !on.is_empty() {
            return if on.contains(&address) {
                Ok(())
            } else {
                Err(format!("mapped on {on:?}, now on {address}"))
            };
        }
        let free = |address: &Ipv4Addr| self.free_port(opening, *address).is_some();
        match self.own_address(opening) {
            Some(own) if own == address || !free(&own) => Ok(()),
            Some(own) => {
                let port = self.free_port(opening, own).unwrap_or_default();
                let outside = opening.outside((own, port));
                let (holder, rest) = (self.sessions.claimant(&outside), self.resting.get(&outside));
                Err(format!(
                    "{own} is the client's, and its port {port} is free ({holder:?}, {rest:?}), now \
                     {address}"
                ))
            }
            // It would be on its own address if that were another one.
            None if opening.addresses.iter().all(|other| *other == address || free(other)) => {
                let chooser = Chooser::of(&opening.snat, &opening.flow, &opening.addresses);
                self.choices.learn(chooser, address)
            }
            None => Ok(()),
        }
    }
}
