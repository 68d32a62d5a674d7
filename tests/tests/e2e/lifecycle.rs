//! Start, end, crash and removal.
use std::time::Duration;

use nat_common::instance::{HookMode, HookReason, Role};
use nat_ctl::{
    compile::{Host, OutsideInterface, compile},
    config::Config,
    datapath::{
        ConfigText, Interface,
        kernel::{self, Plan, attach::TcKind, load::LogLevel, maps::Sizes, pins::Pins},
    },
    host::Namespace,
    sources::Sources,
};
use nat_tests::lab::{
    BpfFs, Lab, Offloads, process,
    topology::{CLIENT, EXTERNAL, SERVER},
    traffic::{HttpServer, UdpClient, UdpEcho, download},
    wait,
};

use crate::gateway::{ANY, Gateway, INTERNET, LIMIT, VARIANTS, at};

/// Programs on the gateway's interfaces, as iproute2 shows them.
fn attached(lab: &Lab) -> Vec<String> {
    let links = process::tool(&lab.gateway, "ip", &["-details", "link", "show"]);
    let xdp = links.lines().filter(|line| line.contains("prog/xdp")).map(str::to_owned);
    let filters = ["lan0", "wan0"].into_iter().flat_map(|device| {
        ["ingress", "egress"].into_iter().flat_map(move |side| {
            let arguments = ["filter", "show", "dev", device, side];
            let filters = process::tool(&lab.gateway, "tc", &arguments);
            filters.lines().map(str::to_owned).collect::<Vec<_>>()
        })
    });
    xdp.chain(filters).collect()
}

#[test]
fn sessions_go_on_and_can_be_read_without_a_controller() {
    for (hook, offloads) in VARIANTS {
        for crash in [false, true] {
            let gateway = Gateway::new(offloads);
            let lab = &gateway.lab;
            let controller = gateway.start(hook, INTERNET);
            assert_eq!(gateway.nat.run(&["status", "--check"]).status.code(), Some(0));
            let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
            let client = UdpClient::bind(&lab.client, ANY);
            assert!(client.ask(echo.address(), b"before", 3, LIMIT));
            if crash {
                controller.kill();
            } else {
                assert!(controller.stop().success());
            }
            assert!(client.ask(echo.address(), b"after", 1, LIMIT), "{hook}");
            let ports: Vec<_> = echo.peers().iter().map(std::net::SocketAddr::port).collect();
            assert!(ports.windows(2).all(|pair| pair[0] == pair[1]), "{hook}: the same session");
            // New ones too.
            let http = HttpServer::start(&lab.server, at(SERVER, 80), 100_000);
            let file = download(&lab.client, None, http.address(), LIMIT).unwrap();
            assert_eq!(file.sha256, http.sha256(), "{hook}");
            assert_eq!(gateway.sessions().len(), 2, "{hook}");
            assert!(gateway.verdicts()["translated_out"] > 2, "{hook}");
            if !crash {
                let status = gateway.nat.json(&["status"]);
                assert_eq!(status["controller"]["running"], false);
                assert_eq!(gateway.nat.run(&["status", "--check"]).status.code(), Some(3));
            }
            gateway.nat.detach();
        }
    }
}

#[test]
fn detach_leaves_nothing() {
    for (hook, offloads) in VARIANTS {
        let gateway = Gateway::new(offloads);
        let before = attached(&gateway.lab);
        let controller = gateway.start(hook, INTERNET);
        drop(controller);
        gateway.nat.detach();
        // The kernel frees links a moment after their last reference is gone.
        let gone = wait::until(LIMIT, || (attached(&gateway.lab) == before).then_some(()));
        assert!(gone.is_some(), "{hook}: {:?}", attached(&gateway.lab));
        let again = gateway.nat.run(&["sessions", "list"]);
        assert_eq!(again.status.code(), Some(4));
        assert!(again.stderr.contains("is not attached"), "{}", again.stderr);
        // And it can start over.
        let _controller = gateway.start(hook, INTERNET);
    }
}

