//! What opens a connection, opens it again, and does not.
use nat_common::verdict::Verdict;

use super::{
    super::{
        bench::{BOTH, Bench, INTERNET},
        frames::{self, ACK, CLIENT, FIN, RST, SERVER, SYN},
        lifetime::life,
    },
    Connection, ISS_CLIENT, ISS_SERVER,
};

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

/// Without a session there is no connection to take part in, however plausible the segment.
#[test]
fn a_segment_from_the_middle_of_a_connection_opens_nothing() {
    for hooks in BOTH {
        let mut connection = Connection::established(hooks);
        connection.bench.advance(life(7440));
        assert!(!connection.client_sends_data(ACK, 10));
        let client = connection.client;
        assert!(!connection.client_at(RST, client.next, 0, 0));
        assert_eq!(connection.bench.sessions().len(), 0);
    }
}
