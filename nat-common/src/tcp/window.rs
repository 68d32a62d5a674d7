//! Which segments count: those that a strict receiver would not ignore, as far as a translator can
//! know.
//!
//! Each direction notes what its sender has sent ([`Track`]). A segment that may change a
//! connection's state is measured by what its own sender has sent without a gap, and by what the
//! receiver has acknowledged and has room for. Forged segments from outside leave no traces in the
//! receiver's numbers, and move their pretended sender's only by hitting its next byte.
//!
//! - A RST counts at exactly the next byte that the receiver waits for, as for the receiver itself
//!   (RFC 5961 section 3.2): one elsewhere in the window provokes a challenge, and would let whoever
//!   tries one of each window shorten a connection's life, by packets that die behind the gateway.
//! - A FIN counts anywhere in the window: a receiver keeps it until what is missing has come.
//! - In answer to a SYN, an acknowledgement of that SYN counts.
use super::{Connection, Flags, Segment, State, options::NO_SCALE};
use crate::flow::Direction;

/// What one side has sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Track {
    /// The byte after all that it has sent without a gap.
    pub next: u32,
    /// Its highest acknowledgement: the next byte that it waits for.
    pub ack: u32,
    /// The window beside that acknowledgement, not scaled.
    pub window: u16,
    /// The scale of its windows, or [`NO_SCALE`]. Without one from both sides nothing is scaled.
    pub scale: u8,
    /// Of the server's: where a client that has asked anew would go on, or 0. See [`Judgement::Asks`].
    pub asked: u32,
}

/// What a segment is to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// A strict receiver would ignore it: it moves no state and no timer.
    Ignored,
    /// It counts.
    Counts,
    /// A SYN for another connection than the one that is known, which is not over. A server that
    /// still knows that one does, too, will challenge it: nothing changes unless it is answered.
    Asks,
    /// The answer to such a SYN: the known connection is over, and another one established.
    Replaces,
}

/// Whether `a` is at or after `b`, modulo 2^32 (RFC 9293 section 3.4).
#[inline(always)]
#[must_use]
pub const fn reaches(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 >= 0
}

impl Track {
    /// Of both sides of a new connection; what is not known yet is not looked at before it is.
    #[inline(always)]
    #[must_use]
    pub const fn new(syn: &Segment) -> Self {
        Self {
            next: syn.end(),
            ack: syn.sequence.wrapping_add(1),
            window: syn.window,
            scale: syn.scale,
            asked: 0,
        }
    }

    /// Whether a segment goes on where this sender's last one ended, or starts before and goes
    /// beyond.
    #[inline(always)]
    #[must_use]
    pub const fn continued_by(&self, segment: &Segment) -> bool {
        reaches(self.next, segment.sequence) && reaches(segment.end(), self.next)
    }

    /// [`Track::next`] after a segment of this sender.
    #[inline(always)]
    #[must_use]
    pub const fn next_after(&self, segment: &Segment) -> u32 {
        if self.continued_by(segment) { segment.end() } else { self.next }
    }

    /// Whether a segment of this sender has news of [`Track::ack`] and [`Track::window`].
    #[inline(always)]
    #[must_use]
    pub const fn has_news(&self, segment: &Segment) -> bool {
        segment.flags.has(Flags::ACK)
            && reaches(segment.acknowledgement, self.ack)
            && (segment.acknowledgement != self.ack || segment.window != self.window)
    }

    /// Whether this receiver waits for a sequence number. `sender` is the other side.
    #[inline(always)]
    #[must_use]
    const fn awaits(&self, sender: &Self, sequence: u32) -> bool {
        sequence.wrapping_sub(self.ack) <= self.room(sender)
    }

    /// How many bytes this receiver takes beyond its acknowledgement.
    #[inline(always)]
    #[must_use]
    const fn room(&self, sender: &Self) -> u32 {
        let scaled = self.scale != NO_SCALE && sender.scale != NO_SCALE;
        let scale = if scaled { self.scale & 15 } else { 0 };
        (self.window as u32) << scale
    }
}

