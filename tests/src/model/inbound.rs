//! A packet's way in.
use std::net::Ipv4Addr;

use nat_common::{flow::Direction, instance::Role, verdict::Verdict};

use super::{
    Expected, Model, Origin, Outcome, Sent,
    admission::{Admission, opens},
    early,
    flow::{Flow, Protocol},
    hairpin::with_less_ttl,
    outbound::leave_unusual,
    packet::{self, Content, Packet},
    rewrite,
    rules::{Action, Ruling},
    session::Phase,
};

impl Model {
    pub(super) fn inbound(&mut self, sent: Sent<'_>) -> Expected {
        match self.way_in(sent) {
            Ok(expected) => expected,
            Err(verdict) => Expected::Certain(self.unchanged(sent, verdict)),
        }
    }

    fn way_in(&mut self, sent: Sent<'_>) -> Result<Expected, Verdict> {
        let packet = packet::read(sent.frame)?;
        if early(sent.hook) {
            leave_unusual(&self.host, sent.frame, &packet)?;
        }
        self.refuse_fragment(sent, &packet, Direction::Inbound)?;
        if let Some(outcome) = self.later_fragment(sent, &packet, Direction::Inbound)? {
            return Ok(Expected::Certain(outcome));
        }
        self.way_to_its_owner(sent, &packet)
            .map_err(|verdict| self.verdict_of_fragment(sent, &packet, Direction::Inbound, verdict))
    }

    /// The way in of a packet that has its ports.
    fn way_to_its_owner(&mut self, sent: Sent<'_>, packet: &Packet) -> Result<Expected, Verdict> {
        let whole = !packet.part.is_fragment();
        if packet.content == Content::Other(Verdict::IcmpRefused) {
            return Err(Verdict::IcmpRefused);
        }
        if packet.content == Content::Error
            && whole
            && let Some(outcome) = self.error(sent, packet, Direction::Inbound)?
        {
            return Ok(Expected::Certain(outcome));
        }
        let live = self.live(packet);
        // A host outside may use its port again for another connection.
        let over = |flow| self.sessions.get(flow).is_some_and(|one| one.phase == Phase::Closing);
        let again = live.as_ref().is_some_and(over) && packet.segment().is_some_and(opens);
        let flow = match live {
            Some(flow) if !again => flow,
            // Whether it may is not for an early hook to say.
            Some(_) if early(sent.hook) => return Err(Verdict::LeftUntouched),
            before => match self.newcomer(sent, packet) {
                Admission::Admitted(flow) => flow,
                Admission::Depends(entering) => return Ok(Expected::Enters(entering)),
                Admission::Nobodys => before.ok_or(Verdict::NoMapping)?,
                Admission::Refused(verdict) => {
                    let before = before.ok_or(verdict)?;
                    // It had to go first, and is not there for its late packets.
                    self.sessions.get(&before).ok_or(Verdict::Contended)?;
                    before
                }
            },
        };
        let hop = if early(sent.hook) {
            let length = packet.total_length;
            Some(self.host.next_hop(flow.local.0, length, Role::Inside)?)
        } else {
            None
        };
        let turned = sent.origin == Origin::Turned;
        if turned {
            self.reaches(&flow, sent)?;
        }
        self.prolong(&flow, Direction::Inbound, packet, sent)?;
        self.note_fragment(sent, packet, Direction::Inbound, flow.local.0);
        let mut frame = rewrite::destination(sent.frame, packet, flow.local, hop);
        if turned {
            frame = with_less_ttl(&frame, packet);
        }
        let verdict = self.count(sent, Verdict::TranslatedIn);
        Ok(Expected::Certain(Outcome { verdict, frame }))
    }

    /// A packet from outside that belongs to no session, or to one that is over.
    fn newcomer(&mut self, sent: Sent<'_>, packet: &Packet) -> Admission {
        match (self.without_session_in(sent, packet), packet.inbound_flow()) {
            (Verdict::NoMapping, Some(seen)) => self.admit(&seen, packet),
            (verdict, _) => Admission::Refused(verdict),
        }
    }

    /// The live session of a packet from outside.
    fn live(&mut self, packet: &Packet) -> Option<Flow> {
        let flow = self.sessions.claimant(&packet.inbound_flow()?)?;
        self.look_up(&flow, Direction::Inbound);
        let live = self.sessions.get(&flow)?.live(self.now_ns);
        live.then_some(flow)
    }

    /// Whether some rule may translate to a packet's destination and port. The model's gateway has no
    /// sockets.
    pub(super) fn translates(&self, packet: &Packet) -> bool {
        let (protocol, port) = match packet.content {
            Content::Tcp { destination, .. } => (Protocol::Tcp, destination),
            Content::Udp { destination, .. } => (Protocol::Udp, destination),
            _ => return false,
        };
        self.rule_of_endpoint(protocol, (packet.destination, port)).is_some()
    }

    /// Whether some rule may translate to an address.
    pub(super) fn translates_to(&self, address: Ipv4Addr, protocol: u8) -> bool {
        let Some(table) = &self.table else { return false };
        self.host.outside_has(address)
            && table.rules.iter().any(|rule| match &rule.action {
                Action::Snat(snat) => {
                    let protocol = Protocol::from_number(protocol);
                    snat.addresses.contains(&address)
                        && protocol.is_some_and(|one| snat.protocols.contains(&one))
                }
                Action::Route | Action::Drop => false,
            })
    }

    /// Invariant 3: what is not for the gateway itself goes on only if the flow that it pretends to
    /// answer would have passed as it is.
    fn without_session_in(&self, sent: Sent<'_>, packet: &Packet) -> Verdict {
        if early(sent.hook) {
            return Verdict::NoSession;
        }
        if !self.host.forwards(packet.destination) {
            let silent = self.translates(packet);
            return if silent { Verdict::NoMapping } else { Verdict::NoSession };
        }
        let Some(table) = &self.table else {
            return Verdict::Unsolicited;
        };
        let (source, destination) = (packet.destination, packet.source);
        let passes = match table.ruling(&self.host, source, destination, packet.protocol) {
            Ruling::Rule(position) => {
                let rule = table.rules.get(position);
                rule.is_some_and(|rule| matches!(rule.action, Action::Route))
            }
            Ruling::OnlyProtocolDiffers => false,
            Ruling::Nothing => !table.unmatched_drop,
        };
        if passes { Verdict::NoSession } else { Verdict::Unsolicited }
    }
}
