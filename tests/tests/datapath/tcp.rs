//! The states of TCP, which segments move them, and how long each lasts.
use std::time::Duration;

use nat_common::verdict::Verdict;

use super::{
    bench::{BOTH, Bench, Hooks, INTERNET},
    frames::{self, ACK, CLIENT, FIN, GATEWAY, Place, RST, SERVER, SYN},
};

/// First sequence numbers; the client's wrap soon.
const ISS_CLIENT: u32 = u32::MAX - 20;
const ISS_SERVER: u32 = 7_000_000;

/// One side of a connection, as its host keeps it.
#[derive(Clone, Copy)]
struct Side {
    next: u32,
    expects: u32,
}

struct Connection {
    bench: Bench,
    hooks: Hooks,
    external: u16,
    client: Side,
    server: Side,
}

impl Connection {
    fn open(hooks: Hooks) -> Self {
        let mut connection = Self {
            bench: Bench::new(INTERNET),
            hooks,
            external: 0,
            client: Side { next: ISS_CLIENT, expects: 0 },
            server: Side { next: ISS_SERVER, expects: ISS_CLIENT.wrapping_add(1) },
        };
        assert!(connection.client_sends(SYN));
        connection
    }

    fn established(hooks: Hooks) -> Self {
        let mut connection = Self::open(hooks);
        assert!(connection.server_sends(SYN | ACK));
        assert!(connection.client_sends(ACK));
        connection
    }

    /// Both have closed.
    fn closed(hooks: Hooks) -> Self {
        let mut connection = Self::established(hooks);
        assert!(connection.client_sends(FIN | ACK) && connection.server_sends(FIN | ACK));
        assert!(connection.client_sends(ACK));
        connection
    }

    /// The next segment of a well-behaved client.
    fn client_sends(&mut self, flags: u8) -> bool {
        self.client_sends_data(flags, 0)
    }

    fn client_sends_data(&mut self, flags: u8, payload: usize) -> bool {
        let passed = self.client_at(flags, self.client.next, self.client.expects, payload);
        advance(&mut self.client, &mut self.server, flags, payload);
        passed
    }

    /// The next segment of a well-behaved server.
    fn server_sends(&mut self, flags: u8) -> bool {
        self.server_sends_data(flags, 0)
    }

    fn server_sends_data(&mut self, flags: u8, payload: usize) -> bool {
        let passed = self.server_at(flags, self.server.next, self.server.expects, payload);
        advance(&mut self.server, &mut self.client, flags, payload);
        passed
    }

    /// Any segment in the client's name.
    fn client_at(&mut self, flags: u8, sequence: u32, ack: u32, payload: usize) -> bool {
        let place = Place::at(sequence, ack);
        let frame =
            frames::tcp_at((CLIENT, 5000), (SERVER, 80), flags, place, &vec![b'x'; payload]);
        let seen = self.bench.send(self.hooks.out, &frame);
        // A new connection may get another port; one that is open keeps its own.
        if flags == SYN {
            self.external = frames::read(&seen.frame).source.1;
        }
        seen.verdict == Verdict::TranslatedOut
    }

    /// Any segment in the server's name.
    fn server_at(&self, flags: u8, sequence: u32, ack: u32, payload: usize) -> bool {
        let frame = self.server_frame(flags, Place::at(sequence, ack), payload);
        self.bench.send(self.hooks.inbound, &frame).verdict == Verdict::TranslatedIn
    }

    fn server_frame(&self, flags: u8, place: Place, payload: usize) -> Vec<u8> {
        let to = (GATEWAY, self.external);
        frames::tcp_at((SERVER, 80), to, flags, place, &vec![b'y'; payload])
    }

    fn state(&self) -> &'static str {
        self.bench.sessions()[0].state
    }

    fn expires_s(&self) -> u64 {
        self.bench.sessions()[0].expires_s
    }

    fn wait(&mut self, seconds: u64) {
        self.bench.advance(Duration::from_secs(seconds));
    }

    /// Whether the session is there after so many idle seconds, and gone two seconds later.
    fn lives(mut self, seconds: u64) {
        self.wait(seconds);
        assert_eq!(self.bench.sessions().len(), 1, "ended early");
        self.wait(2);
        assert_eq!(self.bench.sessions().len(), 0, "still there");
    }
}

