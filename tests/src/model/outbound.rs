//! A packet's way out.
use nat_common::{flow::Direction, instance::Role, verdict::Verdict};

use super::{
    Expected, Model, Opening, Origin, Outcome, Sent,
    admission::opens,
    cooldown::{End, Rest},
    counters::Weight,
    early,
    flow::{Flow, Protocol},
    host::{Hop, Host, one_host},
    packet::{self, Content, Packet},
    rewrite,
    rules::{Action, Ruling},
};

impl Model {
    pub(super) fn outbound(&mut self, sent: Sent<'_>) -> Expected {
        match self.way_out(sent) {
            Ok(expected) => expected,
            Err(verdict) => Expected::Certain(self.unchanged(sent, verdict)),
        }
    }

    fn way_out(&mut self, sent: Sent<'_>) -> Result<Expected, Verdict> {
        let packet = packet::read(sent.frame)?;
        self.refuse_fragment(sent, &packet, Direction::Outbound)?;
        if let Some(outcome) = self.later_fragment(sent, &packet, Direction::Outbound)? {
            return Ok(Expected::Certain(outcome));
        }
        self.way_of_its_own(sent, &packet).map_err(|verdict| {
            self.verdict_of_fragment(sent, &packet, Direction::Outbound, verdict)
        })
    }

    /// The way out of a packet that has its ports.
    pub(super) fn way_of_its_own(
        &mut self,
        sent: Sent<'_>,
        packet: &Packet,
    ) -> Result<Expected, Verdict> {
        let whole = !packet.part.is_fragment();
        if !early(sent.hook)
            && whole
            && packet.content == Content::Error
            && let Some(outcome) = self.error(sent, packet, Direction::Outbound)?
        {
            return Ok(Expected::Certain(outcome));
        }
        let flow = packet.outbound_flow();
        let hop = self.early_out(sent, packet, flow.ok())?;
        let Some(flow) = flow.ok().filter(|flow| self.goes_on(flow, packet)) else {
            return self.without_session_out(sent, packet, flow, hop);
        };
        let external = self.prolong(&flow, Direction::Outbound, packet, sent)?;
        self.note_fragment(sent, packet, Direction::Outbound, external.0);
        let frame = rewrite::source(sent.frame, packet, external, hop);
        let verdict = self.count(sent, Verdict::TranslatedOut);
        Ok(Expected::Certain(Outcome { verdict, frame }))
    }

    /// What happens before anything is changed: an early hook leaves the unusual to the stack and
    /// has to find the next hop.
    fn early_out(
        &mut self,
        sent: Sent<'_>,
        packet: &Packet,
        flow: Option<Flow>,
    ) -> Result<Option<Hop>, Verdict> {
        let hop = if early(sent.hook) {
            leave_unusual(&self.host, sent.frame, packet)?;
            Some(self.host.next_hop(packet.destination, packet.total_length, Role::Outside)?)
        } else {
            None
        };
        if let Some(flow) = flow {
            self.look_up(&flow, Direction::Outbound);
        }
        Ok(hop)
    }

    fn without_session_out(
        &mut self,
        sent: Sent<'_>,
        packet: &Packet,
        flow: Result<Flow, Verdict>,
        hop: Option<Hop>,
    ) -> Result<Expected, Verdict> {
        let table = self.table.as_ref().ok_or(Verdict::NotConfigured)?;
        let ruling = table.ruling(&self.host, packet.source, packet.destination, packet.protocol);
        let (position, joins) = match ruling {
            Ruling::Rule(position) => (position, false),
            Ruling::OnlyProtocolDiffers => return Err(Verdict::ProtocolNotCovered),
            Ruling::Nothing if table.unmatched_drop => return Err(Verdict::UnmatchedDrop),
            Ruling::Nothing => match self.rule_joined(sent, packet, flow) {
                Some(position) => (position, true),
                None => return Err(self.untranslated(sent, packet, flow, Verdict::Unmatched)),
            },
        };
        let rule = table.rules.get(position).cloned().ok_or(Verdict::NotConfigured)?;
        let own = sent.origin == Origin::Own;
        let weight = Weight::of(sent);
        let verdict = match rule.action {
            // What XDP passes on is counted with the rule when TC sees it.
            Action::Route if early(sent.hook) => return Err(Verdict::Routed),
            Action::Route => self.untranslated(sent, packet, flow, Verdict::Routed),
            Action::Drop => Verdict::RuleDrop,
            Action::Snat(_) if self.is_own_answer(sent, packet, flow) => {
                self.as_it_is(sent, flow, Verdict::OwnReply)
            }
            Action::Snat(mut snat) => match self.may_open(packet, flow) {
                Ok(flow) => {
                    let mut addresses = snat.addresses.clone();
                    addresses.retain(|address| self.host.outside_has(*address));
                    if joins {
                        // It has its address.
                        addresses = vec![packet.source];
                        snat.spill = false;
                    }
                    let half_open = flow.protocol == Protocol::Tcp;
                    if addresses.is_empty() {
                        Verdict::AddressNotOnEgress
                    } else if let Err(verdict) = self.admit_client(flow.local.0, half_open, own) {
                        verdict
                    } else {
                        let rule = rule.name;
                        let packet = *packet;
                        let frame = sent.frame.to_vec();
                        let Sent { hook, segments, .. } = sent;
                        let opening = Opening {
                            hook,
                            frame,
                            segments,
                            packet,
                            flow,
                            rule,
                            snat,
                            addresses,
                            hop,
                            own,
                        };
                        return Ok(Expected::Opens(Box::new(opening)));
                    }
                }
                Err(verdict) => verdict,
            },
        };
        self.counters.refused(&rule.name, verdict, weight);
        Err(verdict)
    }

