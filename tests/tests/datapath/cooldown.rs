//! Tuples that rest after their session, on a clock that the test moves.
use std::{collections::BTreeSet, time::Duration};

use nat_common::{
    cooldown::{Cooldown, Reason},
    verdict::Verdict,
};

use super::{
    bench::{BOTH, Bench, Hooks, INTERNET, MAX_COOLING, NO_COOLDOWN},
    frames::{self, ACK, CLIENT, FIN, GATEWAY, Place, RST, SERVER, SYN},
    lifetime::{self, life},
};

const SECOND: u64 = 1_000_000_000;

/// A port may rest longer by as much, and never for less: close times and hints are ticks.
const LATE: u64 = lifetime::LATE.as_nanos() as u64;

/// First sequence numbers.
const ISS_CLIENT: u32 = 100;
const ISS_SERVER: u32 = 9000;

/// A pool of four ports.
fn four_ports() -> String {
    format!("{INTERNET}ports = \"4000-4003\"\n")
}

/// Waits in seconds after FIN, RST, half-open, UDP.
fn waits(fin: u64, rst: u64, half_open: u64, udp: u64) -> Cooldown {
    let mut wait_ns = [0; Reason::COUNT];
    for (reason, seconds) in [
        (Reason::Fin, fin),
        (Reason::Rst, rst),
        (Reason::HalfOpen, half_open),
        (Reason::UdpIcmp, udp),
    ] {
        wait_ns[reason as usize] = seconds * SECOND;
    }
    Cooldown { wait_ns, enabled: 1, ..NO_COOLDOWN }
}

struct World {
    bench: Bench,
    hooks: Hooks,
    rules: String,
}

impl World {
    fn new(hooks: Hooks, rules: String, cooldown: Cooldown) -> Self {
        let mut world = Self { bench: Bench::new(INTERNET), hooks, rules };
        world.rests(cooldown);
        world
    }

    /// Puts another cooldown in force.
    fn rests(&mut self, cooldown: Cooldown) {
        self.bench.cooldown = Some(cooldown);
        self.bench.apply(&self.rules);
    }

    /// A segment of a client that has sent no data.
    fn out(&self, port: u16, flags: u8) -> (Verdict, u16) {
        let place = if flags & SYN == 0 {
            Place::at(ISS_CLIENT + 1, ISS_SERVER + 1)
        } else {
            Place::at(ISS_CLIENT, 0)
        };
        let frame = frames::tcp_at((CLIENT, port), (SERVER, 80), flags, place, b"");
        let seen = self.bench.send(self.hooks.out, &frame);
        (seen.verdict, frames::read(&seen.frame).source.1)
    }

    /// A segment of a server that has sent no data, and has seen the client's FIN before its own.
    fn back(&self, external: u16, flags: u8) -> Verdict {
        let place = if flags & SYN == 0 {
            let fins = u32::from(flags & FIN != 0);
            Place::at(ISS_SERVER + 1, ISS_CLIENT + 1 + fins)
        } else {
            Place::at(ISS_SERVER, ISS_CLIENT + 1)
        };
        let frame = frames::tcp_at((SERVER, 80), (GATEWAY, external), flags, place, b"");
        self.bench.send(self.hooks.inbound, &frame).verdict
    }

    /// The external port of a connection that has been opened.
    #[track_caller]
    fn opened(&self, port: u16) -> u16 {
        let (verdict, external) = self.out(port, SYN);
        assert_eq!(verdict, Verdict::TranslatedOut);
        assert_eq!(self.back(external, SYN | ACK), Verdict::TranslatedIn);
        assert_eq!(self.out(port, ACK).0, Verdict::TranslatedOut);
        external
    }

    /// From SYN to the last ACK, the client first.
    fn whole(&self, port: u16) -> u16 {
        let external = self.opened(port);
        self.out(port, FIN | ACK);
        self.back(external, FIN | ACK);
        assert_eq!(self.out(port, ACK).0, Verdict::TranslatedOut);
        external
    }

