//! Which hook packets take: chosen for interfaces as they are, and changed while packets pass.
use std::{
    io::{self, Read, Write},
    net::TcpListener,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use nat_common::instance::{HookMode, HookReason, Role};
use nat_ctl::{
    compile::{Host, compile},
    config::Config,
    datapath::{
        ConfigText, Interface, State as _,
        kernel::{self, Plan, attach::TcKind, load::LogLevel, maps::Sizes, pins::Pins},
    },
    host::Namespace,
    sources::Sources,
};
use nat_tests::lab::{
    BpfFs, Lab, Offloads, Sniffer, process,
    topology::{EXTERNAL, SERVER},
    traffic::tcp_connect,
    wait,
};

use crate::gateway::{Gateway, INTERNET, LIMIT, at};

/// Of what the client sends before it waits for the echo.
const BLOCK_BYTES: usize = 16 * 1024;

#[test]
fn auto_takes_tc_on_veth_and_says_why() {
    let gateway = Gateway::new(Offloads::On);
    let controller = gateway.start("auto", INTERNET);
    let status = gateway.nat.json(&["status"]);
    let interfaces = status["interfaces"].as_array().unwrap();
    assert_eq!(interfaces.len(), 2);
    for interface in interfaces {
        assert_eq!(interface["hook"], "tc", "{status}");
        assert_eq!(interface["why"], "partial-checksums", "{status}");
    }
    let why = "a veth or tap hands over packets without whole checksums";
    let text = gateway.nat.text(&["status"]);
    assert_eq!(text.matches(why).count(), 2, "{text}");
    for name in ["wan0 (outside)", "lan0 (inside)"] {
        assert!(controller.log().contains(&format!("{name}: tc: {why}")), "{}", controller.log());
    }

    let file = gateway.config("tc", INTERNET);
    let _ = gateway.nat.json(&["apply", file.to_str().unwrap()]);
    let status = gateway.nat.json(&["status"]);
    assert_eq!(status["interfaces"][0]["why"], "configured", "{status}");
    let said = controller.wait_line(LIMIT, |line| line.contains("lan0 (inside): tc: `hook` says"));
    assert!(said.is_some(), "{}", controller.log());
}

/// Packets that were translated at XDP.
pub fn at_xdp(gateway: &Gateway) -> u64 {
    let stats = gateway.nat.json(&["stats"]);
    let counts = stats["verdicts"].as_array().unwrap().iter();
    let xdp = counts.filter(|count| count["hook"].as_str().unwrap().starts_with("xdp"));
    let translated = xdp.filter(|count| count["fate"] == "translated");
    translated.map(|count| count["packets"].as_u64().unwrap()).sum()
}

/// Says that it is over, also when a test has failed.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends blocks to an echo and compares what comes back until told to stop.
fn talk(mut stream: std::net::TcpStream, blocks: &AtomicU64, over: &AtomicBool) -> io::Result<()> {
    let mut answer = vec![0; BLOCK_BYTES];
    while !over.load(Ordering::Relaxed) {
        let number = blocks.load(Ordering::Relaxed);
        let block: Vec<u8> = (0..BLOCK_BYTES).map(|at| (at as u64 ^ number) as u8).collect();
        stream.write_all(&block)?;
        stream.read_exact(&mut answer)?;
        if answer != block {
            return Err(io::Error::other(format!("block {number} came back as another one")));
        }
        blocks.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[test]
fn a_transfer_goes_on_while_the_hook_changes() {
    let gateway = Gateway::new(Offloads::Off);
    let lab = &gateway.lab;
    let controller = gateway.start("xdp", INTERNET);
    let sniffer = Sniffer::start(&lab.server, "s0");
    let listener = lab.server.enter(|| TcpListener::bind(at(SERVER, 7))).unwrap();
    let (blocks, over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, peer) = listener.accept().unwrap();
            assert_eq!(peer.ip(), EXTERNAL);
            // Ends with the client's connection.
            let _ = io::copy(&mut stream.try_clone().unwrap(), &mut stream);
        });
        let stream = tcp_connect(&lab.client, None, at(SERVER, 7), LIMIT).unwrap();
        let talk = scope.spawn(|| talk(stream, &blocks, &over));
        let end = End(&over);
        let more = |hook: &str| {
            let until = blocks.load(Ordering::Relaxed) + 50;
            let enough = || (blocks.load(Ordering::Relaxed) >= until).then_some(());
            assert!(wait::until(LIMIT, enough).is_some(), "{hook}: {:?}", gateway.verdicts());
        };
        more("xdp");
        let session = gateway.sessions();
        assert_eq!(session.len(), 1);
        for hook in ["tc", "xdp", "tc", "xdp"] {
            let file = gateway.config(hook, INTERNET);
            let report = gateway.nat.json(&["apply", file.to_str().unwrap()]);
            assert_eq!(report["changes"][0]["key"], "interfaces.hook", "{report}");
            assert_eq!(report["changes"][0]["live"], true, "{report}");
            let status = gateway.nat.json(&["status"]);
            assert!(
                status["interfaces"].as_array().unwrap().iter().all(|one| one["hook"] == hook),
                "{status}"
            );
            let before = at_xdp(&gateway);
            more(hook);
            let after = at_xdp(&gateway);
            assert_eq!(after > before, hook == "xdp", "{hook}: {before} → {after} at XDP");
            let now = gateway.sessions();
            assert_eq!(now.len(), 1, "{hook}");
            assert_eq!(now[0]["outside"], session[0]["outside"], "{hook}");
        }
        drop(end);
        talk.join().unwrap().unwrap();
    });
    assert_eq!(sniffer.stop().private_sources(), []);
    assert!(
        controller.log().contains("wan0 (outside): tc: `hook` says so"),
        "{}",
        controller.log()
    );
}