/// Whether a segment of this sequence number can be on its way, so that an error about it is no guess
/// of somebody off the path (RFC 5927 section 4.1). `direction` is the segment's, `own` what its sender
/// has sent, `peer` what its receiver has.
///
/// It begins between what the receiver has acknowledged, less one for a SYN or a probe, and the end of
/// what was sent or of what the receiver has room for: behind a gap, what was sent is not known.
#[inline(always)]
#[must_use]
pub const fn on_its_way(
    connection: Connection,
    direction: Direction,
    sequence: u32,
    own: &Track,
    peer: &Track,
) -> bool {
    let first = sequence.wrapping_add(1);
    let answered = connection.answered();
    match direction {
        Direction::Outbound if peer.asked != 0 && first == peer.asked => return true,
        _ if !answered && answers(connection, direction) => return false,
        _ => {}
    }
    let past = first.wrapping_sub(peer.ack);
    let sent = own.next.wrapping_sub(peer.ack).wrapping_add(1);
    let was_sent = reaches(own.next, peer.ack) && past <= sent;
    was_sent || (answered && past <= peer.room(own) + 1)
}

/// Whether segments of this direction answer the SYN that has opened the connection: before they do,
/// nothing is known of their sender's numbers.
#[inline(always)]
const fn answers(connection: Connection, direction: Direction) -> bool {
    matches!(direction, Direction::Outbound) == connection.awaits_client()
}

/// Judges a segment. `own` is what its sender has sent, `peer` what its receiver has.
#[inline(always)]
#[must_use]
pub const fn judge(
    connection: Connection,
    direction: Direction,
    segment: &Segment,
    own: &Track,
    peer: &Track,
) -> Judgement {
    let flags = segment.flags;
    if flags.has(Flags::SYN) && !flags.has(Flags::RST) {
        return match direction {
            Direction::Outbound => syn_from_client(connection, segment, own, peer),
            Direction::Inbound => syn_from_server(connection, segment, own, peer),
        };
    }
    // Before both SYNs there is nothing to carry data.
    let answered = connection.answered();
    let counts = if flags.has(Flags::RST) {
        if !answered && answers(connection, direction) {
            // The receiver does not know its numbers either: it goes by its own.
            flags.has(Flags::ACK) && segment.acknowledgement == peer.next
        } else {
            segment.sequence == own.next || segment.sequence == peer.ack
        }
    } else {
        let last =
            if flags.has(Flags::FIN) { segment.end().wrapping_sub(1) } else { segment.end() };
        let continues = reaches(own.next, segment.sequence) && reaches(last, own.next);
        let arrives = continues
            || peer.awaits(own, last)
            || (!flags.has(Flags::FIN) && peer.awaits(own, segment.sequence));
        answered && arrives
    };
    if counts { Judgement::Counts } else { Judgement::Ignored }
}

const fn syn_from_client(
    connection: Connection,
    segment: &Segment,
    own: &Track,
    peer: &Track,
) -> Judgement {
    let opens = segment.flags.opens();
    let first = segment.sequence.wrapping_add(1);
    let state = connection.state();
    if connection.awaits_client() && matches!(state, State::Init) {
        // Only the client can have sent it: whichever of the server's SYNs it answers, or crosses.
        return Judgement::Counts;
    }
    if connection.finished() {
        // What opens a connection over is another one's, and has got another port.
        return Judgement::Ignored;
    }
    // The same once more: in a handshake, or the answer to a server's SYN that has crossed it.
    let again = segment.end() == own.next || (matches!(state, State::Init) && first == peer.ack);
    let expected = matches!(state, State::Init) && opens
        || matches!(state, State::Established) && segment.flags.has(Flags::ACK);
    if again {
        return if expected { Judgement::Counts } else { Judgement::Ignored };
    }
    if opens { Judgement::Asks } else { Judgement::Ignored }
}

const fn syn_from_server(
    connection: Connection,
    segment: &Segment,
    own: &Track,
    peer: &Track,
) -> Judgement {
    let init = matches!(connection.state(), State::Init) && !connection.awaits_client();
    if !segment.flags.has(Flags::ACK) {
        // Simultaneous open (RFC 5382 REQ-2a).
        return if init { Judgement::Counts } else { Judgement::Ignored };
    }
    let ack = segment.acknowledgement;
    // Some of what came with the SYN may be acknowledged (RFC 7413).
    if init && reaches(ack, own.ack) && reaches(peer.next, ack) {
        Judgement::Counts
    } else if own.asked != 0 && own.asked == ack && !connection.finished() {
        Judgement::Replaces
    } else {
        Judgement::Ignored
    }
}

#[cfg(test)]
mod tests;