fn advance(sender: &mut Side, receiver: &mut Side, flags: u8, payload: usize) {
    let numbers = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
    if flags & RST == 0 {
        sender.next = sender.next.wrapping_add(numbers).wrapping_add(payload as u32);
        receiver.expects = sender.next;
    }
}

#[test]
fn only_a_syn_opens() {
    for hooks in BOTH {
        let bench = Bench::new(INTERNET);
        for flags in [ACK, SYN | ACK, FIN | ACK, RST, 0, SYN | RST] {
            let frame = frames::tcp((CLIENT, 5000), (SERVER, 80), flags, b"");
            assert_eq!(bench.send(hooks.out, &frame).verdict, Verdict::TcpWithoutSyn, "{flags:#x}");
        }
        assert_eq!(bench.entries() + bench.claims(), 0);
    }
}

#[test]
fn rfc5382_req5_timeouts_follow_the_state() {
    for hooks in BOTH {
        let opening = Connection::open(hooks);
        assert_eq!(opening.state(), "opening");
        opening.lives(240);

        let established = Connection::established(hooks);
        assert_eq!(established.state(), "established");
        established.lives(7440);

        let mut closing = Connection::established(hooks);
        assert!(closing.server_sends(FIN | ACK) && closing.client_sends(FIN | ACK));
        assert_eq!(closing.state(), "closing");
        assert!(closing.server_sends(ACK), "the last ACK passes");
        closing.lives(240);
    }
}

#[test]
fn rfc7857_2_1_opening_and_closing_have_timeouts_of_their_own() {
    for hooks in BOTH {
        let timeouts = "[timeouts]\ntcp_opening = \"250s\"\ntcp_established = \"8000s\"\n\
                        tcp_closing = \"260s\"\n";
        let apply = |connection: &mut Connection| {
            connection.bench.apply(&format!("{timeouts}{INTERNET}"));
        };
        let mut opening = Connection::open(hooks);
        apply(&mut opening);
        opening.wait(2);
        assert!(opening.client_at(SYN, ISS_CLIENT, 0, 0), "once more");
        opening.lives(250);
        let mut established = Connection::open(hooks);
        apply(&mut established);
        assert!(established.server_sends(SYN | ACK) && established.client_sends(ACK));
        established.lives(8000);
        let mut closing = Connection::established(hooks);
        apply(&mut closing);
        assert!(closing.server_sends(FIN | ACK) && closing.client_sends(FIN | ACK));
        closing.lives(260);
    }
}

#[test]
fn rfc5382_req2_a_half_closed_connection_carries_data_for_hours() {
    for hooks in BOTH {
        for by_client in [true, false] {
            let mut connection = Connection::established(hooks);
            if by_client {
                assert!(connection.client_sends(FIN | ACK));
            } else {
                assert!(connection.server_sends(FIN | ACK));
            }
            for _ in 0..5 {
                assert_eq!(connection.state(), "established");
                connection.wait(7000);
                if by_client {
                    assert!(connection.server_sends_data(ACK, 900));
                    assert!(connection.client_sends(ACK));
                } else {
                    assert!(connection.client_sends_data(ACK, 900));
                    assert!(connection.server_sends(ACK));
                }
            }
            if by_client {
                assert!(connection.server_sends(FIN | ACK) && connection.client_sends(ACK));
            } else {
                assert!(connection.client_sends(FIN | ACK) && connection.server_sends(ACK));
            }
            assert_eq!(connection.state(), "closing");
            connection.lives(240);
        }
    }
}

