//! A new session: the program chooses the external endpoint, or refuses. The model judges.
use std::net::Ipv4Addr;

use nat_common::{flow::Direction, stats::Hook, verdict::Verdict};

use super::{
    Model, Origin, Outcome, Sent,
    cooldown::toward_everybody,
    counters::Weight,
    flow::{Endpoint, Flow},
    host::Hop,
    mappings::Uses,
    packet::{self, Packet},
    pool::Chooser,
    rewrite,
    rules::Snat,
    session::{Birth, Session},
};

/// How much later than they are free ports are known to be: close times are kept in units of 2^22 ns,
/// and what is known of a port in units of 2^20 ns, both upwards.
pub(super) const LATE_NS: u64 = 10_000_000;

/// A packet that makes a session if there is room for one.
#[derive(Clone, Debug)]
pub struct Opening {
    pub(super) hook: Hook,
    pub(super) frame: Vec<u8>,
    pub(super) segments: u16,
    pub(super) packet: Packet,
    pub flow: Flow,
    /// Name of the rule.
    pub rule: String,
    pub(super) snat: Snat,
    /// Those of the rule's addresses that the egress interface has.
    pub(super) addresses: Vec<Ipv4Addr>,
    pub(super) hop: Option<Hop>,
    /// Whether the gateway itself sends it.
    pub(super) own: bool,
}

impl Opening {
    /// The verdicts that such a packet can have.
    pub const VERDICTS: [Verdict; 5] = [
        Verdict::TranslatedOut,
        Verdict::Hairpin,
        Verdict::NoPort,
        Verdict::TableFull,
        Verdict::HairpinLoop,
    ];

    /// What its session shares with others.
    pub(super) fn uses(&self) -> Option<Uses> {
        self.snat.uses(self.flow.protocol)
    }

    /// The flow as the outside sees it, with this external endpoint.
    pub(super) fn outside(&self, external: Endpoint) -> Flow {
        self.flow.with_local(external)
    }

    /// The endpoint that a translated frame shows.
    fn chosen(&self, frame: &[u8]) -> Option<Endpoint> {
        let read = packet::read(frame).ok()?;
        let flow = read.outbound_flow().ok()?;
        Some(flow.local)
    }
}

impl Model {
    /// Judges what the program did with a packet that makes a session, and goes along. Returns what
    /// should have come out, or what is wrong.
    pub fn settle(
        &mut self,
        opening: &Opening,
        verdict: Verdict,
        frame: &[u8],
    ) -> Result<Outcome, String> {
        if opening.uses().is_some() {
            // Its last session's tuple may be the same one again, and goes before that is known.
            self.end(&opening.flow);
        }
        match verdict {
            Verdict::TranslatedOut | Verdict::Hairpin => {
                let external = opening.chosen(frame).ok_or("the frame that left is unreadable")?;
                self.adopt(opening, external)
            }
            Verdict::NoPort => {
                self.no_port(opening)?;
                Ok(self.refused(opening, verdict))
            }
            Verdict::TableFull => {
                self.table_full(opening)?;
                Ok(self.refused(opening, verdict))
            }
            Verdict::HairpinLoop => {
                self.loops(opening)?;
                Ok(self.refused(opening, verdict))
            }
            other => Err(format!("{} for a packet that opens a session", other.name())),
        }
    }

    fn adopt(&mut self, opening: &Opening, external: Endpoint) -> Result<Outcome, String> {
        self.check_address(opening, external.0)?;
        if opening.flow.remote == external {
            return Err("a session with itself".to_owned());
        }
        self.check_kept(opening, external)?;
        let mut pressed = false;
        if opening.uses().is_some() {
            self.check_mapped(opening, external)?;
        } else {
            pressed = self.check_tuple(opening, external)?;
        }
        if self.sessions.full() {
            return Err("a session more than there is room for".to_owned());
        }
        // The flow's last session, whose connection was over.
        self.end(&opening.flow);
        // What has given way goes on resting if its new session leaves nothing.
        if !pressed {
            self.resting.used(&opening.outside(external));
        }
        let timeouts = self.table.as_ref().ok_or("no rule table")?.timeouts;
        let sent = sent(opening);
        let weight = Weight::of(sent);
        let birth = Birth {
            flow: opening.flow,
            external,
            rule: &opening.rule,
            first: opening.packet.segment(),
            from: Direction::Outbound,
            uses: opening.uses(),
        };
        let mut session = Session::new(&birth, self.now_ns, &timeouts);
        (session.out.packets, session.out.bytes) = (weight.packets, weight.bytes);
        self.mappings.join(&session, session.deadline_ns());
        self.sessions.insert(session);
        self.counters.session(&opening.rule);
        self.note_fragment(sent, &opening.packet, Direction::Outbound, external.0);
        let frame = rewrite::source(&opening.frame, &opening.packet, external, opening.hop);
        let verdict = self.count(sent, Verdict::TranslatedOut);
        Ok(Outcome { verdict, frame })
    }

