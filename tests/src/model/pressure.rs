//! Ports that rest and give way: where a connection would be refused otherwise, one is taken that both
//! sides have closed, for a SYN that the server cannot mistake for the old connection.
use std::net::Ipv4Addr;

use super::{
    Model, Opening,
    flow::{Endpoint, Protocol},
};

/// How long a connection has to be silent first.
const SILENT_NS: u64 = 1_000_000_000;

/// Ports that are looked at. Of no more than these the oldest one goes; of more, chance decides.
const LOOKED_AT: usize = 64;

impl Model {
    /// Whether ports may give way to a session at all.
    fn presses(&self, opening: &Opening) -> bool {
        let wanted = self.table.as_ref().is_some_and(|table| {
            // What rests toward everybody does not give way.
            table.cooldown.pressure_reuse && !table.cooldown.as_port
        });
        wanted && opening.flow.protocol == Protocol::Tcp && opening.uses().is_none()
    }

    /// Since when a port has rested that gives way, in the units in which that is kept.
    fn gives_way(&self, opening: &Opening, external: Endpoint) -> Option<u64> {
        let outside = opening.outside(external);
        let (next, kept_ns) = match self.sessions.claimant(&outside) {
            Some(holder) => {
                let session = self.sessions.get(&holder)?;
                (session.connection.as_ref()?.client_ended()?, session.kept_ns()?)
            }
            None => {
                let rest = self.resting.get(&outside)?;
                (rest.end.next?, rest.kept_ns)
            }
        };
        let beyond = opening.packet.segment()?.sequence.wrapping_sub(next);
        let silent = self.now_ns >= kept_ns + SILENT_NS;
        (silent && (1..1 << 31).contains(&beyond)).then_some(kept_ns)
    }

    /// The port of an address that has rested longest of those that surely do and give way.
    fn oldest(&self, opening: &Opening, address: Ipv4Addr) -> Option<(u64, u16)> {
        let ports = opening.snat.all().filter(|port| {
            let outside = opening.outside((address, *port));
            let sure = self.sessions.claimant(&outside).is_some()
                || self.resting.get(&outside).is_some_and(|rest| !rest.maybe);
            sure && self.free_from(&outside).is_some_and(|from| self.now_ns < from)
        });
        ports
            .filter_map(|port| Some((self.gives_way(opening, (address, port))?, port)))
            .min_by_key(|(kept_ns, _)| *kept_ns)
    }

    fn looks_at_all(opening: &Opening) -> bool {
        opening.snat.all().take(LOOKED_AT + 1).count() <= LOOKED_AT
    }

    /// Whether a session may have a port before its time.
    pub(super) fn check_pressed(
        &self,
        opening: &Opening,
        external: Endpoint,
    ) -> Result<(), String> {
        if !self.presses(opening) {
            return Err("nothing gives way".to_owned());
        }
        let Some(kept_ns) = self.gives_way(opening, external) else {
            return Err("it does not give way".to_owned());
        };
        let all = [external.0];
        let searched = if opening.snat.spill { &opening.addresses[..] } else { &all };
        if let Some(free) = searched.iter().find_map(|one| self.free_port(opening, *one)) {
            return Err(format!("port {free} is free"));
        }
        match self.oldest(opening, external.0) {
            Some((before_ns, port)) if Self::looks_at_all(opening) && before_ns < kept_ns => {
                Err(format!("port {port} has rested longer"))
            }
            _ => Ok(()),
        }
    }

    /// A refusal needs an address with nothing that gives way. Where ports are chosen among too many
    /// to look at all, or there is no room for a session, nothing is certain.
    pub(super) fn nothing_gives_way(
        &self,
        opening: &Opening,
        searched: &[Ipv4Addr],
    ) -> Result<(), String> {
        if !self.presses(opening) || !Self::looks_at_all(opening) || self.sessions.full() {
            return Ok(());
        }
        let oldest: Vec<_> =
            searched.iter().map_while(|address| self.oldest(opening, *address)).collect();
        if oldest.len() < searched.len() {
            return Ok(());
        }
        Err(format!("no_port where these give way: {oldest:?}"))
    }
}