#[test]
fn rfc5382_req2_closing_at_the_same_time() {
    for hooks in BOTH {
        let mut connection = Connection::established(hooks);
        let (client, server) = (connection.client, connection.server);
        assert!(connection.client_at(FIN | ACK, client.next, client.expects, 10));
        assert!(connection.server_at(FIN | ACK, server.next, server.expects, 10));
        assert_eq!(connection.state(), "closing");
        connection.lives(240);
    }
}

/// Zero windows, probes of them and keep-alives are part of a connection that lives.
#[test]
fn rfc5382_req2_probes_keep_a_connection() {
    for hooks in BOTH {
        let mut connection = Connection::established(hooks);
        let (client, server) = (connection.client, connection.server);
        let closed = Place { window: 0, ..Place::at(client.next, client.expects) };
        let frame = frames::tcp_at((CLIENT, 5000), (SERVER, 80), ACK, closed, b"");
        assert_eq!(connection.bench.send(hooks.out, &frame).verdict, Verdict::TranslatedOut);
        for _ in 0..3 {
            connection.wait(7000);
            assert!(connection.server_at(ACK, server.next.wrapping_sub(1), server.expects, 1));
            assert!(connection.client_at(ACK, client.next.wrapping_sub(1), client.expects, 0));
            assert_eq!(connection.state(), "established");
        }
        assert!(connection.server_at(FIN | ACK, server.next, server.expects, 0));
        assert!(connection.client_at(FIN | ACK, client.next, client.expects, 0));
        assert_eq!(connection.state(), "closing", "a FIN needs no room");
    }
}

#[test]
fn rfc7857_2_2_a_reset_closes_but_is_delivered() {
    for hooks in BOTH {
        let mut by_client = Connection::established(hooks);
        assert!(by_client.client_sends(RST));
        assert_eq!(by_client.state(), "closing");
        by_client.lives(240);
        let mut by_server = Connection::established(hooks);
        assert!(by_server.server_sends(RST | ACK));
        assert_eq!(by_server.state(), "closing");
        by_server.lives(240);
    }
}

#[test]
fn rfc7857_2_2_data_after_a_reset_returns_to_established() {
    for hooks in BOTH {
        for (reset_by_server, data_by_server) in
            [(true, true), (true, false), (false, true), (false, false)]
        {
            let mut connection = Connection::established(hooks);
            let reset =
                if reset_by_server { Connection::server_sends } else { Connection::client_sends };
            assert!(reset(&mut connection, RST));
            assert_eq!(connection.state(), "closing");
            connection.wait(200);
            if data_by_server {
                assert!(connection.server_sends_data(ACK, 100));
            } else {
                assert!(connection.client_sends_data(ACK, 100));
            }
            assert_eq!(connection.state(), "established");
            connection.lives(7440);
        }
    }
}

/// A client that acknowledges a forged RST by a challenge (RFC 5961) shows that it is alive.
#[test]
fn rfc7857_2_2_a_challenge_returns_to_established() {
    for hooks in BOTH {
        let mut connection = Connection::established(hooks);
        assert!(connection.server_sends(RST) && connection.client_sends(ACK));
        assert_eq!(connection.state(), "established");
    }
}

#[test]
fn rfc7857_2_2_data_out_of_the_window_does_not_revive() {
    for hooks in BOTH {
        let mut connection = Connection::established(hooks);
        assert!(connection.server_sends(RST));
        connection.wait(200);
        for offset in [2000, 1 << 20, 1 << 31, u32::MAX - 2000] {
            let far = connection.server.next.wrapping_add(offset);
            assert!(connection.server_at(ACK, far, connection.server.expects, 5));
            assert_eq!((connection.state(), connection.expires_s()), ("closing", 41), "{offset}");
        }
    }
}