    /// What becomes of a SYN to another port of the server.
    fn opens_to(&self, server_port: u16) -> Verdict {
        let syn = frames::tcp((CLIENT, 6000), (SERVER, server_port), SYN, b"");
        self.bench.send(self.hooks.out, &syn).verdict
    }

    fn refused(&self, port: u16) -> bool {
        let (verdict, _) = self.out(port, SYN);
        assert!([Verdict::NoPort, Verdict::TranslatedOut].contains(&verdict), "{verdict:?}");
        verdict == Verdict::NoPort
    }

    fn wait_ns(&mut self, ns: u64) {
        self.bench.advance(Duration::from_nanos(ns));
    }
}

#[test]
fn kb2596065_a_closed_connections_port_rests_and_never_for_less() {
    for hooks in BOTH {
        let mut world = World::new(hooks, four_ports(), waits(120, 120, 120, 0));
        let used: BTreeSet<u16> = (0..4).map(|n| world.whole(5000 + n)).collect();
        assert_eq!(used.len(), 4);
        assert!(world.refused(6000), "all four rest");
        world.wait_ns(120 * SECOND - 1);
        assert!(world.refused(6001));
        world.wait_ns(LATE);
        let again: BTreeSet<u16> = (0..4).map(|n| world.opened(6100 + n)).collect();
        assert_eq!(again, used);
    }
}

/// The same client port toward the same server is a new connection, too.
#[test]
fn a_client_that_uses_its_port_again_gets_another_external_one() {
    for hooks in BOTH {
        let world = World::new(hooks, four_ports(), waits(120, 120, 120, 0));
        let ports: Vec<u16> = (0..4).map(|_| world.whole(5000)).collect();
        let different: BTreeSet<_> = ports.iter().collect();
        assert_eq!(different.len(), 4, "{ports:?}");
        assert!(world.refused(5000));
    }
}

#[test]
fn a_tuple_rests_however_its_session_ended() {
    for hooks in BOTH {
        // Closed, reset, not answered: each by its own time, from its last packet on.
        for (waits, rests) in [(waits(60, 0, 0, 0), 60), (waits(0, 70, 0, 0), 70)] {
            let mut world = World::new(hooks, format!("{INTERNET}ports = \"4000-4000\"\n"), waits);
            let external = world.opened(5000);
            if rests == 60 {
                world.out(5000, FIN | ACK);
                world.back(external, FIN | ACK);
            } else {
                world.back(external, RST);
            }
            world.wait_ns(rests * SECOND - 1);
            assert!(world.refused(6000), "{rests}");
            world.wait_ns(LATE);
            assert!(!world.refused(6001), "{rests}");
        }
        // An idle connection has ended when its time was up: 7440 s, and by what a deadline may be
        // late.
        let rules = format!("{INTERNET}ports = \"4000-4000\"\n");
        let mut idle = World::new(hooks, rules.clone(), waits(100, 0, 0, 0));
        idle.opened(5000);
        idle.bench.advance(life(7440));
        idle.bench.sweep();
        idle.wait_ns(100 * SECOND - 1);
        assert!(idle.refused(6000));
        idle.wait_ns(LATE);
        assert!(!idle.refused(6001));

        let mut unanswered = World::new(hooks, rules, waits(0, 0, 30, 0));
        assert_eq!(unanswered.out(5000, SYN).0, Verdict::TranslatedOut);
        unanswered.bench.advance(life(240));
        unanswered.bench.sweep();
        unanswered.wait_ns(30 * SECOND - 1);
        assert!(unanswered.refused(6000));
        unanswered.wait_ns(LATE);
        assert!(!unanswered.refused(6001));
    }
}

/// Late segments of a closing connection put its end off: the server may be in TIME_WAIT anew.
#[test]
fn the_last_packet_counts() {
    for hooks in BOTH {
        let mut world =
            World::new(hooks, format!("{INTERNET}ports = \"4000-4000\"\n"), waits(60, 60, 0, 0));
        let external = world.whole(5000);
        world.wait_ns(40 * SECOND);
        assert_eq!(world.back(external, FIN | ACK), Verdict::TranslatedIn);
        world.wait_ns(60 * SECOND - 1);
        assert!(world.refused(6000));
        world.wait_ns(LATE);
        assert!(!world.refused(6001));
    }
}

