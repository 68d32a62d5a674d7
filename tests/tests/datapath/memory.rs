//! What is remembered of a busy destination's ports, and for how long it holds.
use std::{sync::Arc, time::Duration};

use nat_common::{
    cooldown::{Cooldown, Reason},
    stats::Hook,
    verdict::Verdict,
};
use nat_ctl::datapath::{State as _, kernel::maps::Sizes};

use super::{
    bench::{self, BOTH, Bench, INTERNET, NO_COOLDOWN},
    frames::{self, CLIENT, SERVER},
    lifetime::{grace, life},
};

/// Ports of the rule, from the middle of 64 that are looked at together on.
const PORTS: u16 = 4000;
const FIRST: u16 = 4020;

/// Those that are free at 99 %.
const FREE: u16 = PORTS / 100;

/// A rule by which each port serves many destinations.
fn rules(extra: &str) -> String {
    let (first, last) = (FIRST, FIRST + PORTS - 1);
    format!(
        "{INTERNET}ports = \"{first}-{last}\"\nmapping = \"address-and-port-dependent\"\n{extra}"
    )
}

/// A rule that has nothing to do with it.
const OTHER: &str = r#"
[[rules]]
name = "other"
from = ["10.77.0.0/24"]
to = ["192.0.2.0/24"]
action = "drop"
"#;

/// A gateway of which a number of the ports toward the server are taken.
struct Busy {
    bench: Bench,
    hook: Hook,
    /// The next client port.
    next: u16,
}

impl Busy {
    fn new(hook: Hook, taken: u16, cooldown: Cooldown) -> Self {
        let sizes = Sizes { sessions: 8192, cooling: 8192 };
        let mut busy = Self::with(hook, &rules(""), sizes, cooldown);
        busy.take(taken);
        busy
    }

    fn with(hook: Hook, rules: &str, sizes: Sizes, cooldown: Cooldown) -> Self {
        let lab = bench::laboratory().build();
        bench::neighbour_at(&lab, "lan0", "10.77.0.2");
        bench::neighbour_at(&lab, "wan0", "203.0.113.10");
        let mut bench = Bench::sized(Arc::new(lab), sizes);
        bench.cooldown = Some(cooldown);
        bench.apply(rules);
        Self { bench, hook, next: 1 }
    }

    /// Opens so many sessions.
    #[track_caller]
    fn take(&mut self, count: u16) {
        let before = self.bench.entries();
        let frames: Vec<_> = (0..count).map(|_| self.frame()).collect();
        self.bench.send_all(self.hook, &frames);
        assert_eq!(self.bench.entries() - before, usize::from(count), "some were refused");
    }

    fn frame(&mut self) -> Vec<u8> {
        self.next += 1;
        frames::udp((CLIENT, self.next), (SERVER, 3478), b"x")
    }

    /// Opens another session: its verdict, the claims that were tried, and its port.
    fn open(&mut self) -> (Verdict, u64, u16) {
        let frame = self.frame();
        let [before, _] = self.bench.effort();
        let seen = self.bench.send(self.hook, &frame);
        let [after, _] = self.bench.effort();
        (seen.verdict, after - before, frames::read(&seen.frame).source.1)
    }

    /// Ends so many sessions.
    fn end(&self, count: u16) {
        let pairs = self.bench.state().sessions().unwrap();
        let keys: Vec<_> = pairs.iter().map(|pair| pair.key).take(count.into()).collect();
        let lab = self.bench.lab();
        let ended = lab.gateway.enter(|| self.bench.with_keys_here("flush", &keys));
        assert_eq!(ended, u32::from(count));
    }

    /// Opens so many sessions, after which there is no port any more.
    #[track_caller]
    fn fill(&mut self, free: u16) {
        self.take(free);
        assert_eq!(self.open().0, Verdict::NoPort, "there was another one");
    }
}

/// All ports have been taken, so each is known: a connection tries the one that it gets.
#[test]
fn a_new_rule_table_forgets_nothing_that_still_holds() {
    for hooks in BOTH {
        let mut busy = Busy::new(hooks.out, PORTS - FREE, NO_COOLDOWN);
        busy.fill(FREE);
        busy.end(FREE);
        for (half, rules) in
            [(0, format!("{OTHER}{}", rules(""))), (1, format!("{}{OTHER}", rules("mss = 1200\n")))]
        {
            busy.bench.apply(&rules);
            for number in 0..FREE / 2 {
                let (verdict, tries, _) = busy.open();
                assert_eq!((verdict, tries), (Verdict::TranslatedOut, 1), "{half} {number}");
            }
        }
        assert_eq!(busy.open().0, Verdict::NoPort);
        // What a full range's word says holds, too: nothing is tried.
        busy.bench.apply(&rules(""));
        let (verdict, tries, _) = busy.open();
        assert_eq!((verdict, tries), (Verdict::NoPort, 0));
    }
}

#[test]
fn other_ports_are_used_and_left_alone_at_once() {
    for hooks in BOTH {
        let mut busy = Busy::new(hooks.out, PORTS - FREE, NO_COOLDOWN);
        busy.fill(FREE);
        // More.
        let (first, last) = (FIRST - 30, FIRST + PORTS + 9);
        let more = rules("")
            .replace(&format!("{FIRST}-{}", FIRST + PORTS - 1), &format!("{first}-{last}"));
        busy.bench.apply(&more);
        busy.fill(40);
        // Fewer: ended sessions' ports are not used but where they are allowed.
        busy.bench.advance(Duration::from_secs(400));
        busy.bench.sweep();
        let some = format!("exclude_ports = [\"{FIRST}-{}\"]\n", FIRST + PORTS - 11);
        busy.bench.apply(&rules(&some));
        for _ in 0..10 {
            let (verdict, _, port) = busy.open();
            assert_eq!(verdict, Verdict::TranslatedOut);
            assert!(port >= FIRST + PORTS - 10, "{port} is excluded");
        }
        assert_eq!(busy.open().0, Verdict::NoPort);
        // And back.
        busy.bench.apply(&rules(""));
        busy.fill(PORTS - 10);
    }
}