    /// Whether a tuple may be had by a session that shares nothing, and whether it gives way. Whoever
    /// holds it goes.
    pub(super) fn check_tuple(
        &mut self,
        opening: &Opening,
        external: Endpoint,
    ) -> Result<bool, String> {
        let mut pressed = false;
        let (address, port) = external;
        if !opening.snat.allows(port) {
            return Err(format!("external port {port} is not allowed by {:?}", opening.snat));
        }
        let outside = opening.outside(external);
        let holder = self.sessions.claimant(&outside);
        let sure = holder.is_some() || self.resting.get(&outside).is_some_and(|rest| !rest.maybe);
        match self.kept_from(&outside) {
            None => {
                return Err(format!("{address}:{port} is taken toward this remote: {holder:?}"));
            }
            Some(from) if self.now_ns < from => {
                pressed = true;
                let early = from - self.now_ns;
                let checked = if sure { self.check_pressed(opening, external) } else { Ok(()) };
                checked.map_err(|why| {
                    format!("{address}:{port} is used {early} ns too early: {why}")
                })?;
            }
            Some(_) => {}
        }
        if opening.uses().is_none() {
            self.check_port(&outside)?;
        }
        if let Some(holder) = holder {
            self.end(&holder);
        }
        Ok(pressed)
    }

    /// Whether a port rests toward everybody. That of a mapping is its own.
    fn check_port(&self, outside: &Flow) -> Result<(), String> {
        let cooldown = self.table.as_ref().ok_or("no rule table")?.cooldown;
        let everybody = self.resting.get(&toward_everybody(outside));
        match everybody.filter(|rest| rest.blocks(&cooldown, self.now_ns)) {
            Some(rest) if cooldown.as_port => {
                let (address, port) = outside.local;
                let early = rest.over_ns(&cooldown) - self.now_ns;
                Err(format!("{address}:{port} is used {early} ns too early, toward whomever"))
            }
            _ => Ok(()),
        }
    }

    fn check_address(&mut self, opening: &Opening, address: Ipv4Addr) -> Result<(), String> {
        let addresses = &opening.addresses;
        if !addresses.contains(&address) {
            return Err(format!("{address} is not in the pool {addresses:?}"));
        }
        if opening.snat.spill {
            return self.check_spilled(opening, address);
        }
        self.choices.learn(Chooser::of(&opening.snat, &opening.flow, addresses), address)
    }

    fn refused(&mut self, opening: &Opening, verdict: Verdict) -> Outcome {
        self.dismiss_client(opening.flow.local.0);
        let sent = sent(opening);
        self.counters.refused(&opening.rule, verdict, Weight::of(sent));
        self.unchanged(sent, verdict)
    }

    /// From when on a tuple may be had that shares nothing, by what has it or has had it last; nothing
    /// if a session lives on it.
    #[must_use]
    pub fn free_from(&self, outside: &Flow) -> Option<u64> {
        let cooldown = &self.table.as_ref()?.cooldown;
        let holder = self.sessions.claimant(outside).and_then(|flow| self.sessions.get(&flow));
        let from = match holder {
            Some(session) => session.over(self.now_ns)?.over_ns(cooldown),
            None => self.resting.get(outside).map_or(0, |rest| rest.over_ns(cooldown)),
        };
        let everybody = self.resting.get(&toward_everybody(outside));
        let port = everybody.filter(|_| cooldown.as_port).map_or(0, |rest| rest.over_ns(cooldown));
        Some(from.max(port))
    }

    /// From when on a port does not rest toward everybody, as that is kept.
    fn port_from(&self, outside: &Flow) -> u64 {
        let Some(table) = self.table.as_ref().filter(|table| table.cooldown.as_port) else {
            return 0;
        };
        let everybody = self.resting.get(&toward_everybody(outside));
        everybody.map_or(0, |rest| rest.kept_over_ns(&table.cooldown))
    }

