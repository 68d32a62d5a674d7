use proptest::prelude::*;

use super::*;

const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;
const FIN_ACK: u8 = 0x11;
const RST: u8 = 0x04;
const RST_ACK: u8 = 0x14;

const INSIDE: Direction = Direction::Outbound;
const OUTSIDE: Direction = Direction::Inbound;

/// First sequence numbers. Both wrap soon.
const CLIENT: u32 = u32::MAX - 500;
const SERVER: u32 = u32::MAX - 100_000;

fn segment(flags: u8, sequence: u32, acknowledgement: u32, payload: u32) -> Segment {
    let flags = Flags(flags);
    Segment { sequence, acknowledgement, payload, window: 1000, flags, scale: NO_SCALE }
}

/// Both sides, kept as the data path keeps them.
#[derive(Clone, Copy, Debug)]
struct Session {
    connection: Connection,
    client: Track,
    server: Track,
}

impl Session {
    fn opening() -> Self {
        let track = Track::new(&Segment { scale: 2, ..segment(SYN, CLIENT, 0, 0) });
        Self { connection: Connection::NEW, client: track, server: track }
    }

    /// The client's window is 4000 bytes, the server's 1000.
    fn established() -> Self {
        let mut session = Self::opening();
        let answer = Segment { scale: 0, ..segment(SYN_ACK, SERVER, CLIENT + 1, 0) };
        assert_eq!(session.judge(OUTSIDE, &answer), Judgement::Counts);
        session.connection = Connection::ANSWERED;
        session.server = Track { ack: CLIENT + 1, ..Track::new(&answer) };
        session.client.ack = SERVER + 1;
        session.sends(INSIDE, &segment(ACK, CLIENT + 1, SERVER + 1, 0));
        session
    }

    fn judge(&self, direction: Direction, segment: &Segment) -> Judgement {
        let (own, peer) = match direction {
            Direction::Outbound => (&self.client, &self.server),
            Direction::Inbound => (&self.server, &self.client),
        };
        judge(self.connection, direction, segment, own, peer)
    }

    fn counts(&self, direction: Direction, segment: &Segment) -> bool {
        self.judge(direction, segment) == Judgement::Counts
    }

    fn sends(&mut self, direction: Direction, segment: &Segment) {
        let own = match direction {
            Direction::Outbound => &mut self.client,
            Direction::Inbound => &mut self.server,
        };
        own.next = own.next_after(segment);
        if own.has_news(segment) {
            (own.ack, own.window) = (segment.acknowledgement, segment.window);
        }
    }
}

#[test]
fn a_reset_counts_at_exactly_the_next_byte() {
    let session = Session::established();
    for offset in -5000_i32..5000 {
        let exact = offset == 0;
        let from_server = segment(RST, SERVER.wrapping_add_signed(offset + 1), 0, 0);
        assert_eq!(session.counts(OUTSIDE, &from_server), exact, "{offset}");
        let from_client = segment(RST, CLIENT.wrapping_add_signed(offset + 1), 0, 0);
        assert_eq!(session.counts(INSIDE, &from_client), exact, "{offset}");
    }
}

/// A server that sends an answer and resets before the client has acknowledged it.
#[test]
fn a_reset_after_data_counts_if_the_data_was_the_next() {
    let mut session = Session::established();
    let data = segment(ACK, SERVER + 1, CLIENT + 1, 300);
    session.sends(OUTSIDE, &data);
    assert!(session.counts(OUTSIDE, &segment(RST, data.end(), 0, 0)));
    assert!(session.counts(OUTSIDE, &segment(RST, SERVER + 1, 0, 0)), "the client's last word");
    assert!(!session.counts(OUTSIDE, &segment(RST, SERVER + 100, 0, 0)));
}

/// Data of somebody who guesses the window, and a reset behind it.
#[test]
fn a_train_of_forged_data_and_reset_does_not_count() {
    for guess in (2..4000).step_by(7) {
        let mut session = Session::established();
        let data = segment(ACK, SERVER + guess, CLIENT + 1, 10);
        session.sends(OUTSIDE, &data);
        assert!(!session.counts(OUTSIDE, &segment(RST, data.end(), 0, 0)), "{guess}");
        // Nor does it make the client's own segments strange.
        assert!(session.counts(INSIDE, &segment(FIN_ACK, CLIENT + 1, SERVER + 1, 0)));
        assert!(session.counts(INSIDE, &segment(RST, CLIENT + 1, 0, 0)));
    }
}