    /// Whether a covered packet may make a session. An ended one of the same flow is out of the way
    /// then; one whose connection is over stays until there is another one.
    fn may_open(&mut self, packet: &Packet, flow: Result<Flow, Verdict>) -> Result<Flow, Verdict> {
        let flow = flow?;
        if self.sessions.get(&flow).is_some_and(|session| !session.live(self.now_ns)) {
            self.end(&flow);
        }
        match packet.segment() {
            Some(segment) if !opens(segment) => Err(Verdict::TcpWithoutSyn),
            _ => Ok(flow),
        }
    }

    /// Whether a packet belongs to a live session. One that opens does not where the connection is
    /// over: the server may remember that one.
    fn goes_on(&self, flow: &Flow, packet: &Packet) -> bool {
        self.sessions.get(flow).is_some_and(|session| {
            let again = session.closing() && packet.segment().is_some_and(opens);
            session.live(self.now_ns) && !again
        })
    }

    pub(super) fn look_up(&mut self, flow: &Flow, direction: Direction) {
        let now_ns = self.now_ns;
        if let Some(session) = self.sessions.get_mut(flow) {
            session.look_up(direction, now_ns);
        }
    }

    /// A packet of a live session passes; returns the external endpoint.
    pub(super) fn prolong(
        &mut self,
        flow: &Flow,
        direction: Direction,
        packet: &Packet,
        sent: Sent<'_>,
    ) -> Result<super::flow::Endpoint, Verdict> {
        let timeouts = self.table.as_ref().ok_or(Verdict::NotConfigured)?.timeouts;
        let session = self.sessions.get_mut(flow).ok_or(Verdict::NoSession)?;
        let external = session.external;
        session.count(direction, Weight::of(sent));
        // The stack takes one from the time to live, and forwards nothing that has none left.
        let dies = direction == Direction::Inbound
            && packet.ttl <= 1
            && !self.host.has(session.flow.local.0);
        if dies {
            return Ok(external);
        }
        let touch = session.touch(direction, packet.segment(), self.now_ns, &timeouts);
        if let Some(open_ns) = touch.open_ns {
            self.mappings.extend(session, open_ns);
        }
        if touch.closes && session.uses.is_none() {
            self.rest_as_port(flow);
        }
        Ok(external)
    }

    /// The port of a connection that is over rests toward everybody, if that is asked for. Its own tuple
    /// is in use until nothing comes late any more.
    fn rest_as_port(&mut self, flow: &Flow) {
        let (Some(table), Some(session)) = (&self.table, self.sessions.get(flow)) else { return };
        if table.cooldown.as_port {
            let end = End::of(session, self.now_ns);
            let kept_ns = session.kept_ns().unwrap_or(self.now_ns);
            let rest = Rest { end, kept_ns, owner: None, maybe: false };
            let outside = session.outside();
            self.resting.begin_endpoint(&outside, rest, &table.cooldown, self.now_ns);
        }
    }
}

/// What an early hook leaves to the stack, whatever it belongs to.
pub(super) fn leave_unusual(host: &Host, frame: &[u8], packet: &Packet) -> Result<(), Verdict> {
    // For others, or for many.
    if !frame.starts_with(&host.link_address) || !one_host(packet.destination) {
        return Err(Verdict::LeftUntouched);
    }
    if packet.has_options {
        return Err(Verdict::LeftOptions);
    }
    if packet.ttl <= 1 {
        return Err(Verdict::LeftTtl);
    }
    match packet.content {
        _ if packet.part.is_fragment() => Err(Verdict::LeftUntranslatable),
        Content::Error | Content::Other(_) => Err(Verdict::LeftUntranslatable),
        _ => Ok(()),
    }
}