/// Off-path attackers: whatever does not hit the next byte passes and changes nothing.
#[test]
fn rfc7857_2_2_a_reset_out_of_place_changes_no_state_and_no_timer() {
    for hooks in BOTH {
        let mut connection = Connection::established(hooks);
        connection.wait(100);
        let before = connection.expires_s();
        let (client, server) = (connection.client, connection.server);
        let offsets = (1..=64_u32).flat_map(|n| {
            // Around both edges of a window of 1024, in it, and one in each of many windows.
            [n, n.wrapping_neg(), n * 16, 1024 + n, n << 25, (n << 25).wrapping_neg()]
        });
        for offset in offsets.filter(|offset| *offset != 0) {
            let away = |side: Side| side.next.wrapping_add(offset);
            assert!(connection.server_at(RST, away(server), 0, 0), "it is delivered");
            assert!(connection.server_at(RST | ACK, away(server), server.expects, 0));
            assert!(connection.client_at(RST, away(client), 0, 0));
            assert_eq!((connection.state(), connection.expires_s()), ("established", before));
        }
    }
}

/// Forged data that hits the window, and a RST behind it.
#[test]
fn a_train_of_data_and_reset_changes_no_state() {
    for hooks in BOTH {
        let connection = Connection::established(hooks);
        let server = connection.server;
        for guess in (5..1000).step_by(50) {
            let sequence = server.next.wrapping_add(guess);
            assert!(connection.server_at(ACK, sequence, server.expects, 100));
            assert!(connection.server_at(RST, sequence.wrapping_add(100), 0, 0));
            assert_eq!(connection.state(), "established", "{guess}");
        }
    }
}

/// What a server does that closes with something unread.
#[test]
fn a_reset_right_behind_the_answer_closes() {
    for hooks in BOTH {
        let mut connection = Connection::established(hooks);
        assert!(connection.server_sends_data(ACK, 700) && connection.server_sends(RST | ACK));
        assert_eq!(connection.state(), "closing");
    }
}

#[test]
fn a_fin_out_of_the_window_changes_no_state_and_no_timer() {
    for hooks in BOTH {
        let mut connection = Connection::established(hooks);
        connection.wait(100);
        let before = connection.expires_s();
        let (client, server) = (connection.client, connection.server);
        for offset in [1025, 5000, 1 << 20, 1 << 31, u32::MAX, u32::MAX - 5000] {
            let away = |side: Side| side.next.wrapping_add(offset);
            assert!(connection.server_at(FIN | ACK, away(server), server.expects, 0));
            assert!(connection.client_at(FIN | ACK, away(client), client.expects, 0));
            assert_eq!((connection.state(), connection.expires_s()), ("established", before));
        }
        // None of them has been taken for half of a close.
        assert!(connection.client_sends(FIN | ACK));
        assert_eq!(connection.state(), "established");
    }
}

/// The window scale of both SYNs decides how far away a FIN can be.
#[test]
fn rfc7323_windows_are_scaled_if_both_sides_say_so() {
    for (hooks, scales) in BOTH.into_iter().zip([Some(3), None]) {
        let mut connection = Connection::open(hooks);
        // The client has offered none; it starts over with one.
        assert!(connection.client_sends(RST));
        let offer = Place { scale: Some(3), ..Place::at(500, 0) };
        let syn = frames::tcp_at((CLIENT, 5000), (SERVER, 80), SYN, offer, b"");
        let seen = connection.bench.send(hooks.out, &syn);
        assert_eq!(seen.verdict, Verdict::TranslatedOut);
        connection.external = frames::read(&seen.frame).source.1;
        let answer = Place { scale: scales, ..Place::at(9000, 501) };
        let answer = connection.server_frame(SYN | ACK, answer, 0);
        assert_eq!(connection.bench.send(hooks.inbound, &answer).verdict, Verdict::TranslatedIn);
        assert!(connection.client_at(ACK, 501, 9001, 0));
        assert!(connection.client_at(FIN | ACK, 501, 9001, 0));
        let window = if scales.is_some() { 8 * 1024 } else { 1024 };
        assert!(connection.server_at(FIN | ACK, 9001 + window + 1, 502, 0));
        assert_eq!(connection.state(), "established");
        assert!(connection.server_at(FIN | ACK, 9001 + window, 502, 0));
        assert_eq!(connection.state(), "closing");
    }
}