/// Forged acknowledgements spoil what is known of the server, but not the client's own.
#[test]
fn forged_acknowledgements_leave_the_client_its_word() {
    for forged in [5000, 1 << 30, i32::MAX as u32] {
        let mut session = Session::established();
        session.sends(OUTSIDE, &segment(ACK, 77, CLIENT.wrapping_add(forged), 0));
        assert!(session.counts(INSIDE, &segment(RST, CLIENT + 1, 0, 0)));
        assert!(session.counts(INSIDE, &segment(FIN_ACK, CLIENT + 1, SERVER + 1, 5)));
        session.connection = session.connection.after(OUTSIDE, Flags::RST);
        assert!(session.counts(INSIDE, &segment(ACK, CLIENT + 1, SERVER + 1, 5)));
    }
}

#[test]
fn a_fin_counts_in_the_window_and_nowhere_else() {
    let session = Session::established();
    // 1000 scaled by 2: both have offered a scale.
    for (offset, counts) in
        [(-1, false), (0, true), (1, true), (3999, true), (4000, true), (4001, false)]
    {
        let fin = segment(FIN_ACK, SERVER.wrapping_add_signed(offset + 1), CLIENT + 1, 0);
        assert_eq!(session.counts(OUTSIDE, &fin), counts, "{offset}");
        let data = segment(FIN_ACK, fin.sequence.wrapping_sub(50), CLIENT + 1, 50);
        assert_eq!(session.counts(OUTSIDE, &data), counts, "behind data, {offset}");
    }
    for (offset, counts) in [(-1, false), (0, true), (1000, true), (1001, false)] {
        let fin = segment(FIN_ACK, CLIENT.wrapping_add_signed(offset + 1), SERVER + 1, 0);
        assert_eq!(session.counts(INSIDE, &fin), counts, "{offset}");
    }
}

#[test]
fn without_both_scales_nothing_is_scaled() {
    let mut session = Session::established();
    session.server.scale = NO_SCALE;
    assert!(session.counts(OUTSIDE, &segment(FIN_ACK, SERVER + 1001, CLIENT + 1, 0)));
    assert!(!session.counts(OUTSIDE, &segment(FIN_ACK, SERVER + 1002, CLIENT + 1, 0)));
}

#[test]
fn a_closed_window_lets_in_what_the_receiver_waits_for() {
    let mut session = Session::established();
    let full = Segment { window: 0, ..segment(ACK, CLIENT + 1, SERVER + 1, 0) };
    session.sends(INSIDE, &full);
    assert!(session.counts(OUTSIDE, &segment(FIN_ACK, SERVER + 1, CLIENT + 1, 0)));
    assert!(!session.counts(OUTSIDE, &segment(FIN_ACK, SERVER + 2, CLIENT + 1, 0)));
    assert!(session.counts(OUTSIDE, &segment(RST, SERVER + 1, 0, 0)));
}

#[test]
fn in_answer_to_a_syn_only_its_acknowledgement_counts() {
    let session = Session::opening();
    for offset in -3_i32..3 {
        let ack = CLIENT.wrapping_add_signed(offset + 1);
        let refused = segment(RST_ACK, 0, ack, 0);
        assert_eq!(session.counts(OUTSIDE, &refused), offset == 0);
        assert_eq!(session.counts(OUTSIDE, &segment(SYN_ACK, 77, ack, 0)), offset == 0);
    }
    assert!(!session.counts(OUTSIDE, &segment(RST, 0, CLIENT + 1, 0)), "acknowledges nothing");
    assert!(session.counts(OUTSIDE, &segment(SYN, 77, 0, 0)), "simultaneous open");
    for flags in [ACK, FIN_ACK] {
        assert!(!session.counts(OUTSIDE, &segment(flags, 77, CLIENT + 1, 5)), "{flags:#x}");
        assert!(!session.counts(INSIDE, &segment(flags, CLIENT + 1, 0, 5)), "{flags:#x}");
    }
    assert!(session.counts(INSIDE, &segment(SYN, CLIENT, 0, 0)), "once more");
    assert!(session.counts(INSIDE, &segment(RST, CLIENT + 1, 0, 0)), "given up");
    assert!(!session.counts(INSIDE, &segment(RST, CLIENT, 0, 0)));
}

#[test]
fn after_a_reset_without_an_answer_only_another_one_counts() {
    for direction in [INSIDE, OUTSIDE] {
        let mut session = Session::opening();
        session.connection = session.connection.after(INSIDE, Flags::RST);
        assert!(!session.counts(direction, &segment(ACK, CLIENT + 1, CLIENT + 1, 5)));
    }
    let mut session = Session::opening();
    session.connection = session.connection.after(OUTSIDE, Flags::RST);
    assert!(!session.counts(INSIDE, &segment(SYN, CLIENT, 0, 0)));
    assert!(session.counts(OUTSIDE, &segment(RST_ACK, 0, CLIENT + 1, 0)), "once more");
}

