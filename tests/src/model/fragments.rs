//! Fragments: what the first one of a packet was translated to, and which bytes of it have passed.
use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
};

use nat_common::{flow::Direction, limits::FRAGMENT_TIMEOUT_NS, verdict::Verdict};

use super::{
    Model, Outcome, Sent, early,
    packet::{IPV4, Packet},
    rewrite::{mend, put, right_ipv4},
};

/// What the fragments of a packet have in common, as they come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key {
    outbound: bool,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    id: u16,
}

impl Key {
    fn of(packet: &Packet, direction: Direction) -> Self {
        let Packet { source, destination, protocol, .. } = *packet;
        let outbound = direction == Direction::Outbound;
        Self { outbound, source, destination, protocol, id: packet.part.id }
    }
}

/// A packet whose first fragment has been translated.
#[derive(Debug)]
struct Known {
    to: Ipv4Addr,
    until_ns: u64,
    /// Eights of bytes that have passed.
    passed: HashSet<usize>,
    /// How many there are.
    total: Option<usize>,
    refused: bool,
}

/// What is known of packets in fragments.
#[derive(Debug, Default)]
pub struct Fragments {
    translated: HashMap<Key, Known>,
    /// Until when those go to the stack whose first one did.
    to_the_stack: HashMap<Key, u64>,
}

impl Fragments {
    fn find(&mut self, key: &Key, now_ns: u64) -> Option<&mut Known> {
        self.translated.get_mut(key).filter(|known| now_ns < known.until_ns)
    }

    /// Lets a fragment of a known packet pass, or refuses it.
    fn enter(&mut self, key: &Key, packet: &Packet) -> Result<(), Verdict> {
        let Some(known) = self.translated.get_mut(key) else { return Ok(()) };
        let start = packet.part.offset;
        let length = (packet.end - packet.transport).div_ceil(8);
        let parts: Vec<usize> = (start..start + length).collect();
        let last = !packet.part.more;
        let overlap = Err(Verdict::FragmentOverlap);
        if known.refused {
            return overlap;
        }
        let end = start + length;
        if known.total.is_some_and(|total| end > total || last != (end == total)) {
            known.refused = true;
            return overlap;
        }
        if last {
            known.total = Some(end);
        }
        let new = parts.iter().filter(|part| known.passed.insert(**part)).count();
        if new == 0 {
            return overlap;
        }
        if new < length || known.total.is_some_and(|total| known.passed.len() > total) {
            known.refused = true;
            return overlap;
        }
        if known.total == Some(known.passed.len()) {
            self.translated.remove(key);
        }
        Ok(())
    }
}

impl Model {
    /// What is wrong with a fragment before anything else is asked.
    pub(super) fn refuse_fragment(
        &mut self,
        sent: Sent<'_>,
        packet: &Packet,
        direction: Direction,
    ) -> Result<(), Verdict> {
        if early(sent.hook) || !packet.part.is_fragment() {
            return Ok(());
        }
        let bytes = packet.end - packet.transport;
        let end = packet.part.offset * 8 + bytes + packet.transport - IPV4;
        let uneven = packet.part.more && !bytes.is_multiple_of(8);
        if packet.total_length == 0 || bytes == 0 || uneven || end > 65535 {
            return Err(Verdict::Malformed);
        }
        let key = Key::of(packet, direction);
        if packet.part.offset == 0 && self.fragments.find(&key, self.now_ns).is_some() {
            let _ = self.fragments.enter(&key, packet);
            return Err(Verdict::FragmentOverlap);
        }
        Ok(())
    }

    /// A first fragment has been translated.
    pub(super) fn note_fragment(
        &mut self,
        sent: Sent<'_>,
        packet: &Packet,
        direction: Direction,
        to: Ipv4Addr,
    ) {
        if early(sent.hook) || !packet.part.is_fragment() {
            return;
        }
        let key = Key::of(packet, direction);
        let until_ns = self.now_ns + FRAGMENT_TIMEOUT_NS;
        let passed = HashSet::new();
        let known = Known { to, until_ns, passed, total: None, refused: false };
        self.fragments.translated.insert(key, known);
        // Nothing has passed that it could be over.
        let _ = self.fragments.enter(&key, packet);
    }

    /// Translates a later fragment, if the first one was; nothing if that is not known.
    pub(super) fn later_fragment(
        &mut self,
        sent: Sent<'_>,
        packet: &Packet,
        direction: Direction,
    ) -> Result<Option<Outcome>, Verdict> {
        if early(sent.hook) || packet.part.offset == 0 {
            return Ok(None);
        }
        let key = Key::of(packet, direction);
        let Some(known) = self.fragments.find(&key, self.now_ns) else {
            let until_ns = self.fragments.to_the_stack.get(&key).copied();
            return match until_ns {
                Some(until_ns) if self.now_ns < until_ns => Err(Verdict::NoSession),
                _ => Ok(None),
            };
        };
        let to = known.to;
        if packet.part.in_tcp_header(packet) {
            return Err(Verdict::FragmentTiny);
        }
        self.fragments.enter(&key, packet)?;
        let mut frame = sent.frame.to_vec();
        let (at, verdict) = match direction {
            Direction::Outbound => (IPV4 + 12, Verdict::TranslatedOut),
            Direction::Inbound => (IPV4 + 16, Verdict::TranslatedIn),
        };
        put(&mut frame, at, &to.octets());
        mend(sent.frame, &mut frame, IPV4 + 10, |frame| right_ipv4(frame, packet));
        let verdict = self.count(sent, verdict);
        Ok(Some(Outcome { verdict, frame }))
    }

    /// The name that a verdict has for a fragment that is not translated.
    pub(super) fn verdict_of_fragment(
        &mut self,
        sent: Sent<'_>,
        packet: &Packet,
        direction: Direction,
        verdict: Verdict,
    ) -> Verdict {
        if early(sent.hook) || !packet.part.is_fragment() {
            return verdict;
        }
        let for_translation = direction == Direction::Outbound
            || self.translates_to(packet.destination, packet.protocol);
        let key = Key::of(packet, direction);
        let known = self.fragments.to_the_stack.get(&key).is_some_and(|until| self.now_ns < *until);
        match verdict {
            Verdict::Truncated => Verdict::FragmentTiny,
            Verdict::IcmpErrorNoSession => Verdict::Fragment,
            Verdict::NoSession if !for_translation || packet.part.offset != 0 && known => verdict,
            Verdict::NoSession if packet.part.offset == 0 => {
                let until_ns = self.now_ns + FRAGMENT_TIMEOUT_NS;
                self.fragments.to_the_stack.insert(key, until_ns);
                verdict
            }
            Verdict::NoSession | Verdict::Fragment if packet.part.in_tcp_header(packet) => {
                Verdict::FragmentTiny
            }
            Verdict::NoSession | Verdict::Fragment => Verdict::Fragment,
            verdict => verdict,
        }
    }
}
