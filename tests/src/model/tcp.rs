//! TCP connections: the states of RFC 7857 section 2, and which segments move them.
//!
//! A segment that a strict receiver would ignore is nothing. Otherwise the sender's numbers are kept
//! as the sender's own host would: what has been sent without a gap, and what has been acknowledged.
use nat_common::flow::Direction;

use super::{
    packet::{
        Segment,
        tcp_flags::{ACK, FIN, RST, SYN},
    },
    session::Phase,
};

/// What one side has sent. What nobody can know yet is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stream {
    /// After everything that came without a gap.
    pub next: Option<u32>,
    /// The highest acknowledgement, or what it has to be first.
    pub heard: Option<u32>,
    /// Beside it, as sent.
    pub window: Option<u16>,
    /// What its SYN offered: no SYN, nothing, or this.
    pub scale: Option<Option<u8>>,
}

/// What a segment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// No state, no timer.
    Nothing,
    Counts,
    /// A SYN of a client that may have lost its memory.
    Asks,
    /// The answer to it.
    Replaces,
}

/// A connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    pub client: Stream,
    pub server: Stream,
    /// Whether there have been the SYNs of both.
    pub answered: bool,
    /// Whether the server has sent the first one.
    pub from_outside: bool,
    /// By client and server.
    pub closed: (bool, bool),
    pub reset: bool,
    /// What an answer to a SYN that asked has to acknowledge.
    pub asked: Option<u32>,
}

impl Connection {
    /// After the first SYN, which the client has sent (outbound) or the server.
    #[must_use]
    pub fn new(syn: &Segment, from: Direction) -> Self {
        let sender = Stream {
            next: Some(syn.end()),
            heard: None,
            window: Some(syn.window),
            scale: Some(syn.scale),
        };
        let heard = Some(syn.sequence.wrapping_add(1));
        let receiver = Stream { next: None, heard, window: None, scale: None };
        let from_outside = from == Direction::Inbound;
        let (client, server) = if from_outside { (receiver, sender) } else { (sender, receiver) };
        let (answered, closed, reset, asked) = (false, (false, false), false, None);
        Self { client, server, answered, from_outside, closed, reset, asked }
    }

    fn over(&self) -> bool {
        self.reset || self.answered && self.closed == (true, true)
    }

    /// What follows the client's last byte, as far as anybody has seen it, if both have closed.
    #[must_use]
    pub fn client_ended(&self) -> Option<u32> {
        let both = self.answered && !self.reset && self.closed == (true, true);
        let sent = self.client.next.filter(|_| both)?;
        Some(self.server.heard.filter(|heard| at_or_after(*heard, sent)).unwrap_or(sent))
    }

    /// What decides how long it lives.
    #[must_use]
    pub fn phase(&self) -> Phase {
        if self.over() {
            Phase::Closing
        } else if self.answered {
            Phase::Established
        } else {
            Phase::Opening
        }
    }

    /// A segment of the client (outbound) or the server.
    pub fn take(&mut self, direction: Direction, segment: &Segment) -> Meaning {
        let meaning = self.meaning(direction, segment);
        match meaning {
            Meaning::Nothing => {}
            Meaning::Asks => {
                // Zero stands for nothing asked.
                let first = segment.sequence.wrapping_add(1);
                self.asked = (first != 0).then_some(first);
                return Meaning::Nothing;
            }
            Meaning::Replaces => {
                self.client.next = Some(segment.acknowledgement);
                self.closed = (false, false);
                self.answer(segment);
            }
            Meaning::Counts => self.go_on(direction, segment),
        }
        meaning
    }

    fn go_on(&mut self, direction: Direction, segment: &Segment) {
        let from_client = direction == Direction::Outbound;
        if segment.has(RST) {
            self.reset |= !self.over();
            return;
        }
        if segment.has(SYN) && !from_client {
            return self.answer(segment);
        }
        if segment.has(SYN) && self.from_outside && !self.answered {
            return self.client_answers(segment);
        }
        let sender = if from_client { &mut self.client } else { &mut self.server };
        sender.sends(segment);
        if segment.has(SYN) {
            return;
        }
        self.reset = false;
        if segment.has(FIN) && self.answered {
            let closed = if from_client { &mut self.closed.0 } else { &mut self.closed.1 };
            *closed = true;
        }
    }

    /// The server's SYN.
    fn answer(&mut self, segment: &Segment) {
        let acknowledges = segment.has(ACK).then_some(segment.acknowledgement);
        self.server = Stream {
            next: Some(segment.end()),
            heard: acknowledges.or(self.server.heard),
            window: Some(segment.window),
            scale: Some(segment.scale),
        };
        self.client.heard = Some(segment.sequence.wrapping_add(1));
        self.answered = true;
        self.asked = None;
    }

    /// The client's SYN, in answer to the server's or crossing it.
    fn client_answers(&mut self, segment: &Segment) {
        let acknowledges = segment.has(ACK).then_some(segment.acknowledgement);
        self.client = Stream {
            next: Some(segment.end()),
            heard: acknowledges.or(self.client.heard),
            window: Some(segment.window),
            scale: Some(segment.scale),
        };
        self.server.heard = Some(segment.sequence.wrapping_add(1));
        self.server.next = acknowledges.or(self.server.next);
        self.answered = true;
    }

