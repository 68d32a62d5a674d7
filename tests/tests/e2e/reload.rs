//! Configurations that change while packets pass.
use std::{
    fmt::Write,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use nat_tests::lab::{
    Offloads, Sniffer,
    nat_ctl::Controller,
    topology::{CLIENT, EXTERNAL, SERVER},
    traffic::{UdpClient, UdpEcho},
};
use nix::sys::signal::Signal;

use crate::gateway::{ANY, Gateway, INTERNET, LIMIT, VARIANTS, at};

/// So many rules in front of [`INTERNET`] that match nothing here; `generation` makes all of them
/// differ from those of another.
fn many_rules(count: u32, generation: u32) -> String {
    let mut rules = String::new();
    for n in 0..count {
        let (high, low) = (n / 256, n % 256);
        write!(
            rules,
            "[[rules]]\nname = \"r{n}\"\nfrom = [\"10.77.{generation}.0/24\"]\n\
             to = [\"198.{}.{low}.0/24\"]\naction = \"drop\"\n",
            18 + high
        )
        .unwrap();
    }
    rules + INTERNET
}

/// [`many_rules`] for one client that opens more sessions than one should.
fn many_rules_without_limits(generation: u32) -> String {
    let limits = "[limits]\nsessions_per_client = 0\nnew_per_second_per_client = 0\n";
    limits.to_owned() + &many_rules(1000, generation)
}

/// What a client that never stops sending has met.
#[derive(Debug)]
struct Met {
    answered: u32,
    sent: u32,
    /// New flows among them.
    flows: u32,
}

/// One client goes on with one flow and opens another one for each datagram, while `meanwhile` is
/// under way.
fn under_traffic(gateway: &Gateway, echo: &UdpEcho, meanwhile: impl FnOnce()) -> Met {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            let old = UdpClient::bind(&gateway.lab.client, ANY);
            let mut met = Met { answered: 0, sent: 0, flows: 1 };
            while !over.load(Ordering::Relaxed) || met.sent < 20 {
                let new = UdpClient::bind(&gateway.lab.client, ANY);
                met.flows += 1;
                for client in [&old, &new] {
                    met.sent += 1;
                    met.answered += u32::from(client.ask(echo.address(), b"x", 1, LIMIT));
                }
            }
            met
        });
        meanwhile();
        over.store(true, Ordering::Relaxed);
        traffic.join().unwrap()
    })
}

