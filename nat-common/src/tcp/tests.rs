use super::*;

const INSIDE: Direction = Direction::Outbound;
const OUTSIDE: Direction = Direction::Inbound;

const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;
const FIN_ACK: u8 = 0x11;
const RST: u8 = 0x04;

/// All that four bits can say.
fn connections() -> impl Iterator<Item = Connection> {
    (0..16).map(Connection::from_bits)
}

/// A connection in the words of RFC 6146 section 3.5.2.2: which flags have been seen of the server
/// and of the client, and whether a RST was the last that counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Told {
    answered: bool,
    client_closed: bool,
    server_closed: bool,
    reset: bool,
}

impl Told {
    fn of(connection: Connection) -> Self {
        let bit = |n: u8| connection.bits() >> n & 1 == 1;
        Self { answered: bit(0), client_closed: bit(1), server_closed: bit(2), reset: bit(3) }
    }

    fn state(self) -> State {
        match (self.reset, self.answered, self.client_closed, self.server_closed) {
            (true, ..) => State::Transitory,
            (_, false, ..) => State::Init,
            (_, _, false, false) => State::Established,
            (_, _, true, false) => State::ClientFin,
            (_, _, false, true) => State::ServerFin,
            (_, _, true, true) => State::BothFin,
        }
    }

    /// The table: one row for each state and kind of segment, in words of its own.
    fn after(self, from_inside: bool, flags: u8) -> Self {
        let set = |bit: u8| flags & bit != 0;
        let (syn, fin, rst) = (set(2), set(1), set(4));
        let fresh =
            Self { answered: false, client_closed: false, server_closed: false, reset: false };
        let kind = if rst {
            "rst"
        } else if syn {
            "syn"
        } else if fin {
            "fin"
        } else {
            "other"
        };
        match (self.state(), kind) {
            (State::BothFin, "rst") => self,
            (_, "rst") => Self { reset: true, ..self },
            // The SYN of the one that has sent none. Before both, `server_closed` says that the server
            // was first.
            (State::Init, "syn") if from_inside == self.server_closed => {
                Self { answered: true, ..fresh }
            }
            (_, "syn") => self,
            (State::Init, _) => self,
            (State::Transitory, "fin") if !self.answered => Self { reset: false, ..self },
            (_, "fin") if from_inside => Self { client_closed: true, reset: false, ..self },
            (_, "fin") => Self { server_closed: true, reset: false, ..self },
            (_, _) => Self { reset: false, ..self },
        }
    }
}

#[test]
fn rfc7857_2_every_state_direction_and_flags_lead_where_the_table_says() {
    for connection in connections() {
        let told = Told::of(connection);
        assert_eq!(connection.state(), told.state(), "{connection:?}");
        for direction in [INSIDE, OUTSIDE] {
            for flags in 0..=u8::MAX {
                let got = connection.after(direction, Flags(flags));
                let expected = told.after(direction == INSIDE, flags);
                assert_eq!(Told::of(got), expected, "{connection:?} {direction:?} {flags:#04x}");
            }
        }
    }
}

/// Plays (direction, flags) from a new connection.
fn play(segments: &[(Direction, u8)]) -> State {
    let after = |connection: Connection, &(direction, flags): &(Direction, u8)| {
        connection.after(direction, Flags(flags))
    };
    segments.iter().fold(Connection::NEW, after).state()
}

const OPENED: [(Direction, u8); 2] = [(OUTSIDE, SYN_ACK), (INSIDE, ACK)];

fn opened_then(more: &[(Direction, u8)]) -> State {
    play(&[&OPENED, more].concat())
}

#[test]
fn a_connection_opens_and_closes_in_both_orders() {
    assert_eq!(play(&[]), State::Init);
    assert_eq!(play(&OPENED[..1]), State::Established);
    for (first, second, half) in
        [(INSIDE, OUTSIDE, State::ClientFin), (OUTSIDE, INSIDE, State::ServerFin)]
    {
        let data = [(first, FIN_ACK), (second, ACK), (first, ACK), (second, ACK)];
        assert_eq!(opened_then(&data), half, "half-closed, whatever else is sent");
        let closed = [(first, FIN_ACK), (second, FIN_ACK), (first, ACK)];
        assert_eq!(opened_then(&closed), State::BothFin);
        assert_eq!(opened_then(&[&closed[..], &[(second, RST)]].concat()), State::BothFin);
    }
}

#[test]
fn rfc5382_req2a_simultaneous_open() {
    let crossed = [(OUTSIDE, SYN), (INSIDE, SYN_ACK), (OUTSIDE, SYN_ACK)];
    for length in 1..=crossed.len() {
        assert_eq!(play(&crossed[..length]), State::Established);
    }
}

#[test]
fn rfc7857_req2_2_a_reset_is_survived_by_whatever_follows() {
    for direction in [INSIDE, OUTSIDE] {
        for alive in [INSIDE, OUTSIDE] {
            let back = |before: &[(Direction, u8)], flags| {
                opened_then(&[before, &[(direction, RST), (alive, flags)]].concat())
            };
            assert_eq!(back(&[], ACK), State::Established);
            assert_eq!(back(&[], RST), State::Transitory);
            assert_eq!(back(&[(INSIDE, FIN_ACK)], ACK), State::ClientFin);
            assert_eq!(back(&[(OUTSIDE, FIN_ACK)], ACK), State::ServerFin);
        }
        assert_eq!(play(&[(direction, RST)]), State::Transitory);
        // An answer that crosses the reset is an answer to what is gone.
        assert_eq!(play(&[(direction, RST), (OUTSIDE, SYN_ACK)]), State::Transitory);
    }
}

#[test]
fn nobody_starts_over() {
    let closed = [(INSIDE, FIN_ACK), (OUTSIDE, FIN_ACK)];
    for end in [&closed[..], &[(INSIDE, RST)], &[(OUTSIDE, RST)]] {
        let again = |segment| opened_then(&[end, &[segment]].concat());
        assert_eq!(again((INSIDE, SYN)), opened_then(end), "that is another connection's");
        assert_eq!(again((OUTSIDE, SYN)), opened_then(end));
        assert_eq!(again((INSIDE, SYN_ACK)), opened_then(end));
    }
    assert_eq!(opened_then(&[(INSIDE, SYN)]), State::Established, "while nothing is over");
}

#[test]
fn only_a_bare_syn_opens() {
    let opens = |flags| Flags(flags).opens();
    assert!(opens(0x02) && opens(0xc2), "SYN, and SYN with ECN set-up");
    assert!(!opens(0x12) && !opens(0x10) && !opens(0x06) && !opens(0x01) && !opens(0));
}

#[test]
fn syn_and_fin_take_a_sequence_number_each() {
    let end = |flags| {
        Segment { sequence: u32::MAX, payload: 10, flags: Flags(flags), ..Segment::NONE }.end()
    };
    assert_eq!([end(0x10), end(0x02), end(0x11), end(0x03)], [9, 10, 10, 11]);
}