#[test]
fn rfc5382_req2a_simultaneous_open() {
    for hooks in BOTH {
        let mut connection = Connection::open(hooks);
        let (client, server) = (connection.client, connection.server);
        assert!(connection.server_at(SYN, ISS_SERVER, 0, 0));
        assert_eq!(connection.state(), "established");
        assert!(connection.client_at(SYN | ACK, ISS_CLIENT, ISS_SERVER + 1, 0));
        assert!(connection.server_at(SYN | ACK, ISS_SERVER, server.expects, 0));
        assert_eq!(connection.state(), "established");
        // Data and the end are known where they belong.
        assert!(connection.server_at(ACK, ISS_SERVER + 1, server.expects, 50));
        assert!(connection.client_at(ACK, client.next, ISS_SERVER + 51, 50));
        assert!(connection.server_at(RST, ISS_SERVER + 51, 0, 0));
        assert_eq!(connection.state(), "closing");
    }
}

/// Only the SYN's own acknowledgement is an answer to it.
#[test]
fn what_does_not_answer_the_syn_changes_no_state_and_no_timer() {
    for hooks in BOTH {
        let mut connection = Connection::open(hooks);
        connection.wait(100);
        let before = connection.expires_s();
        let right = ISS_CLIENT.wrapping_add(1);
        for wrong in [1, u32::MAX, 1000, 1 << 31].map(|offset| right.wrapping_add(offset)) {
            for flags in [SYN | ACK, RST | ACK, RST, ACK, FIN | ACK] {
                assert!(connection.server_at(flags, ISS_SERVER, wrong, 0));
                let seen = (connection.state(), connection.expires_s());
                assert_eq!(seen, ("opening", before), "{flags:#x} {wrong}");
            }
        }
        assert!(connection.server_at(RST | ACK, 0, right, 0), "refused");
        assert_eq!(connection.state(), "closing");
    }
}

#[test]
fn a_syn_sent_again_keeps_the_session() {
    for hooks in BOTH {
        let mut connection = Connection::open(hooks);
        for _ in 0..4 {
            connection.wait(200);
            assert!(connection.client_at(SYN, ISS_CLIENT, 0, 0));
            assert_eq!(connection.state(), "opening");
        }
        assert_eq!(connection.bench.entries(), 1);
        assert!(connection.server_sends(SYN | ACK) && connection.client_sends(ACK));
        assert_eq!(connection.state(), "established");
    }
}

#[test]
fn a_client_that_uses_its_port_again_gets_a_new_session() {
    for hooks in BOTH {
        for first in [1, ISS_CLIENT.wrapping_add(50_000), ISS_CLIENT.wrapping_sub(9)] {
            let mut connection = Connection::closed(hooks);
            (connection.client.next, connection.server.expects) = (first, first.wrapping_add(1));
            assert!(connection.client_sends(SYN));
            assert_eq!(connection.state(), "opening");
            connection.server.next = 99;
            assert!(connection.server_sends(SYN | ACK) && connection.client_sends(ACK));
            assert_eq!(connection.state(), "established");
            assert_eq!(connection.bench.entries(), 1);
            assert!(connection.client_sends(FIN | ACK) && connection.server_sends(FIN | ACK));
            assert_eq!(connection.state(), "closing", "its numbers are the new ones");
        }
    }
}

/// The same when the server has not said a word yet.
#[test]
fn a_client_that_gives_up_and_tries_again_gets_a_connection_that_lasts() {
    for hooks in BOTH {
        let mut connection = Connection::open(hooks);
        assert!(connection.client_sends(RST));
        assert!(connection.client_at(SYN, ISS_CLIENT, 0, 0));
        assert_eq!(connection.state(), "opening");
        assert!(connection.server_sends(SYN | ACK) && connection.client_sends(ACK));
        assert_eq!(connection.state(), "established");
    }
}