#[test]
fn another_server_may_be_reached_by_a_resting_port_unless_the_port_rests_as_such() {
    for hooks in BOTH {
        for (scope, verdict) in [(0, Verdict::TranslatedOut), (1, Verdict::NoPort)] {
            let cooldown = Cooldown { scope, ..waits(120, 120, 0, 0) };
            let rules = format!("{INTERNET}ports = \"4000-4000\"\n");
            let mut world = World::new(hooks, rules, cooldown);
            world.whole(5000);
            // Past `tcp_closing`: only the tuple is left.
            world.bench.cooldown = Some(Cooldown { scope, ..waits(1000, 1000, 0, 0) });
            world.bench.apply(&world.rules);
            world.bench.advance(life(240));
            world.bench.sweep();
            assert!(world.refused(6000), "scope {scope}");
            let other = frames::tcp((CLIENT, 6000), (SERVER, 81), SYN, b"");
            assert_eq!(world.bench.send(hooks.out, &other).verdict, verdict, "scope {scope}");
        }
    }
}

/// While late packets of a closing connection are still translated, its port rests as such already.
#[test]
fn a_port_rests_toward_everybody_from_the_close_on_and_for_the_longest_of_its_sessions() {
    for hooks in BOTH {
        let cooldown = Cooldown { scope: 1, ..waits(120, 120, 5, 0) };
        let rules = format!("{INTERNET}ports = \"4000-4000\"\n");
        let mut world = World::new(hooks, rules, cooldown);
        // Before the first connection closes another server is reached by the same port, and does not
        // answer.
        let external = world.opened(5000);
        assert_eq!(world.opens_to(82), Verdict::TranslatedOut);
        world.out(5000, FIN | ACK);
        world.back(external, FIN | ACK);
        world.wait_ns(SECOND);
        assert_eq!(world.opens_to(81), Verdict::NoPort);
        world.rests(Cooldown { scope: 1, ..waits(1000, 1000, 5, 0) });
        world.bench.advance(life(240));
        world.bench.sweep();
        world.wait_ns(10 * SECOND);
        assert_eq!(
            world.opens_to(81),
            Verdict::NoPort,
            "a half-open one does not shorten the rest"
        );
        world.wait_ns(760 * SECOND);
        assert_eq!(world.opens_to(81), Verdict::TranslatedOut);
    }
}

/// The last packet of a connection counts for its port, too, before anybody removes its session.
#[test]
fn a_port_rests_toward_everybody_from_the_last_packet_on() {
    for hooks in BOTH {
        let cooldown = Cooldown { scope: 1, ..waits(60, 60, 0, 0) };
        let mut world = World::new(hooks, format!("{INTERNET}ports = \"4000-4000\"\n"), cooldown);
        let external = world.whole(5000);
        world.wait_ns(40 * SECOND);
        assert_eq!(world.back(external, FIN | ACK), Verdict::TranslatedIn);
        world.wait_ns(60 * SECOND - 1);
        assert_eq!(world.opens_to(81), Verdict::NoPort);
        world.wait_ns(LATE);
        assert_eq!(world.opens_to(81), Verdict::TranslatedOut);
    }
}

/// Whoever cannot have a port, because that rests toward everybody, takes nobody's session away.
#[test]
fn no_session_is_ended_for_a_port_that_rests() {
    for hooks in BOTH {
        let cooldown = Cooldown { scope: 1, ..waits(1000, 1000, 0, 0) };
        let mut world = World::new(hooks, format!("{INTERNET}ports = \"4000-4000\"\n"), cooldown);
        world.opened(5000);
        assert_eq!(world.opens_to(81), Verdict::TranslatedOut);
        world.out(5000, RST);
        // The one that nobody has answered is over and does not rest. The port does.
        world.bench.advance(life(240));
        let other = frames::tcp((CLIENT, 6001), (SERVER, 81), SYN, b"");
        assert_eq!(world.bench.send(hooks.out, &other).verdict, Verdict::NoPort);
        assert_eq!(world.bench.sweep(), 2, "both sessions are there yet");
    }
}

