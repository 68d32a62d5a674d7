//! Ports that rest and give way, where no other is free, to a SYN that cannot be taken for a part of the
//! old connection.
use std::time::Duration;

use nat_common::{
    cooldown::{Cooldown, Scope},
    verdict::Verdict,
};

use super::{
    bench::{BOTH, Bench, Hooks, INTERNET, NO_COOLDOWN},
    frames::{self, ACK, CLIENT, FIN, GATEWAY, Place, RST, SERVER, SYN},
    lifetime::{LATE, grace, life},
};

/// A rest that outlasts every session.
const REST: Cooldown =
    Cooldown { wait_ns: [20_000_000_000_000; 4], enabled: 1, pressure_reuse: 1, ..NO_COOLDOWN };

/// The client's first sequence number: the numbers wrap within the connection.
const FIRST: u32 = u32::MAX;
/// What follows its FIN.
const NEXT: u32 = 1;

struct World {
    bench: Bench,
    hooks: Hooks,
}

impl World {
    /// With so many ports.
    fn new(hooks: Hooks, ports: u16, cooldown: Cooldown) -> Self {
        let mut bench = Bench::new(INTERNET);
        bench.cooldown = Some(cooldown);
        let last = 3999 + ports;
        bench.apply(&format!("{INTERNET}ports = \"4000-{last}\"\nprotocols = [\"tcp\"]\n"));
        Self { bench, hooks }
    }

    fn client(&self, port: u16, flags: u8, sequence: u32) -> (Verdict, u16) {
        let place = Place::at(sequence, if flags & ACK == 0 { 0 } else { 9001 });
        let frame = frames::tcp_at((CLIENT, port), (SERVER, 80), flags, place, b"");
        let seen = self.bench.send(self.hooks.out, &frame);
        (seen.verdict, frames::read(&seen.frame).source.1)
    }

    fn server(&self, external: u16, flags: u8, sequence: u32, acknowledges: u32) {
        let place = Place::at(sequence, acknowledges);
        let frame = frames::tcp_at((SERVER, 80), (GATEWAY, external), flags, place, b"");
        assert_eq!(self.bench.send(self.hooks.inbound, &frame).verdict, Verdict::TranslatedIn);
    }

    fn established(&self, port: u16) -> u16 {
        let (verdict, external) = self.client(port, SYN, FIRST);
        assert_eq!(verdict, Verdict::TranslatedOut);
        self.server(external, SYN | ACK, 9000, FIRST.wrapping_add(1));
        self.client(port, ACK, FIRST.wrapping_add(1));
        external
    }

    /// A connection from the first SYN to the last ACK.
    fn whole(&self, port: u16) -> u16 {
        let external = self.established(port);
        self.client(port, FIN | ACK, FIRST.wrapping_add(1));
        self.server(external, FIN | ACK, 9001, NEXT);
        self.client(port, ACK, NEXT);
        external
    }

    fn wait(&mut self, seconds: u64) {
        self.bench.advance(Duration::from_secs(seconds));
    }

    /// What becomes of another client's SYN; nothing, if it is refused.
    fn opens(&self, sequence: u32) -> Option<u16> {
        match self.client(50_000, SYN, sequence) {
            (Verdict::TranslatedOut, external) => Some(external),
            (Verdict::NoPort, _) => None,
            (verdict, _) => panic!("{verdict:?}"),
        }
    }

    fn reused(&self) -> u64 {
        self.bench.cooldown_counters().reused_early
    }
}

/// While the session is still there for late packets, and when only the tuple rests.
#[test]
fn rfc6191_only_a_syn_beyond_the_last_number_gets_a_port_early() {
    for hooks in BOTH {
        for idle in [2, 300] {
            for (beyond, gets_it) in
                [(0, false), (u32::MAX, false), (1 << 31, false), (1, true), ((1 << 31) - 1, true)]
            {
                let mut world = World::new(hooks, 1, REST);
                world.whole(1);
                world.wait(idle);
                world.bench.sweep();
                assert_eq!(world.bench.resting(), usize::from(idle == 300));
                let got = world.opens(NEXT.wrapping_add(beyond));
                assert_eq!(got, gets_it.then_some(4000), "{beyond} after {idle} s");
                assert_eq!(world.reused(), u64::from(gets_it));
                assert_eq!(
                    (world.bench.entries(), world.bench.claims()),
                    match (gets_it, idle) {
                        (false, 300) => (0, 0),
                        _ => (1, 1),
                    }
                );
            }
        }
    }
}