/// RFC 7413: the server may take the data with the SYN, or not.
#[test]
fn data_with_the_syn_may_be_acknowledged() {
    let mut session = Session::opening();
    session.client = Track::new(&segment(SYN, CLIENT, 0, 100));
    for (ack, counts) in [(0, false), (1, true), (60, true), (101, true), (102, false)] {
        let answer = segment(SYN_ACK, 77, CLIENT.wrapping_add(ack), 0);
        assert_eq!(session.counts(OUTSIDE, &answer), counts, "{ack}");
    }
    assert!(session.counts(INSIDE, &segment(SYN, CLIENT, 0, 0)), "once more, without data");
}

#[test]
fn the_answer_that_has_crossed_a_syn_belongs_to_the_handshake() {
    let session = Session::established();
    assert!(session.counts(INSIDE, &segment(SYN_ACK, CLIENT, SERVER + 1, 0)));
    let verdict = |flags, sequence| session.judge(INSIDE, &segment(flags, sequence, SERVER + 1, 0));
    assert_eq!(verdict(SYN, CLIENT), Judgement::Ignored, "a late copy");
    assert_eq!(verdict(SYN_ACK, CLIENT + 9), Judgement::Ignored);
    assert_eq!(session.judge(OUTSIDE, &segment(SYN, SERVER + 1, 0, 0)), Judgement::Ignored);
    let late = segment(SYN_ACK, SERVER, CLIENT + 1, 0);
    assert_eq!(session.judge(OUTSIDE, &late), Judgement::Ignored, "a late copy");
}

#[test]
fn a_syn_within_a_connection_only_asks() {
    for connection in (0..16).map(Connection::from_bits) {
        let mut session = Session { connection, ..Session::established() };
        let verdict = session.judge(INSIDE, &segment(SYN, 4711, 0, 0));
        let expected = if connection.finished() {
            Judgement::Ignored
        } else if connection.awaits_client() {
            Judgement::Counts
        } else {
            Judgement::Asks
        };
        assert_eq!(verdict, expected, "{connection:?}");
        if expected != Judgement::Asks {
            continue;
        }
        session.server.asked = 4712;
        let answer = |ack| session.judge(OUTSIDE, &segment(SYN_ACK, 9, ack, 0));
        assert_eq!(answer(4712), Judgement::Replaces);
        assert_ne!(answer(4711), Judgement::Replaces);
        session.server.asked = 0;
        let forged = session.judge(OUTSIDE, &segment(SYN_ACK, 9, 0, 0));
        assert_eq!(forged, Judgement::Ignored, "nobody has asked");
    }
}

#[test]
fn after_a_reset_only_what_the_receiver_waits_for_counts() {
    let mut session = Session::established();
    session.connection = session.connection.after(OUTSIDE, Flags::RST);
    for (offset, counts) in [(-10, false), (0, true), (3000, true), (4100, false)] {
        let data = segment(ACK, SERVER.wrapping_add_signed(offset + 1), CLIENT + 1, 5);
        assert_eq!(session.counts(OUTSIDE, &data), counts, "{offset}");
    }
    assert!(session.counts(INSIDE, &segment(ACK, CLIENT + 1, SERVER + 1, 0)), "a challenge");
}

proptest! {
    /// What is known of a sender follows from its segments, whatever comes in between: a plain walk
    /// over all bytes finds the same.
    #[test]
    fn next_is_the_end_of_what_was_sent_without_a_gap(
        segments in proptest::collection::vec((0_u32..2000, 0_u32..300), 1..40),
        start: u32,
    ) {
        let mut track = Track::new(&segment(SYN, start, 0, 0));
        let mut contiguous = 0_u32;
        for (at, length) in segments {
            let sent = segment(ACK, start.wrapping_add(1).wrapping_add(at), 0, length);
            track.next = track.next_after(&sent);
            if at <= contiguous {
                contiguous = contiguous.max(at + length);
            }
            prop_assert_eq!(track.next, start.wrapping_add(1).wrapping_add(contiguous));
        }
    }

    /// RFC 9293 section 3.10.7.4: the four cases of the table of acceptable segments, in 64 bits.
    #[test]
    fn what_revives_is_what_a_receiver_accepts(
        ack in 0_u64..5000, window: u16, at in 0_u64..80_000, length in 0_u32..3000, start: u32,
    ) {
        let place = |offset: u64| start.wrapping_add(offset as u32);
        let own = Track { next: place(1 << 30), ack: 0, window: 0, scale: NO_SCALE, asked: 0 };
        let peer = Track { next: 0, ack: place(ack), window, scale: NO_SCALE, asked: 0 };
        let connection = Connection::ANSWERED.after(OUTSIDE, Flags::RST);
        let data = segment(ACK, place(at), 0, length);
        // To the byte after the window, where a probe may stand.
        let within = |byte: u64| (ack..=ack + u64::from(window)).contains(&byte);
        let expected = within(at) || within(at + u64::from(length));
        let counts = judge(connection, OUTSIDE, &data, &own, &peer) == Judgement::Counts;
        prop_assert_eq!(counts, expected);
    }
}

