//! A new session: the program chooses the external endpoint, or refuses. The model judges.
use std::{collections::HashMap, net::Ipv4Addr};

use nat_common::{flow::Direction, hint::TICK_NS, stats::Hook, verdict::Verdict};

use super::{
    Model, Outcome, Sent,
    counters::Weight,
    flow::{Endpoint, Flow},
    host::Hop,
    packet::{self, Packet},
    rewrite,
    rules::Snat,
    session::Session,
};

/// How much later than their sessions end ports are known to be free.
const LATE_NS: u64 = 2 * TICK_NS;

/// A packet that makes a session if there is room for one.
#[derive(Clone, Debug)]
pub struct Opening {
    pub(super) hook: Hook,
    pub(super) frame: Vec<u8>,
    pub(super) segments: u16,
    pub(super) packet: Packet,
    pub flow: Flow,
    /// Name of the rule.
    pub(super) rule: String,
    pub(super) snat: Snat,
    /// Those of the rule's addresses that the egress interface has.
    pub(super) addresses: Vec<Ipv4Addr>,
    pub(super) hop: Option<Hop>,
}

impl Opening {
    /// The verdicts that such a packet can have.
    pub const VERDICTS: [Verdict; 3] =
        [Verdict::TranslatedOut, Verdict::NoPort, Verdict::TableFull];

    /// The flow as the outside sees it, with this external endpoint.
    fn outside(&self, external: Endpoint) -> Flow {
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
        // What is left of the flow's last session goes before a port is looked for.
        self.end(&opening.flow);
        match verdict {
            Verdict::TranslatedOut => {
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
            other => Err(format!("{} for a packet that opens a session", other.name())),
        }
    }

    fn adopt(&mut self, opening: &Opening, external: Endpoint) -> Result<Outcome, String> {
        let (address, port) = external;
        if !opening.snat.allows(port) {
            return Err(format!("external port {port} is not allowed by {:?}", opening.snat));
        }
        self.check_address(opening, address)?;
        if let Some(holder) = self.sessions.claimant(&opening.outside(external)) {
            if self.sessions.get(&holder).is_some_and(|session| session.live(self.now_ns)) {
                return Err(format!("{address}:{port} is taken toward this remote by {holder:?}"));
            }
            self.end(&holder);
        }
        if self.sessions.full() {
            return Err("a session more than there is room for".to_owned());
        }
        let timeouts = self.table.as_ref().ok_or("no rule table")?.timeouts;
        let sent = sent(opening);
        let weight = Weight::of(sent);
        let first = opening.packet.segment();
        let mut session =
            Session::new(opening.flow, external, &opening.rule, first, self.now_ns, &timeouts);
        (session.out.packets, session.out.bytes) = (weight.packets, weight.bytes);
        self.sessions.insert(session);
        self.counters.session(&opening.rule);
        self.note_fragment(sent, &opening.packet, Direction::Outbound, address);
        let frame = rewrite::source(&opening.frame, &opening.packet, external, opening.hop);
        let verdict = self.count(sent, Verdict::TranslatedOut);
        Ok(Outcome { verdict, frame })
    }

    fn check_address(&mut self, opening: &Opening, address: Ipv4Addr) -> Result<(), String> {
        let addresses = &opening.addresses;
        if !addresses.contains(&address) {
            return Err(format!("{address} is not in the pool {addresses:?}"));
        }
        if opening.snat.random {
            return Ok(());
        }
        let client = opening.flow.local.0;
        let pool = addresses.iter().copied().collect();
        let paired = *self.pairs.entry((client, pool)).or_insert(address);
        if paired == address {
            Ok(())
        } else {
            Err(format!("{client} has {paired} in this pool, now gets {address}"))
        }
    }

    fn refused(&mut self, opening: &Opening, verdict: Verdict) -> Outcome {
        let sent = sent(opening);
        self.counters.refused(&opening.rule, verdict, Weight::of(sent));
        self.unchanged(sent, verdict)
    }

    /// Ports of the range by what stands in the way: (taken by a live session, free or ended),
    /// at the address where most are taken: the one that may have been tried.
    fn occupancy(&self, opening: &Opening) -> (usize, usize) {
        let mut taken: HashMap<Ipv4Addr, usize> = HashMap::new();
        for session in self.sessions.all() {
            let (address, port) = session.external;
            let rival =
                opening.outside(session.external) == session.flow.with_local(session.external);
            // The program may know of an end a little later.
            let lives = session.live(self.now_ns.saturating_sub(LATE_NS));
            if rival && opening.snat.allows(port) && lives {
                *taken.entry(address).or_default() += 1;
            }
        }
        let taken = opening.addresses.iter().filter_map(|address| taken.get(address)).max();
        let taken = taken.copied().unwrap_or(0);
        let (first, last) = opening.snat.ports;
        let allowed = (first..=last).filter(|port| opening.snat.allows(*port)).count();
        (taken, allowed - taken)
    }

    /// Refusing for want of a port needs a live session on each of them toward this remote.
    fn no_port(&self, opening: &Opening) -> Result<(), String> {
        match self.occupancy(opening) {
            (_, 0) => Ok(()),
            (taken, free) => Err(format!("no_port with {taken} ports taken and {free} free")),
        }
    }

    /// Refusing for want of room needs a full table, and a port that could have been had.
    fn table_full(&self, opening: &Opening) -> Result<(), String> {
        if !self.sessions.full() {
            return Err(format!("table_full with {} sessions", self.sessions.len()));
        }
        let several = opening.addresses.len() > 1;
        if self.occupancy(opening).1 == 0 && !several {
            return Err("table_full where no port is free".to_owned());
        }
        Ok(())
    }
}

fn sent(opening: &Opening) -> Sent<'_> {
    let Opening { hook, ref frame, segments, .. } = *opening;
    Sent { hook, frame, segments }
}
