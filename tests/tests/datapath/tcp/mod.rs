//! The states of TCP, which segments move them, and how long each lasts.
mod closing;
mod opening;
mod resets;

use std::time::Duration;

use nat_common::verdict::Verdict;

use super::{
    bench::{BOTH, Bench, Hooks, INTERNET},
    frames::{self, ACK, CLIENT, FIN, GATEWAY, Place, RST, SERVER, SYN},
    lifetime::grace,
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

    /// Whether the session is there after so many idle seconds, its timeout, and gone soon after.
    fn lives(mut self, seconds: u64) {
        self.wait(seconds);
        assert_eq!(self.bench.sessions().len(), 1, "ended early");
        self.bench.advance(grace(seconds));
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
        opening.bench.advance(grace(240));
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