impl Session {
    /// Whether an error may be about a segment of a direction.
    fn on_its_way(&self, direction: Direction, sequence: u32) -> bool {
        let (own, peer) = match direction {
            Direction::Outbound => (&self.client, &self.server),
            Direction::Inbound => (&self.server, &self.client),
        };
        on_its_way(self.connection, direction, sequence, own, peer)
    }
}

#[test]
fn rfc5927_4_1_what_is_sent_or_fits_and_is_not_acknowledged_is_on_its_way() {
    let mut session = Session::established();
    for (direction, first, room) in [(INSIDE, CLIENT + 1, 1000), (OUTSIDE, SERVER + 1, 4000)] {
        for offset in [-1_i32, 0, 1, room] {
            assert!(session.on_its_way(direction, first.wrapping_add_signed(offset)), "{offset}");
        }
        for offset in [-2, room + 1, i32::MAX, i32::MIN] {
            assert!(!session.on_its_way(direction, first.wrapping_add_signed(offset)), "{offset}");
        }
    }
    // More than there is room for, because the window has shrunk.
    session.client.next = CLIENT.wrapping_add(3001);
    assert!(session.on_its_way(INSIDE, CLIENT.wrapping_add(3001)));
    assert!(!session.on_its_way(INSIDE, CLIENT.wrapping_add(3002)));
    // Acknowledged, and then lost is only the answer.
    session.server.ack = CLIENT.wrapping_add(2001);
    assert!(!session.on_its_way(INSIDE, CLIENT.wrapping_add(1500)));
}

#[test]
fn rfc5927_4_1_of_an_opening_only_the_syn_is_on_its_way() {
    let mut session = Session::opening();
    assert!(session.on_its_way(INSIDE, CLIENT));
    for sequence in [CLIENT - 1, CLIENT + 2, 0, SERVER] {
        assert!(!session.on_its_way(INSIDE, sequence), "{sequence}");
        assert!(!session.on_its_way(OUTSIDE, sequence), "{sequence}");
    }
    // A client that has forgotten the connection and asks anew.
    session = Session::established();
    assert!(!session.on_its_way(INSIDE, 70_000));
    session.server.asked = 70_001;
    assert!(session.on_its_way(INSIDE, 70_000));
    assert!(!session.on_its_way(OUTSIDE, 70_000));
}

/// A connection that the server has opened, as yet without an answer.
fn from_outside() -> Session {
    let track = Track::new(&segment(SYN, SERVER, 0, 0));
    Session { connection: Connection::FROM_OUTSIDE, client: track, server: track }
}

#[test]
fn rfc5508_req5_an_error_may_be_about_a_syn_from_outside() {
    let session = from_outside();
    assert!(session.on_its_way(OUTSIDE, SERVER));
    for sequence in [SERVER - 1, SERVER + 2, 0, CLIENT] {
        assert!(!session.on_its_way(OUTSIDE, sequence), "{sequence}");
    }
    for sequence in [SERVER, 0, CLIENT] {
        assert!(!session.on_its_way(INSIDE, sequence), "the client has sent nothing: {sequence}");
    }
}

#[test]
fn a_reset_in_answer_to_a_syn_from_outside_acknowledges_it() {
    let session = from_outside();
    assert!(session.counts(INSIDE, &segment(RST_ACK, 0, SERVER + 1, 0)));
    assert!(!session.counts(INSIDE, &segment(RST_ACK, 0, SERVER, 0)));
    assert!(!session.counts(INSIDE, &segment(RST, SERVER + 1, 0, 0)), "the client knows no number");
    // Who has sent it may take it back.
    assert!(session.counts(OUTSIDE, &segment(RST, SERVER + 1, 0, 0)));
    assert!(!session.counts(OUTSIDE, &segment(RST_ACK, 0, SERVER + 1, 0)));
}
