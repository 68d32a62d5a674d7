//! From inside to an external address, behind which another client may be (RFC 4787 REQ-9): out, and
//! back in. What is not whole, and errors, are not the model's.
use nat_common::{
    instance::Role,
    verdict::{Fate, Verdict},
};

use super::{
    Expected, Model, Sent,
    flow::Flow,
    packet::{self, IPV4, Packet},
    rewrite::{mend, put, right_ipv4},
};

/// The kernel's tables allow every frame this much more than the MTU, for a tag (`is_skb_forwardable`).
const VLAN_BYTES: usize = 4;

impl Model {
    /// A packet on its arrival from inside. What is not turned back gets its verdict later.
    pub(super) fn arrival(&mut self, sent: Sent<'_>) -> Expected {
        match self.turn(sent) {
            Ok(expected) => expected,
            Err(verdict) if verdict.fate() == Fate::Dropped => {
                Expected::Certain(self.unchanged(sent, verdict))
            }
            Err(_) => Expected::Certain(self.unchanged(sent, Verdict::LeftUntouched)),
        }
    }

    fn turn(&mut self, sent: Sent<'_>) -> Result<Expected, Verdict> {
        let packet = packet::read(sent.frame)?;
        if !self.translates(&packet) {
            return Err(Verdict::LeftUntouched);
        }
        if packet.ttl <= 1 {
            return Err(Verdict::HairpinTtl);
        }
        match self.way_of_its_own(sent, &packet) {
            // For the gateway itself.
            Err(Verdict::UnmatchedDrop) => Err(Verdict::LeftUntouched),
            done => done,
        }
    }

    /// Whether a packet that has been turned back can go on to the client of a session.
    pub(super) fn reaches(&self, flow: &Flow, sent: Sent<'_>) -> Result<(), Verdict> {
        let (device, _) = self.host.route(flow.local.0).ok_or(Verdict::HairpinRoute)?;
        let bytes = sent.frame.len() - IPV4;
        if bytes > usize::from(device.mtu) + VLAN_BYTES {
            return Err(Verdict::HairpinMtu);
        }
        if device.role == Role::Inside { Ok(()) } else { Err(Verdict::HairpinRoute) }
    }
}

/// A frame after another hop.
pub(super) fn with_less_ttl(frame: &[u8], packet: &Packet) -> Vec<u8> {
    let mut new = frame.to_vec();
    put(&mut new, IPV4 + 8, &[packet.ttl - 1]);
    mend(frame, &mut new, IPV4 + 10, |frame| right_ipv4(frame, packet));
    new
}