/// Nothing was lost, untranslated or dropped.
fn assert_unharmed(gateway: &Gateway, sniffer: Sniffer, echo: &UdpEcho, met: &Met, hook: &str) {
    let stats = gateway.nat.json(&["stats"]);
    let dropped: Vec<_> = stats["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|count| count["fate"] == "dropped")
        .collect();
    assert_eq!(met.answered, met.sent, "{hook}: {met:?} {dropped:?}");
    assert_eq!(sniffer.stop().private_sources(), [], "{hook}");
    assert!(echo.peers().iter().all(|peer| peer.ip() == EXTERNAL), "{hook}");
    assert!(dropped.is_empty(), "{hook}: {dropped:?}");
}

#[test]
fn a_thousand_rules_change_under_traffic() {
    for (hook, offloads) in VARIANTS {
        let gateway = Gateway::new(offloads);
        let _controller = gateway.start(hook, many_rules_without_limits(0));
        let sniffer = Sniffer::start(&gateway.lab.server, "s0");
        let echo = UdpEcho::start(&gateway.lab.server, at(SERVER, 7));
        let met = under_traffic(&gateway, &echo, || {
            for generation in 1..=4 {
                let file = gateway.config(hook, many_rules_without_limits(generation));
                let started = Instant::now();
                let report = gateway.nat.json(&["apply", file.to_str().unwrap()]);
                let took = started.elapsed();
                assert_eq!(report["changes"].as_array().unwrap().len(), 1000);
                println!("{hook}: 1000 of 1001 rules changed and applied in {took:?}");
            }
        });
        println!("{hook}: {met:?}");
        assert_unharmed(&gateway, sniffer, &echo, &met, hook);
    }
}

#[test]
fn sighup_reads_the_file_again_and_a_bad_one_changes_nothing() {
    let gateway = Gateway::new(Offloads::On);
    let controller = gateway.start("tc", INTERNET);
    let says = |controller: &Controller, text: &str| {
        let line = controller.wait_line(LIMIT, |line| line.contains(text));
        assert!(line.is_some(), "`{text}` is missing in: {}", controller.log());
    };
    gateway.config("tc", many_rules(3, 0));
    controller.signal(Signal::SIGHUP);
    says(&controller, "applied the configuration (SIGHUP)");
    let rules = || gateway.nat.json(&["status"])["rules"].as_array().unwrap().len();
    assert_eq!(rules(), 4);

    gateway.config("tc", "[[rules]]\nnam = \"x\"\n");
    controller.signal(Signal::SIGHUP);
    says(&controller, "the old configuration stays (SIGHUP)");
    assert_eq!(rules(), 4);
    assert_eq!(gateway.nat.run(&["status", "--check"]).status.code(), Some(0));
}

#[test]
fn apply_shows_the_difference_and_a_dry_run_only_shows_it() {
    for controlled in [true, false] {
        let gateway = Gateway::new(Offloads::On);
        let controller = gateway.start("tc", INTERNET);
        let controller = if controlled {
            Some(controller)
        } else {
            controller.kill();
            None
        };
        let file = gateway.config("tc", many_rules(2, 0));
        let file = file.to_str().unwrap();
        let rules = || gateway.nat.json(&["status"])["rules"].as_array().unwrap().len();
        let dry = gateway.nat.json(&["apply", file, "--dry-run"]);
        assert_eq!(dry["schema"], "nat-ctl/plan/1");
        assert_eq!(dry["changes"].as_array().unwrap().len(), 2, "{dry}");
        assert_eq!(rules(), 1);
        assert_eq!(gateway.nat.json(&["apply", file])["changes"], dry["changes"]);
        assert_eq!(rules(), 3);
        assert_eq!(gateway.nat.json(&["apply", file])["changes"].as_array().unwrap().len(), 0);
        let text = gateway.nat.text(&["apply", file]);
        assert!(text.contains("no changes"), "{text}");

        // What needs other maps is refused, and nothing is changed.
        let text = format!("[limits]\nmax_sessions = 1000\n{INTERNET}");
        let file = gateway.config("tc", text);
        let refused = gateway.nat.run(&["apply", file.to_str().unwrap()]);
        assert_ne!(refused.status.code(), Some(0));
        assert!(refused.stderr.contains("max_sessions"), "{}", refused.stderr);
        assert_eq!(rules(), 3);
        drop(controller);
    }
}

#[test]
fn rules_are_added_moved_and_removed_in_the_file_and_in_force() {
    let gateway = Gateway::new(Offloads::On);
    let _controller = gateway.start("tc", format!("# the rule that matters\n{INTERNET}"));
    let file = gateway.config("tc", format!("# the rule that matters\n{INTERNET}"));
    let path = file.to_str().unwrap();
    let before = fs::read_to_string(&file).unwrap();
    let echo = UdpEcho::start(&gateway.lab.server, at(SERVER, 7));
    let client = UdpClient::bind(&gateway.lab.client, ANY);
    let open = |limit| {
        let new = UdpClient::bind(&gateway.lab.client, ANY);
        new.ask(echo.address(), b"x", 1, limit)
    };
    assert!(client.ask(echo.address(), b"x", 3, LIMIT) && open(LIMIT));

    let from = CLIENT.to_string();
    let add = |position: &[&str]| {
        let rule = ["rules", "add", "--config", path, "--name", "stop", "--from", &from];
        let what = ["--to", "203.0.113.10", "--action", "drop"];
        drop(gateway.nat.text(&[&rule[..], &what, position].concat()));
    };
    add(&["--first"]);
    let silence = Duration::from_millis(200);
    assert!(!open(silence), "the new rule is in force");
    assert!(client.ask(echo.address(), b"x", 1, LIMIT), "sessions go on");
    drop(gateway.nat.text(&["rules", "move", "stop", "--config", path, "--last"]));
    assert!(open(LIMIT), "behind the other one it matches nothing");
    drop(gateway.nat.text(&["rules", "remove", "stop", "--config", path]));
    assert_eq!(fs::read_to_string(&file).unwrap(), before, "comments are kept");
    let list = gateway.nat.json(&["rules", "list"]);
    assert_eq!(list["schema"], "nat-ctl/rules/1");
    assert_eq!(list["rules"].as_array().unwrap().len(), 1);

    // What does not fit is refused, and neither the file nor the rules change.
    let twice = ["rules", "add", "--config", path, "--name", "internet", "--from", &from];
    let bad = gateway.nat.run(&[&twice[..], &["--to", "0.0.0.0/0", "--action", "drop"]].concat());
    assert_eq!(bad.status.code(), Some(2), "{}", bad.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
}

/// `rules add` with as many rules as there may be, while packets pass.
#[test]
fn rules_are_added_to_a_long_table_under_traffic() {
    for (hook, offloads) in VARIANTS {
        let gateway = Gateway::new(offloads);
        let file = gateway.config(hook, many_rules_without_limits(0));
        let _controller = gateway.nat.start(&file);
        let sniffer = Sniffer::start(&gateway.lab.server, "s0");
        let echo = UdpEcho::start(&gateway.lab.server, at(SERVER, 7));
        let met = under_traffic(&gateway, &echo, || {
            for n in 0..4 {
                let name = format!("added{n}");
                let started = Instant::now();
                drop(gateway.nat.text(&[
                    "rules",
                    "add",
                    "--config",
                    file.to_str().unwrap(),
                    "--name",
                    &name,
                    "--from",
                    "10.77.9.0/24",
                    "--to",
                    "198.51.100.0/24",
                    "--action",
                    "drop",
                    "--first",
                ]));
                println!("{hook}: a rule added to {} in {:?}", 1001 + n, started.elapsed());
            }
        });
        assert_unharmed(&gateway, sniffer, &echo, &met, hook);
        let rules = gateway.nat.json(&["status"])["rules"].as_array().unwrap().len();
        assert_eq!(rules, 1005, "{hook}");
    }
}

#[test]
fn flushed_sessions_are_gone_and_open_anew() {
    let gateway = Gateway::new(Offloads::On);
    let _controller = gateway.start("tc", INTERNET);
    let echo = UdpEcho::start(&gateway.lab.server, at(SERVER, 7));
    let clients: Vec<_> = (0..100).map(|_| UdpClient::bind(&gateway.lab.client, ANY)).collect();
    for client in &clients {
        assert!(client.ask(echo.address(), b"x", 3, LIMIT));
    }
    assert_eq!(gateway.sessions().len(), 100);
    let refused = gateway.nat.run(&["sessions", "flush", "--all"]);
    assert_eq!(refused.status.code(), Some(2), "nobody there to be asked: {}", refused.stderr);
    let one = format!(":{}", clients[0].local().port());
    let flush = |filter: &[&str]| {
        let report = gateway.nat.json(&[&["sessions", "flush", "--yes"], filter].concat());
        report["flushed"].as_u64().unwrap()
    };
    assert_eq!(flush(&["--inside", &one]), 1);
    assert_eq!(gateway.sessions().len(), 99);
    assert_eq!(flush(&["--all"]), 99);
    assert_eq!(gateway.sessions().len(), 0);
    assert!(clients[5].ask(echo.address(), b"again", 1, LIMIT));
    assert_eq!(gateway.sessions().len(), 1);
}
