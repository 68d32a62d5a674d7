//! Ends by RST, and what is not one.
use super::{
    super::{
        bench::BOTH,
        frames::{ACK, RST},
        lifetime::life,
    },
    Connection, Side,
};

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
        let left_s = life(240).as_secs() - 200;
        for offset in [2000, 1 << 20, 1 << 31, u32::MAX - 2000] {
            let far = connection.server.next.wrapping_add(offset);
            assert!(connection.server_at(ACK, far, connection.server.expects, 5));
            assert_eq!(
                (connection.state(), connection.expires_s()),
                ("closing", left_s),
                "{offset}"
            );
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