/// RFC 5961 section 4: the server challenges a SYN within a connection that it knows.
#[test]
fn a_syn_within_a_connection_changes_no_state_and_no_timer() {
    for hooks in BOTH {
        let mut connection = Connection::established(hooks);
        connection.wait(100);
        let before = connection.expires_s();
        let (client, server) = (connection.client, connection.server);
        for sequence in [0, ISS_CLIENT, client.next, client.next.wrapping_add(1 << 20)] {
            assert!(connection.client_at(SYN, sequence, 0, 0));
            assert!(connection.server_at(SYN, sequence, 0, 0));
            assert!(connection.server_at(SYN | ACK, ISS_SERVER, server.expects, 0));
            assert_eq!((connection.state(), connection.expires_s()), ("established", before));
        }
        // The connection goes on, and its end is seen.
        assert!(connection.client_sends_data(ACK, 10) && connection.server_sends(FIN | ACK));
        assert!(connection.client_sends(FIN | ACK));
        assert_eq!(connection.state(), "closing");
    }
}

/// A client that has lost its memory, and the server its own: what the SYN asks is answered.
#[test]
fn a_syn_within_a_connection_replaces_it_if_the_server_answers() {
    for hooks in BOTH {
        let mut connection = Connection::established(hooks);
        assert!(connection.server_sends(FIN | ACK), "half-closed, and the client never heard");
        assert!(connection.client_at(SYN, 123_456, 0, 0));
        assert!(connection.server_at(SYN | ACK, 555, 123_458, 0), "an answer to something else");
        assert_eq!(connection.state(), "established");
        assert!(connection.server_at(SYN | ACK, 777, 123_457, 0));
        assert!(connection.client_at(ACK, 123_457, 778, 0));
        // The FIN of before is forgotten.
        assert!(connection.client_at(FIN | ACK, 123_457, 778, 0));
        assert_eq!(connection.state(), "established");
        assert!(connection.server_at(FIN | ACK, 778, 123_458, 0));
        assert_eq!(connection.state(), "closing");
    }
}

/// A segment that no sender means does not open what it closes.
#[test]
fn a_fin_that_closes_does_not_start_over_by_its_own_syn() {
    for hooks in BOTH {
        let mut connection = Connection::established(hooks);
        assert!(connection.server_sends(FIN | ACK));
        let client = connection.client;
        assert!(connection.client_at(SYN | FIN, client.next, client.expects, 0));
        assert_eq!(connection.state(), "established", "it is a SYN within a connection");
    }
}

/// Without a session there is no connection to take part in, however plausible the segment.
#[test]
fn a_segment_from_the_middle_of_a_connection_opens_nothing() {
    for hooks in BOTH {
        let mut connection = Connection::established(hooks);
        connection.wait(7442);
        assert!(!connection.client_sends_data(ACK, 10));
        let client = connection.client;
        assert!(!connection.client_at(RST, client.next, 0, 0));
        assert_eq!(connection.bench.sessions().len(), 0);
    }
}

/// A packet that dies behind the gateway is never answered: it shortens and prolongs nothing.
#[test]
fn a_segment_that_the_gateway_cannot_deliver_changes_no_state_and_no_timer() {
    let mut connection = Connection::established(BOTH[0]);
    connection.wait(100);
    let before = connection.expires_s();
    let (client, server) = (connection.client, connection.server);
    for flags in [RST, FIN | ACK, ACK] {
        let frame = connection.server_frame(flags, Place::at(server.next, server.expects), 0);
        let dying = frames::with_ipv4(&frame, |header| header.time_to_live = 1);
        let seen = connection.bench.send(connection.hooks.inbound, &dying);
        assert_eq!(seen.verdict, Verdict::TranslatedIn, "the stack says that its time is up");
        assert_eq!((connection.state(), connection.expires_s()), ("established", before));
        // XDP leaves it to the stack before it looks for a session.
        let left = connection.bench.send(BOTH[1].inbound, &dying);
        assert_eq!(left.verdict, Verdict::LeftTtl);
    }
    assert!(connection.client_at(FIN | ACK, client.next, client.expects, 0));
    assert_eq!(connection.state(), "established", "the FIN has not been seen");
}
