//! The states of TCP and how long each lasts.
use std::time::Duration;

use nat_common::verdict::Verdict;

use super::{
    bench::{BOTH, Bench, Hooks, INTERNET},
    frames::{self, ACK, CLIENT, FIN, GATEWAY, RST, SERVER, SYN},
};

struct Connection {
    bench: Bench,
    hooks: Hooks,
    external: u16,
}

impl Connection {
    fn open(hooks: Hooks) -> Self {
        let bench = Bench::new(INTERNET);
        let syn = frames::tcp((CLIENT, 5000), (SERVER, 80), SYN, b"");
        let seen = bench.send(hooks.out, &syn);
        assert_eq!(seen.verdict, Verdict::TranslatedOut);
        let external = frames::read(&seen.frame).source.1;
        Self { bench, hooks, external }
    }

    fn established(hooks: Hooks) -> Self {
        let connection = Self::open(hooks);
        assert!(connection.server_sends(SYN | ACK));
        assert!(connection.client_sends(ACK));
        connection
    }

    fn client_sends(&self, flags: u8) -> bool {
        let frame = frames::tcp((CLIENT, 5000), (SERVER, 80), flags, b"");
        self.bench.send(self.hooks.out, &frame).verdict == Verdict::TranslatedOut
    }

    fn server_sends(&self, flags: u8) -> bool {
        let frame = frames::tcp((SERVER, 80), (GATEWAY, self.external), flags, b"");
        self.bench.send(self.hooks.inbound, &frame).verdict == Verdict::TranslatedIn
    }

    fn state(&self) -> &'static str {
        self.bench.sessions()[0].state
    }

    /// Whether the session is there after so many idle seconds, and gone two seconds later.
    fn lives(mut self, seconds: u64) {
        self.bench.advance(Duration::from_secs(seconds));
        assert_eq!(self.bench.sessions().len(), 1, "ended early");
        self.bench.advance(Duration::from_secs(2));
        assert_eq!(self.bench.sessions().len(), 0, "still there");
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

        let half_closed = Connection::established(hooks);
        assert!(half_closed.client_sends(FIN | ACK));
        assert_eq!(half_closed.state(), "established");
        half_closed.lives(7440);

        let closing = Connection::established(hooks);
        assert!(closing.server_sends(FIN | ACK) && closing.client_sends(FIN | ACK));
        assert_eq!(closing.state(), "closing");
        assert!(closing.server_sends(ACK), "the last ACK passes");
        closing.lives(240);
    }
}

#[test]
fn rfc7857_req2_2_a_reset_closes_but_is_delivered() {
    for hooks in BOTH {
        let by_client = Connection::established(hooks);
        assert!(by_client.client_sends(RST));
        assert_eq!(by_client.state(), "closing");
        let by_server = Connection::established(hooks);
        assert!(by_server.server_sends(RST));
        assert_eq!(by_server.state(), "closing");
        by_server.lives(240);
    }
}

#[test]
fn rfc5382_req2a_simultaneous_open() {
    for hooks in BOTH {
        let connection = Connection::open(hooks);
        assert!(connection.server_sends(SYN));
        assert_eq!(connection.state(), "established");
        assert!(connection.client_sends(SYN | ACK) && connection.server_sends(SYN | ACK));
        assert_eq!(connection.state(), "established");
    }
}

#[test]
fn a_client_that_uses_its_port_again_starts_over_on_the_same_mapping() {
    for hooks in BOTH {
        let connection = Connection::established(hooks);
        assert!(connection.client_sends(FIN | ACK) && connection.server_sends(FIN | ACK));
        assert!(connection.client_sends(SYN));
        assert_eq!(connection.state(), "opening");
        assert!(connection.server_sends(SYN | ACK) && connection.client_sends(ACK));
        assert_eq!(connection.state(), "established");
        assert_eq!(connection.bench.entries(), 1);
    }
}

/// The same when the server has not said a word yet.
#[test]
fn a_client_that_gives_up_and_tries_again_gets_a_connection_that_lasts() {
    for hooks in BOTH {
        let connection = Connection::open(hooks);
        assert!(connection.client_sends(RST) && connection.client_sends(SYN));
        assert_eq!(connection.state(), "opening");
        assert!(connection.server_sends(SYN | ACK) && connection.client_sends(ACK));
        assert_eq!(connection.state(), "established");
    }
}

/// A segment that no sender means does not open what it closes.
#[test]
fn a_fin_that_closes_does_not_start_over_by_its_own_syn() {
    for hooks in BOTH {
        let connection = Connection::established(hooks);
        assert!(connection.server_sends(FIN | ACK) && connection.client_sends(SYN | FIN));
        assert_eq!(connection.state(), "closing");
    }
}
