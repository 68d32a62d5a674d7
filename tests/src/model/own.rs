//! What the gateway itself sends: what it begins takes part in translation, its answers do not.
use nat_common::verdict::Verdict;

use super::{
    Model, Opening, Origin, Sent,
    admission::opens,
    flow::{Endpoint, Flow, Protocol},
    host::one_host,
    packet::Packet,
    rules::Action,
};

impl Model {
    /// The position of the first rule that may give an endpoint to a client.
    pub(super) fn rule_of_endpoint(
        &self,
        protocol: Protocol,
        (address, port): Endpoint,
    ) -> Option<usize> {
        if !self.host.outside_has(address) {
            return None;
        }
        self.table.as_ref()?.rules.iter().position(|rule| match &rule.action {
            Action::Snat(snat) => {
                snat.addresses.contains(&address)
                    && snat.protocols.contains(&protocol)
                    && snat.allows(port)
            }
            Action::Route | Action::Drop => false,
        })
    }

    /// Whether a packet that a `snat` rule covers is a part of what others have begun.
    pub(super) fn is_own_answer(
        &self,
        sent: Sent<'_>,
        packet: &Packet,
        flow: Result<Flow, Verdict>,
    ) -> bool {
        if sent.origin != Origin::Own || !self.translates_to(packet.source, packet.protocol) {
            return false;
        }
        match flow {
            Err(Verdict::IcmpUnsupported | Verdict::IcmpErrorNoSession) => true,
            Err(_) => false,
            Ok(flow) => match flow.protocol {
                Protocol::Tcp => !packet.segment().is_some_and(opens),
                Protocol::Udp => self.rule_of_endpoint(flow.protocol, flow.local).is_none(),
                Protocol::Icmp => false,
            },
        }
    }

    /// The position of the rule in whose pool a packet takes part that no rule covers.
    pub(super) fn rule_joined(
        &self,
        sent: Sent<'_>,
        packet: &Packet,
        flow: Result<Flow, Verdict>,
    ) -> Option<usize> {
        let flow = flow.ok().filter(|_| sent.origin == Origin::Own)?;
        let begins = one_host(packet.destination) && packet.segment().is_none_or(opens);
        self.rule_of_endpoint(flow.protocol, flow.local).filter(|_| begins)
    }

    /// The verdict of a packet that would leave as it is.
    pub(super) fn as_it_is(
        &mut self,
        sent: Sent<'_>,
        flow: Result<Flow, Verdict>,
        passed: Verdict,
    ) -> Verdict {
        match flow {
            Ok(flow) if sent.origin == Origin::Own && self.is_clients(&flow) => {
                Verdict::OwnPortTaken
            }
            _ => passed,
        }
    }

    /// The same of one that no `snat` rule covers, which should have an address of its interface.
    pub(super) fn untranslated(
        &mut self,
        sent: Sent<'_>,
        packet: &Packet,
        flow: Result<Flow, Verdict>,
        passed: Verdict,
    ) -> Verdict {
        let elsewhere = self.host.has(packet.source) && !self.host.outside_has(packet.source);
        match self.as_it_is(sent, flow, passed) {
            Verdict::OwnPortTaken => Verdict::OwnPortTaken,
            _ if sent.origin == Origin::Own && elsewhere => Verdict::WeakHostSend,
            passed => passed,
        }
    }

    /// Whether an endpoint of the gateway's is, toward a remote one, that of a session or mapping.
    fn is_clients(&mut self, flow: &Flow) -> bool {
        if self.rule_of_endpoint(flow.protocol, flow.local).is_none() {
            return false;
        }
        if self.mappings.owner(flow.protocol, flow.local).is_some() {
            return true;
        }
        let Some(owner) = self.sessions.claimant(flow) else { return false };
        self.look_up(&owner, nat_common::flow::Direction::Inbound);
        self.sessions.get(&owner).is_some_and(|session| session.live(self.now_ns))
    }

    /// Whether the gateway's own endpoint is kept where it can be. Without room for a session, others are
    /// looked for that can go.
    pub(super) fn check_kept(&self, opening: &Opening, external: Endpoint) -> Result<(), String> {
        let own = opening.flow.local;
        if !opening.own || external == own || !opening.snat.allows(own.1) {
            return Ok(());
        }
        let first = match self.tried(opening)[..] {
            [only] => only,
            // Where there are others if that is full, it is not known which one was the first.
            _ if opening.snat.spill => return Ok(()),
            _ => external.0,
        };
        if first == own.0 && !self.sessions.full() && self.surely_free(opening, own) {
            return Err(format!("{own:?} is free, and the gateway's own; now {external:?}"));
        }
        Ok(())
    }
}