#[test]
fn the_port_that_has_rested_longest_goes_first_and_works() {
    for hooks in BOTH {
        let mut world = World::new(hooks, 8, REST);
        let mut ports = Vec::new();
        for port in 1..=8 {
            ports.push(world.whole(port));
            world.wait(if port == 4 { 300 } else { 2 });
            world.bench.sweep();
        }
        for (number, oldest) in ports.iter().enumerate() {
            let port = 60_000 + number as u16;
            let (verdict, external) = world.client(port, SYN, 77);
            assert_eq!((verdict, external), (Verdict::TranslatedOut, *oldest), "{number}");
            world.server(external, SYN | ACK, 5, 78);
            assert_eq!(world.client(port, ACK, 78).0, Verdict::TranslatedOut);
            world.wait(2);
        }
        assert_eq!(world.reused(), 8);
        assert_eq!(world.opens(1000), None, "all are in use");
        assert_eq!(world.bench.sessions().len(), 8);
        assert!(world.bench.sessions().iter().all(|session| session.state == "established"));
    }
}

/// The port is free again when the session that took it is over, whether or not somebody has removed that,
/// and not only when the connection before would have rested long enough.
#[test]
fn a_port_that_gave_way_is_found_free_after_its_last_session() {
    let [rst, half_open, _, udp] = [1_000_000_000; 4];
    let cooldown = Cooldown { wait_ns: [rst, half_open, REST.wait_ns[2], udp], ..REST };
    for hooks in BOTH {
        let mut world = World::new(hooks, 1, cooldown);
        world.whole(1);
        world.wait(2);
        assert_eq!(world.opens(NEXT.wrapping_add(1)), Some(4000));
        assert_eq!(world.reused(), 1);
        world.wait(240);
        assert_eq!(world.client(2, SYN, 500).0, Verdict::NoPort);
        // Nobody has answered it: it rests for a second.
        world.bench.advance(grace(240) + Duration::from_nanos(half_open) + LATE);
        assert_eq!(world.client(2, SYN, 500), (Verdict::TranslatedOut, 4000));
        assert_eq!(world.reused(), 1);
    }
}

/// A session that opened early ends as any other, and its tuple rests from then on.
#[test]
fn a_port_that_gave_way_rests_again() {
    for hooks in BOTH {
        let mut world = World::new(hooks, 1, REST);
        world.whole(1);
        world.wait(300);
        world.bench.sweep();
        let (_, external) = world.client(2, SYN, 500);
        world.server(external, RST | ACK, 0, 501);
        world.wait(300);
        world.bench.sweep();
        assert_eq!((world.bench.entries(), world.bench.resting()), (0, 1));
        assert_eq!(world.opens(100_000), None, "it was reset");
    }
}

/// Never silently: without the setting all ports rest until their time.
#[test]
fn without_the_setting_nothing_gives_way() {
    for hooks in BOTH {
        let port = Scope::Port as u8;
        for cooldown in [Cooldown { pressure_reuse: 0, ..REST }, Cooldown { scope: port, ..REST }] {
            let mut world = World::new(hooks, 4, cooldown);
            (1..=4).for_each(|port| _ = world.whole(port));
            for idle in [2, 300] {
                world.wait(idle);
                world.bench.sweep();
                assert_eq!(world.opens(1000), None);
            }
            assert_eq!(world.reused(), 0);
        }
    }
}

/// The server of such a connection may not be in TIME_WAIT, or its last packet still be on its way.
#[test]
fn what_was_not_closed_by_both_sides_or_just_now_does_not_give_way() {
    type End = fn(&World);
    let ends: [(&str, u64, End); 5] = [
        ("reset", 2, |world| {
            world.established(1);
            world.client(1, RST, FIRST.wrapping_add(1));
        }),
        ("never answered", 2, |world| _ = world.client(1, SYN, FIRST)),
        ("closed by one side", 2, |world| {
            world.established(1);
            world.client(1, FIN | ACK, FIRST.wrapping_add(1));
        }),
        ("silent for hours", life(7440).as_secs() + 1, |world| _ = world.established(1)),
        ("just now", 0, |world| _ = world.whole(1)),
    ];
    for hooks in BOTH {
        for (what, idle, end) in ends {
            let mut world = World::new(hooks, 1, REST);
            end(&world);
            world.wait(idle);
            assert_eq!(world.opens(1000), None, "{what}");
            world.bench.sweep();
            assert_eq!(world.opens(1000), None, "{what}");
            assert_eq!(world.reused(), 0, "{what}");
        }
    }
}