    /// Whether an endpoint can be had at this moment, for sure.
    pub(super) fn surely_free(&self, opening: &Opening, external: Endpoint) -> bool {
        let outside = opening.outside(external);
        let free = self.sessions.claimant(&outside).is_none()
            && self.kept_from(&outside).is_some_and(|from| from <= self.now_ns);
        free && match opening.uses() {
            Some(_) => self.unmapped(opening, external),
            None => self.port_from(&outside) <= self.now_ns,
        }
    }

    /// From when on its own rest is over, as that is kept.
    pub(super) fn kept_from(&self, outside: &Flow) -> Option<u64> {
        let cooldown = &self.table.as_ref()?.cooldown;
        let holder = self.sessions.claimant(outside).and_then(|flow| self.sessions.get(&flow));
        let Some(session) = holder else {
            let rest = self.resting.get(outside);
            return Some(rest.map_or(0, |rest| rest.kept_over_ns(cooldown)));
        };
        let end = session.over(self.now_ns)?;
        let kept_ns = session.kept_ns().unwrap_or(end.closed_ns);
        Some(end.kept_over_ns(kept_ns, cooldown))
    }

    /// The addresses that may have been tried.
    pub(super) fn tried(&self, opening: &Opening) -> Vec<Ipv4Addr> {
        let chooser = Chooser::of(&opening.snat, &opening.flow, &opening.addresses);
        match self.choices.known(&chooser, &opening.addresses) {
            Some(known) if !opening.snat.spill => vec![known],
            _ => opening.addresses.clone(),
        }
    }

    /// Refusing for want of a port needs an address with none that has been free for a while; where
    /// clients may go on with another one, all of them.
    fn no_port(&self, opening: &Opening) -> Result<(), String> {
        let searched = self.searched(opening);
        let free: Vec<Endpoint> = searched
            .iter()
            .filter_map(|address| Some((*address, self.free_port(opening, *address)?)))
            .collect();
        let goes_on = opening.snat.spill && !self.mapped_anywhere(opening);
        let enough = if goes_on { 1 } else { searched.len() };
        if free.len() >= enough {
            return Err(format!("no_port with free ones: {free:?}"));
        }
        self.nothing_gives_way(opening, &searched)
    }

    /// A port of an address that could have been had, and for a while.
    pub(super) fn free_port(&self, opening: &Opening, address: Ipv4Addr) -> Option<u16> {
        if opening.uses().is_some() {
            return self.free_mapped(opening, address);
        }
        opening.snat.all().find(|port| {
            let from = self.free_from(&opening.outside((address, *port)));
            from.is_some_and(|from| from == 0 || self.now_ns >= from + LATE_NS)
        })
    }

    /// Refusing for want of room needs a full table, and a port that no session has: where each has
    /// one, one of these goes first.
    fn table_full(&self, opening: &Opening) -> Result<(), String> {
        if !self.sessions.full() {
            return Err(format!("table_full with {} sessions", self.sessions.len()));
        }
        if opening.uses().is_some() {
            return self.no_room(opening);
        }
        let unclaimed = |endpoint| self.sessions.claimant(&opening.outside(endpoint)).is_none();
        let tried = self.tried(opening);
        let some =
            tried.iter().any(|address| opening.snat.all().any(|port| unclaimed((*address, port))));
        if some { Ok(()) } else { Err("table_full where every port has a session".to_owned()) }
    }

    /// Refusing a loop needs a port by which the flow would be its own.
    fn loops(&mut self, opening: &Opening) -> Result<(), String> {
        let endpoint = opening.flow.remote;
        if !self.tried(opening).contains(&endpoint.0) {
            return Err("hairpin_loop by another address".to_owned());
        }
        if opening.uses().is_some() {
            return self.mapped_loop(opening, endpoint);
        }
        if !self.check_tuple(opening, endpoint)? {
            self.resting.used(&opening.outside(endpoint));
        }
        Ok(())
    }
}

pub(super) fn sent(opening: &Opening) -> Sent<'_> {
    let Opening { hook, ref frame, segments, own, .. } = *opening;
    let origin = if own { Origin::Own } else { Origin::Link };
    Sent { hook, frame, segments, origin }
}