/// Room is made by what has rested long enough before anything is given up.
#[test]
fn nothing_is_given_up_while_there_is_room() {
    let waits = waits(300, 300, 0, 0);
    let mut world = World::new(BOTH[0], format!("{INTERNET}ports = \"4000-4003\"\n"), waits);
    // Used again and again, so that the queue is full of places of tuples that are in use.
    for round in 0..MAX_COOLING as u16 {
        for n in 0..2 {
            world.whole(5000 + 2 * round + n);
        }
        world.wait_ns(310 * SECOND);
        world.bench.sweep();
    }
    assert_eq!(world.bench.cooldown_counters().released_early, 0);
}

#[test]
fn new_settings_hold_for_what_rests_already() {
    for hooks in BOTH {
        let mut world =
            World::new(hooks, format!("{INTERNET}ports = \"4000-4000\"\n"), waits(240, 240, 0, 0));
        world.whole(5000);
        world.wait_ns(SECOND + LATE);
        assert!(world.refused(6000));
        world.rests(waits(1, 1, 0, 0));
        assert!(!world.refused(6001), "240 s → 1 s frees at once");
        // And back again: what has not been used meanwhile rests on.
        let mut world =
            World::new(hooks, format!("{INTERNET}ports = \"4000-4000\"\n"), waits(10, 10, 0, 0));
        world.whole(5000);
        world.wait_ns(20 * SECOND);
        world.rests(waits(240, 240, 0, 0));
        assert!(world.refused(6000), "10 s → 240 s rests again");
        world.rests(Cooldown { enabled: 0, ..waits(240, 240, 0, 0) });
        assert!(!world.refused(6001));
    }
}

#[test]
fn without_a_cooldown_a_port_is_free_at_once_and_nothing_is_remembered() {
    for hooks in BOTH {
        for cooldown in [NO_COOLDOWN, waits(0, 0, 0, 0)] {
            let world = World::new(hooks, format!("{INTERNET}ports = \"4000-4000\"\n"), cooldown);
            for n in 0..10 {
                assert_eq!(world.whole(5000 + n), 4000);
            }
            assert_eq!(world.bench.resting(), 0);
        }
    }
}

/// `max_cooling` bounds what rests: the oldest is given up, counted, and no session is harmed.
#[test]
fn the_oldest_gives_way_when_there_is_no_room() {
    for hooks in BOTH {
        let mut world = World::new(hooks, INTERNET.to_owned(), waits(240, 240, 0, 0));
        let live = world.opened(4999);
        for n in 0..MAX_COOLING as u16 + 20 {
            world.whole(5000 + n);
        }
        world.rests(waits(240_000, 240_000, 0, 0));
        world.bench.advance(life(240));
        world.bench.sweep();
        assert_eq!(world.bench.resting(), MAX_COOLING as usize);
        let counters = world.bench.cooldown_counters();
        assert_eq!(counters.rested, u64::from(MAX_COOLING) + 20);
        assert_eq!(counters.released_early, 20);
        assert_eq!(world.back(live, ACK), Verdict::TranslatedIn);
    }
}

#[test]
fn what_has_rested_is_forgotten() {
    let mut world = World::new(BOTH[0], INTERNET.to_owned(), waits(300, 300, 0, 0));
    for n in 0..50 {
        world.whole(5000 + n);
    }
    let closed_ns = life(240).as_nanos() as u64;
    world.wait_ns(closed_ns);
    world.bench.sweep();
    assert_eq!(world.bench.resting(), 50);
    assert_eq!(world.bench.clear(), 0, "none has rested long enough");
    world.wait_ns(300 * SECOND + LATE - closed_ns);
    assert_eq!(world.bench.clear(), 50);
    assert_eq!(world.bench.resting(), 0);
}
