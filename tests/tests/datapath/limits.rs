//! What one client may have, on a clock that the test moves.
use std::{net::Ipv4Addr, time::Duration};

use nat_common::{limit::ClientLimits, verdict::Verdict};

use super::{
    bench::{BOTH, Bench, Hooks, INTERNET},
    frames::{self, ACK, CLIENT, FIN, GATEWAY, Place, RST, SERVER, SYN},
    lifetime::life,
};

const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);
const NONE: ClientLimits = ClientLimits::NONE;

/// Both sides begin with number 1000.
fn place(flags: u8) -> Place {
    let first = flags & (SYN | RST) != 0;
    Place::at(if first { 1000 } else { 1001 }, 1001)
}

struct World {
    bench: Bench,
    hooks: Hooks,
}

impl World {
    fn new(hooks: Hooks, rules: &str, limits: ClientLimits) -> Self {
        let mut bench = Bench::without_rules(64);
        bench.limits = limits;
        bench.apply(rules);
        Self { bench, hooks }
    }

    fn udp(&self, client: Ipv4Addr, port: u16) -> Verdict {
        let frame = frames::udp((client, port), (SERVER, 3478), b"x");
        self.bench.send(self.hooks.out, &frame).verdict
    }

    fn tcp(&self, port: u16, flags: u8) -> (Verdict, u16) {
        let frame = frames::tcp_at((CLIENT, port), (SERVER, 80), flags, place(flags), b"");
        let seen = self.bench.send(self.hooks.out, &frame);
        (seen.verdict, frames::read(&seen.frame).source.1)
    }

    fn back(&self, external: u16, flags: u8) {
        let frame = frames::tcp_at((SERVER, 80), (GATEWAY, external), flags, place(flags), b"");
        assert_eq!(self.bench.send(self.hooks.inbound, &frame).verdict, Verdict::TranslatedIn);
    }

    /// (sessions, half-open ones) of a client; nothing of one that is not there.
    fn has(&self, client: Ipv4Addr) -> Option<(u32, u32)> {
        let client = self.bench.clients().get(&client)?.counts;
        Some((client.sessions(), client.half_open()))
    }

    fn wait(&mut self, seconds: u64) {
        self.bench.advance(Duration::from_secs(seconds));
    }
}

#[test]
fn rfc6888_req4_a_client_has_so_many_sessions_and_others_theirs() {
    for hooks in BOTH {
        let mut world = World::new(hooks, INTERNET, ClientLimits { sessions: 5, ..NONE });
        let verdicts: Vec<_> = (1..=7).map(|port| world.udp(CLIENT, port)).collect();
        assert_eq!(verdicts[..5], [Verdict::TranslatedOut; 5]);
        assert_eq!(verdicts[5..], [Verdict::ClientSessions; 2]);
        assert_eq!(world.udp(OTHER, 1), Verdict::TranslatedOut);
        // Those that it has are not touched, and nothing is left of those that it has not.
        assert!((1..=5).all(|port| world.udp(CLIENT, port) == Verdict::TranslatedOut));
        assert_eq!((world.bench.entries(), world.bench.claims()), (6, 6));
        assert_eq!((world.has(CLIENT), world.has(OTHER)), (Some((5, 0)), Some((1, 0))));

        world.bench.advance(life(300));
        assert_eq!(world.bench.sweep(), 6);
        assert_eq!((world.has(CLIENT), world.has(OTHER)), (None, None));
        assert_eq!(world.udp(CLIENT, 8), Verdict::TranslatedOut);
    }
}