/// Linux before 6.6 has no TCX: the programs are filters of a clsact qdisc there.
#[test]
fn clsact_filters_do_what_tcx_links_do() {
    let lab = Lab::new(Offloads::Off);
    let bpffs = BpfFs::new();
    let config = format!("[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n{INTERNET}");
    let text = ConfigText { name: "test.toml".to_owned(), text: config.clone() };
    let config = Config::parse(&config, "test.toml").unwrap();
    lab.gateway.enter(|| {
        let index = |name: &str| nix::net::if_::if_nametoindex(name).unwrap();
        let interface = |name: &str, role| Interface {
            index: index(name),
            name: name.to_owned(),
            role,
            hook: HookMode::Tc,
            why: HookReason::Configured,
            because_of: 0,
            mac: [0; 6],
        };
        let outside = OutsideInterface {
            index: index("wan0"),
            name: "wan0".to_owned(),
            addresses: vec![EXTERNAL],
        };
        let (table, _) =
            compile(&config, &Host { outside: vec![outside], ..Host::default() }).unwrap();
        let plan = || Plan {
            pins: Pins::new(&bpffs.path(), "clsact").unwrap(),
            namespace: Namespace::current().unwrap(),
            tc: TcKind::Clsact,
            sizes: Sizes { sessions: 64, cooling: 64 },
            log: LogLevel::Off,
        };
        let interfaces = [interface("wan0", Role::Outside), interface("lan0", Role::Inside)];
        // The second time it is adopted: the programs of the filters are replaced.
        for adopted in [false, true] {
            let mut instance = kernel::take(plan()).unwrap();
            assert_eq!(instance.adopted(), adopted);
            instance.start(&table, &Sources::default(), &text, &interfaces).unwrap();
            // The filters stay when the process lets go.
        }
    });
    assert_eq!(attached(&lab).iter().filter(|line| line.contains("tc_")).count(), 3);

    let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
    let client = UdpClient::bind(&lab.client, ANY);
    assert!(client.ask(echo.address(), b"hello", 3, LIMIT));
    assert_eq!(echo.peers()[0].ip(), EXTERNAL);

    let pins = Pins::new(&bpffs.path(), "clsact").unwrap();
    lab.gateway.enter(|| kernel::detach(&pins, None, LIMIT, |_| {})).unwrap();
    assert_eq!(attached(&lab).iter().filter(|line| line.contains("tc_")).count(), 0);
    assert!(!client.ask(echo.address(), b"gone", 1, Duration::from_millis(300)));
}

/// `-vv` says why a packet did not get through.
#[test]
fn the_data_path_logs_on_request() {
    let gateway = Gateway::new(Offloads::On);
    let lab = &gateway.lab;
    let config = gateway.config("tc", INTERNET);
    let controller = gateway.nat.start_with(&["-vv", "run", "--config", config.to_str().unwrap()]);
    let client = UdpClient::bind(&lab.client, ANY);
    client.send(at(SERVER, 7), b"hello").unwrap();
    let expected = format!("{CLIENT} to {SERVER}, protocol 17, out by interface ");
    let line = controller.wait_line(LIMIT, |line| line.contains(&expected));
    assert!(line.is_some_and(|line| line.contains(": verdict 0")), "{}", controller.log());
}

#[test]
fn a_started_controller_sweeps() {
    let gateway = Gateway::new(Offloads::On);
    let lab = &gateway.lab;
    let _controller = gateway.start("tc", format!("[timeouts]\nudp = \"1s\"\n{INTERNET}"));
    let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
    let client = UdpClient::bind(&lab.client, ANY);
    assert!(client.ask(echo.address(), b"hello", 3, LIMIT));
    // What an ended session has carried is added to its rule when it is removed, so the rule's
    // totals with no live session left show that it was. (One that is removed while `stats` reads may
    // be counted in both for that once.)
    let removed = wait::until(Duration::from_secs(15), || {
        let rule = gateway.nat.json(&["stats"])["rules"][0].clone();
        (rule["live_sessions"] == 0 && rule["packets"]["out"] == 1).then_some(())
    });
    assert!(removed.is_some(), "it was never removed: {}", gateway.nat.json(&["stats"]));
}
