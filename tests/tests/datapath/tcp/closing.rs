//! Ends by FIN, and what keeps a connection from ending.
use nat_common::verdict::Verdict;

use super::{
    super::{
        bench::BOTH,
        frames::{self, ACK, CLIENT, FIN, Place, RST, SERVER, SYN},
    },
    Connection, Side,
};

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
