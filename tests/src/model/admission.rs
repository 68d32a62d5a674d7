//! A packet from outside without a session, for a mapped port: who comes in.
use std::net::Ipv4Addr;

use nat_common::{flow::Direction, verdict::Verdict};

use super::{
    Model,
    flow::{Flow, Protocol},
    mappings::{Key, Uses},
    packet::{Packet, Segment, tcp_flags},
    pool::Chooser,
    rules::{Action, Filtering, Rule, Ruling, Snat},
    session::{Birth, Session},
};

/// A packet of which the program knows whether it comes in, and the model does not.
#[derive(Clone, Debug)]
pub struct Entering {
    pub(super) chooser: Chooser,
    /// It comes in with this address.
    pub(super) address: Ipv4Addr,
    /// And else it is one of these.
    pub(super) others: Vec<Ipv4Addr>,
    /// Name of the rule that would have one session more.
    pub rule: String,
}

impl Entering {
    /// The verdicts of one that the filter lets in, and that gets no session.
    pub const REFUSALS: [Verdict; 5] = [
        Verdict::ClientRate,
        Verdict::ClientSessions,
        Verdict::ClientHalfOpen,
        Verdict::TableFull,
        Verdict::Contended,
    ];
}

/// What becomes of it.
pub(super) enum Admission {
    /// No mapping has the endpoint.
    Nobodys,
    Refused(Verdict),
    /// It has a session now: a flow as the inside sees it.
    Admitted(Flow),
    Depends(Box<Entering>),
}

/// Whether a segment is a SYN and no answer to one.
pub(super) fn opens(segment: Segment) -> bool {
    segment.flags & (tcp_flags::SYN | tcp_flags::ACK | tcp_flags::RST) == tcp_flags::SYN
}

impl Model {
    /// Goes along with what the program did with a packet.
    pub fn learn(&mut self, entering: &Entering, came_in: bool) -> Result<(), String> {
        let Entering { chooser, address, others, .. } = entering.clone();
        match (came_in, others.as_slice()) {
            (true, _) => self.choices.learn(chooser, address),
            (false, [other]) => self.choices.learn(chooser, *other),
            (false, _) => Err(format!("filtered, and the address is one of {others:?}")),
        }
    }

    /// Judges a packet from outside: `seen` is its flow.
    pub(super) fn admit(&mut self, seen: &Flow, packet: &Packet) -> Admission {
        let Some(owner) = self.mappings.owner(seen.protocol, seen.local) else {
            return Admission::Nobodys;
        };
        let flow = seen.with_local(owner.inside);
        let Some((rule, snat)) = self.rule_of_answer(&flow) else {
            return Admission::Refused(Verdict::Filtered);
        };
        let (name, snat) = (rule.name.clone(), snat.clone());
        let Some(uses) = self.lets_in(&snat, owner, seen, packet) else {
            return Admission::Refused(Verdict::Filtered);
        };
        let mut addresses = snat.addresses.clone();
        addresses.retain(|address| self.host.outside_has(*address));
        if snat.spill && addresses.contains(&seen.local.0) {
            return self.enter(&flow, seen, packet, &name, uses);
        }
        let (chooser, address) = (Chooser::of(&snat, &flow, &addresses), seen.local.0);
        match self.choices.known(&chooser, &addresses) {
            Some(known) if known == address => self.enter(&flow, seen, packet, &name, uses),
            None if addresses.contains(&address) => {
                let others = addresses.into_iter().filter(|other| *other != address).collect();
                Admission::Depends(Box::new(Entering { chooser, address, others, rule: name }))
            }
            _ => Admission::Refused(Verdict::Filtered),
        }
    }

    /// The rule by which the inside endpoint would answer, if that translates.
    fn rule_of_answer(&self, flow: &Flow) -> Option<(&Rule, &Snat)> {
        let table = self.table.as_ref()?;
        let (from, to) = (flow.local.0, flow.remote.0);
        match table.ruling(&self.host, from, to, flow.protocol.number()) {
            Ruling::Rule(position) => {
                let rule = table.rules.get(position)?;
                match &rule.action {
                    Action::Snat(snat) => Some((rule, snat)),
                    Action::Route | Action::Drop => None,
                }
            }
            Ruling::OnlyProtocolDiffers | Ruling::Nothing => None,
        }
    }

    /// What the session would share, if the rule's filter is open: everything but the address.
    fn lets_in(&self, snat: &Snat, owner: Key, seen: &Flow, packet: &Packet) -> Option<Uses> {
        let uses = snat.uses(seen.protocol).filter(|uses| uses.range == owner.range)?;
        let speaks = packet.segment().is_none_or(opens);
        let permission = match snat.of(seen.protocol).filtering {
            Filtering::AddressAndPortDependent => return None,
            Filtering::AddressDependent => Some((seen.protocol, seen.local, seen.remote.0)),
            Filtering::Everybody => None,
        };
        let open = self.mappings.open(&owner, permission, self.now_ns);
        (speaks && open).then_some(uses)
    }

    /// Makes the session of a packet that comes in, in the place of the one before.
    fn enter(
        &mut self,
        flow: &Flow,
        seen: &Flow,
        packet: &Packet,
        rule: &str,
        uses: Uses,
    ) -> Admission {
        let Some(timeouts) = self.table.as_ref().map(|table| table.timeouts) else {
            return Admission::Refused(Verdict::NotConfigured);
        };
        let birth = Birth {
            flow: *flow,
            external: seen.local,
            rule,
            first: packet.segment(),
            from: Direction::Inbound,
            uses: Some(uses),
        };
        let session = Session::new(&birth, self.now_ns, &timeouts);
        // The mapping stays, even if this was its only session.
        self.mappings.join(&session, 0);
        if self.sessions.claimant(seen) == Some(*flow) {
            self.end(flow);
        }
        let client = flow.local.0;
        let admitted = self.admit_client(client, flow.protocol == Protocol::Tcp, false);
        let refused = if let Err(verdict) = admitted {
            Some(verdict)
        } else if self.sessions.claimant(seen).is_some() {
            Some(Verdict::Contended)
        } else if self.sessions.full() {
            Some(Verdict::TableFull)
        } else if self.sessions.get(flow).is_some() {
            // The inside endpoint speaks to this remote one by another external endpoint.
            Some(Verdict::Contended)
        } else {
            None
        };
        if let Some(verdict) = refused {
            if admitted.is_ok() {
                self.dismiss_client(client);
            }
            self.mappings.leave(&session);
            return Admission::Refused(verdict);
        }
        self.sessions.insert(session);
        self.counters.session(rule);
        self.entered = Some((*flow, seen.local));
        Admission::Admitted(*flow)
    }
}