/// A session that goes on under a shorter timeout ends earlier than it would have.
#[test]
fn a_shorter_timeout_frees_at_the_new_end() {
    for hooks in BOTH {
        let two = |udp: u32| {
            let ports = "ports = \"2000-2001\"\nmapping = \"address-and-port-dependent\"\n";
            format!("[timeouts]\nudp = \"{udp}s\"\n{INTERNET}{ports}")
        };
        let sizes = Sizes { sessions: 64, cooling: 64 };
        let mut busy = Busy::with(hooks.out, &two(300), sizes, NO_COOLDOWN);
        let sessions = [busy.frame(), busy.frame()];
        busy.bench.send_all(busy.hook, &sessions);
        busy.bench.advance(Duration::from_secs(200));
        busy.bench.send_all(busy.hook, &sessions);
        busy.bench.apply(&two(60));
        assert_eq!(busy.open().0, Verdict::NoPort, "both live, for 300 s more");
        busy.bench.advance(grace(300));
        busy.bench.send_all(busy.hook, &sessions);
        // Beyond what they would have lived without an answer, too. Nobody has removed them.
        busy.bench.advance(Duration::from_secs(100));
        for _ in 0..2 {
            assert_eq!(busy.open().0, Verdict::TranslatedOut);
        }
    }
}

#[test]
fn a_shorter_cooldown_frees_at_once_and_a_longer_one_is_kept() {
    const SECOND: u64 = 1_000_000_000;
    let waits = |seconds: u64| Cooldown {
        wait_ns: [seconds * SECOND; Reason::COUNT],
        enabled: 1,
        ..NO_COOLDOWN
    };
    for hooks in BOTH {
        let mut busy = Busy::new(hooks.out, PORTS - FREE, waits(1000));
        busy.fill(FREE);
        busy.bench.advance(life(300));
        busy.bench.sweep();
        assert_eq!(busy.open().0, Verdict::NoPort, "all rest");
        // 100 s of 1000 have passed.
        busy.bench.advance(Duration::from_secs(100));
        busy.bench.cooldown = Some(waits(500));
        busy.bench.apply(&rules(""));
        assert_eq!(busy.open().0, Verdict::NoPort, "all rest, for 400 s more");
        busy.bench.cooldown = Some(waits(90));
        busy.bench.apply(&rules(""));
        busy.fill(PORTS);
        // The other way round, before the shorter time has passed.
        busy.bench.advance(life(300));
        busy.bench.sweep();
        busy.bench.cooldown = Some(waits(200));
        busy.bench.apply(&rules(""));
        busy.bench.advance(Duration::from_secs(95));
        for _ in 0..20 {
            assert_eq!(busy.open().0, Verdict::NoPort, "200 s have not passed");
        }
        busy.bench.advance(Duration::from_secs(110));
        busy.fill(PORTS);
    }
}

/// A session that ended under other settings is not taken to be there when the first ones are back.
#[test]
fn what_ended_under_other_settings_in_between_is_free() {
    let waits = |ns| Cooldown { wait_ns: [ns; Reason::COUNT], enabled: 1, ..NO_COOLDOWN };
    for hooks in BOTH {
        let mut busy = Busy::new(hooks.out, PORTS - FREE, waits(2));
        busy.fill(FREE);
        busy.bench.cooldown = Some(waits(1));
        busy.bench.apply(&rules(""));
        busy.bench.flush();
        busy.bench.cooldown = Some(waits(2));
        busy.bench.apply(&rules(""));
        busy.bench.advance(Duration::from_millis(5));
        busy.fill(PORTS);
    }
}

/// Ports of a range that is known after some searches: about 4000 are tried in each.
const MANY: u16 = 20_000;

/// Nothing is known, and of 20,000 ports 20 are free: who does not find one is not told that there is
/// none, and the next one goes on.
#[test]
fn rfc6888_req11_a_search_that_was_not_ended_is_no_refusal() {
    let rules = format!("{INTERNET}ports = \"1024-{}\"\n", 1023 + MANY)
        + "mapping = \"address-and-port-dependent\"\n";
    let rests = Cooldown { wait_ns: [1; Reason::COUNT], enabled: 1, ..NO_COOLDOWN };
    for hooks in BOTH {
        let sizes = Sizes { sessions: 32_768, cooling: 1024 };
        let mut busy = Busy::with(hooks.out, &rules, sizes, rests);
        busy.take(MANY - 20);
        busy.bench.cooldown = Some(NO_COOLDOWN);
        busy.bench.apply(&rules);
        let (mut opened, mut unended, mut most) = (0, 0, 0);
        loop {
            let (verdict, tries, _) = busy.open();
            most = most.max(tries);
            match verdict {
                Verdict::TranslatedOut => opened += 1,
                Verdict::Searching => unended += 1,
                verdict => break assert_eq!(verdict, Verdict::NoPort),
            }
        }
        assert_eq!(opened, 20, "a port was lost");
        assert!(unended <= 6 && most <= 4104, "{unended} unended, {most} tries");
    }
}