    /// Whether somebody can have met a segment of this place on its way (RFC 5927 section 4.1).
    #[must_use]
    pub fn can_be_on_its_way(&self, direction: Direction, sequence: u32) -> bool {
        let from_client = direction == Direction::Outbound;
        let (own, peer) =
            if from_client { (&self.client, &self.server) } else { (&self.server, &self.client) };
        // A SYN has no byte, and a probe has the last one again.
        let behind = sequence.wrapping_add(1);
        let sent = |heard: u32| {
            own.next.is_some_and(|next| {
                let all = next.wrapping_sub(heard);
                all < 1 << 31 && behind.wrapping_sub(heard) <= all + 1
            })
        };
        let fits = |heard: u32| self.answered && (behind == heard || peer.waits_for(own, sequence));
        from_client && self.asked == Some(behind)
            || peer.heard.is_some_and(|heard| sent(heard) || fits(heard))
    }

    fn meaning(&self, direction: Direction, segment: &Segment) -> Meaning {
        let counts = |yes: bool| if yes { Meaning::Counts } else { Meaning::Nothing };
        let from_client = direction == Direction::Outbound;
        let (own, peer) =
            if from_client { (&self.client, &self.server) } else { (&self.server, &self.client) };
        let opening = !self.answered;
        match (segment.has(RST), segment.has(SYN), from_client) {
            // In answer to a SYN nothing is known but what that was.
            (true, ..) if opening && from_client == self.from_outside => {
                counts(segment.has(ACK) && Some(segment.acknowledgement) == peer.next)
            }
            (true, ..) => {
                let expected = [own.next, peer.heard];
                counts(expected.contains(&Some(segment.sequence)))
            }
            (_, true, true) => self.client_syn(segment),
            (_, true, false) => self.server_syn(segment),
            // Nothing to carry data yet.
            _ if opening => Meaning::Nothing,
            _ if segment.has(FIN) => {
                let place = segment.end().wrapping_sub(1);
                counts(own.goes_on(segment.sequence, place) || peer.waits_for(own, place))
            }
            _ => {
                let (first, end) = (segment.sequence, segment.end());
                let plain = self.phase() == Phase::Established;
                counts(
                    plain
                        || own.goes_on(first, end)
                        || peer.waits_for(own, first)
                        || peer.waits_for(own, end),
                )
            }
        }
    }

    fn client_syn(&self, segment: &Segment) -> Meaning {
        let bare = !segment.has(ACK);
        let start = Some(segment.sequence.wrapping_add(1));
        let same = Some(segment.end()) == self.client.next;
        match self.phase() {
            // A bare one opens another connection.
            Phase::Closing => Meaning::Nothing,
            // Nobody but the client can have sent it.
            Phase::Opening if self.from_outside => Meaning::Counts,
            Phase::Opening if same || start == self.server.heard => {
                if bare {
                    Meaning::Counts
                } else {
                    Meaning::Nothing
                }
            }
            // The answer to a SYN that has crossed the client's own.
            _ if same && !bare && self.closed == (false, false) => Meaning::Counts,
            _ if same || !bare => Meaning::Nothing,
            _ => Meaning::Asks,
        }
    }

    fn server_syn(&self, segment: &Segment) -> Meaning {
        let opening = self.phase() == Phase::Opening && !self.from_outside;
        if !segment.has(ACK) {
            return if opening { Meaning::Counts } else { Meaning::Nothing };
        }
        let ack = segment.acknowledgement;
        let of_this = match (self.server.heard, self.client.next) {
            (Some(least), Some(most)) => at_or_after(ack, least) && at_or_after(most, ack),
            _ => false,
        };
        if opening && of_this {
            Meaning::Counts
        } else if self.asked == Some(ack) && !self.over() {
            Meaning::Replaces
        } else {
            Meaning::Nothing
        }
    }
}

/// Sequence numbers go round: the shorter way says what comes after what.
fn at_or_after(a: u32, b: u32) -> bool {
    a == b || a.wrapping_sub(b) < 1 << 31
}

impl Stream {
    fn sends(&mut self, segment: &Segment) {
        if self.goes_on(segment.sequence, segment.end()) {
            self.next = Some(segment.end());
        }
        let news = |heard| at_or_after(segment.acknowledgement, heard);
        if segment.has(ACK) && self.heard.is_some_and(news) {
            self.heard = Some(segment.acknowledgement);
            self.window = Some(segment.window);
        }
    }

    /// Whether bytes from `first` up to `end` go on from what this side has sent.
    fn goes_on(&self, first: u32, end: u32) -> bool {
        self.next.is_some_and(|next| at_or_after(next, first) && at_or_after(end, next))
    }

    /// Whether this receiver may take something at a place, into its window or right behind.
    fn waits_for(&self, sender: &Self, place: u32) -> bool {
        let shift = match (self.scale, sender.scale) {
            (Some(Some(shift)), Some(Some(_))) => shift,
            _ => 0,
        };
        match (self.heard, self.window) {
            (Some(heard), Some(window)) => {
                u64::from(place.wrapping_sub(heard)) <= u64::from(window) << shift
            }
            _ => false,
        }
    }
}