#[test]
fn rfc6888_req4_half_open_connections_are_limited_until_they_are_answered() {
    for hooks in BOTH {
        let world = World::new(hooks, INTERNET, ClientLimits { half_open: 2, ..NONE });
        let (_, external) = world.tcp(1, SYN);
        assert_eq!(world.tcp(2, SYN).0, Verdict::TranslatedOut);
        assert_eq!(world.tcp(3, SYN).0, Verdict::ClientHalfOpen);
        // A SYN sent again is the same connection; UDP has no half-open sessions.
        assert_eq!(world.tcp(2, SYN).0, Verdict::TranslatedOut);
        assert_eq!(world.udp(CLIENT, 1), Verdict::TranslatedOut);
        assert_eq!(world.has(CLIENT), Some((3, 2)));

        world.back(external, SYN | ACK);
        assert_eq!(world.has(CLIENT), Some((3, 1)));
        assert_eq!(world.tcp(1, ACK).0, Verdict::TranslatedOut);
        assert_eq!(world.tcp(3, SYN).0, Verdict::TranslatedOut);
        assert_eq!(world.tcp(4, SYN).0, Verdict::ClientHalfOpen);
        // A refusal by the server counts as an answer.
        let (_, refused) = world.tcp(2, SYN);
        world.back(refused, RST | ACK);
        assert_eq!(world.tcp(4, SYN).0, Verdict::TranslatedOut);
        assert_eq!(world.has(CLIENT), Some((5, 2)));
    }
}

#[test]
fn every_end_of_a_session_is_counted() {
    for hooks in BOTH {
        let mut world = World::new(hooks, INTERNET, NONE);
        // Established and closed, reset, unanswered.
        let (_, closed) = world.tcp(1, SYN);
        world.back(closed, SYN | ACK);
        world.tcp(1, ACK);
        world.tcp(1, FIN | ACK);
        world.back(closed, FIN | ACK);
        let (_, reset) = world.tcp(2, SYN);
        world.back(reset, RST | ACK);
        world.tcp(3, SYN);
        assert_eq!(world.has(CLIENT), Some((3, 1)));
        // A closed one that the client opens again is a session less and a session more.
        assert_eq!(world.tcp(1, SYN).0, Verdict::TranslatedOut);
        assert_eq!(world.has(CLIENT), Some((3, 2)));
        world.wait(8000);
        // One ends because a packet of its flow finds it ended, the others by the sweep.
        assert_eq!(world.tcp(3, ACK).0, Verdict::TcpWithoutSyn);
        assert_eq!(world.has(CLIENT), Some((2, 1)));
        assert_eq!(world.bench.sweep(), 2);
        assert_eq!(world.has(CLIENT), None);
    }
}

#[test]
fn rfc6888_req4_new_sessions_come_at_their_rate() {
    for hooks in BOTH {
        let limits = ClientLimits { new_per_second: 4, ..NONE };
        let mut world = World::new(hooks, INTERNET, limits);
        let mut next = 0;
        let mut opened = |world: &World, tries: u16| {
            next += tries;
            let verdicts = (next - tries..next).map(|port| world.udp(CLIENT, 1000 + port));
            let verdicts: Vec<_> = verdicts.collect();
            let is = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
            assert_eq!(is(Verdict::TranslatedOut) + is(Verdict::ClientRate), verdicts.len());
            is(Verdict::TranslatedOut)
        };
        assert_eq!(opened(&world, 6), 4, "a second's worth at once");
        assert_eq!(world.udp(OTHER, 1), Verdict::TranslatedOut);
        world.bench.advance(Duration::from_millis(249));
        assert_eq!(opened(&world, 2), 0);
        world.bench.advance(Duration::from_millis(1));
        assert_eq!(opened(&world, 2), 1);
        world.wait(100);
        assert_eq!(opened(&world, 6), 4, "no more is saved up");
    }
}

/// Ports are not found before limits are asked; what is not opened is not counted.
#[test]
fn what_is_refused_for_another_reason_counts_for_nothing() {
    for hooks in BOTH {
        let rules = format!("{INTERNET}ports = \"4000-4000\"\n");
        let mut world = World::new(hooks, &rules, ClientLimits { sessions: 5, ..NONE });
        assert_eq!(world.udp(CLIENT, 1), Verdict::TranslatedOut);
        assert_eq!(world.udp(CLIENT, 2), Verdict::NoPort);
        assert_eq!(world.udp(OTHER, 2), Verdict::NoPort);
        assert_eq!((world.has(CLIENT), world.has(OTHER)), (Some((1, 0)), None));
        // A lower limit ends nothing.
        world.bench.limits.sessions = 1;
        world.bench.apply(&rules);
        assert_eq!(world.udp(CLIENT, 1), Verdict::TranslatedOut);
        assert_eq!(world.udp(CLIENT, 2), Verdict::ClientSessions);
    }
}