/// XDP by choice, on these interfaces: what they have in the end.
fn chosen_xdp(lab: &Lab) -> Vec<(String, HookMode, HookReason, u32)> {
    let bpffs = BpfFs::new();
    let config = format!("[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n{INTERNET}");
    let text = ConfigText { name: "test.toml".to_owned(), text: config.clone() };
    let config = Config::parse(&config, "test.toml").unwrap();
    let (table, _) = compile(&config, &Host::default()).unwrap();
    lab.gateway.enter(|| {
        let interface = |name: &str, role| Interface {
            index: nix::net::if_::if_nametoindex(name).unwrap(),
            name: name.to_owned(),
            role,
            hook: HookMode::Xdp,
            why: HookReason::Able,
            because_of: 0,
            mac: [0; 6],
        };
        let pins = Pins::new(&bpffs.path(), "chosen").unwrap();
        let mut instance = kernel::take(Plan {
            pins: pins.clone(),
            namespace: Namespace::current().unwrap(),
            tc: TcKind::Tcx,
            sizes: Sizes { sessions: 64, cooling: 64 },
            log: LogLevel::Off,
        })
        .unwrap();
        let interfaces = [interface("wan0", Role::Outside), interface("lan0", Role::Inside)];
        instance.start(&table, &Sources::default(), &text, &interfaces).unwrap();
        let mut found = instance.interfaces().unwrap();
        found.sort_by(|one, other| other.name.cmp(&one.name));
        for one in &found {
            // What is said of them is so.
            let shown = process::tool(&lab.gateway, "ip", &["link", "show", "dev", &one.name]);
            assert_eq!(shown.contains("prog/xdp"), one.hook == HookMode::Xdp, "{shown}");
        }
        drop(instance);
        kernel::detach(&pins, None, LIMIT, |_| {}).unwrap();
        let culprit = |index| interfaces.iter().position(|one| one.index == index);
        let what = |one: Interface| {
            let culprit = culprit(one.because_of).map_or(0, |at| at as u32 + 1);
            (one.name, one.hook, one.why, culprit)
        };
        found.into_iter().map(what).collect()
    })
}

#[test]
fn what_turns_out_unable_has_tc_together_with_the_others() {
    let expect = |lab: &Lab, wan: (HookMode, HookReason, u32), lan: (HookMode, HookReason, u32)| {
        let expected = [("wan0", wan), ("lan0", lan)];
        let expected =
            expected.map(|(name, (hook, why, culprit))| (name.to_owned(), hook, why, culprit));
        assert_eq!(chosen_xdp(lab), expected);
    };
    let able = (HookMode::Xdp, HookReason::Able, 0);
    let refused = (HookMode::Tc, HookReason::Refused, 0);
    let no_redirect = (HookMode::Tc, HookReason::NoRedirect, 0);
    let because_of = |at| (HookMode::Tc, HookReason::OtherInterface, at);
    let lab = Lab::new(Offloads::Off);
    expect(&lab, able, able);
    // A veth refuses where its peer has more queues to send; the program of wan0 is there by then.
    process::tool(&lab.client, "ethtool", &["-L", "c0", "tx", "2"]);
    expect(&lab, because_of(2), refused);
    process::tool(&lab.client, "ethtool", &["-L", "c0", "tx", "1"]);
    // It takes redirected frames only if its peer does GRO.
    process::tool(&lab.server, "ethtool", &["-K", "s0", "gro", "off"]);
    expect(&lab, no_redirect, because_of(1));
}
