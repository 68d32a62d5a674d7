//! What the controller does about tuples that rest: settings that change while they do, and what
//! outlives controller and data path.
use std::{
    fs,
    net::SocketAddrV4,
    thread::sleep,
    time::{Duration, Instant},
};

use nat_common::{
    addr::{Ipv4, Port},
    cooldown::{Reason, Resting},
    flow::{FlowKey, Protocol},
};
use nat_ctl::{
    compile::{Host, compile},
    config::Config,
    datapath::{
        ConfigText, Datapath, State,
        kernel::{
            self, Attached, Plan, attach::TcKind, cooling::Lacking, load::LogLevel, maps::Sizes,
            pins::Pins,
        },
    },
    host::Namespace,
    sources::Sources,
};
use nat_tests::lab::{
    BpfFs, Lab, Offloads,
    topology::{EXTERNAL, SERVER},
    traffic::{HttpServer, tcp_connect},
    wait,
};
use nix::sys::signal::Signal;

use crate::gateway::{Gateway, INTERNET, LIMIT, at};

/// Too short for a second SYN: the first one is refused or not.
const AT_ONCE: Duration = Duration::from_millis(500);

/// A gateway with a single external port, and servers to reach by it.
struct World {
    gateway: Gateway,
    _servers: Vec<HttpServer>,
}

impl World {
    fn new() -> Self {
        let gateway = Gateway::new(Offloads::On);
        let start = |port| HttpServer::start(&gateway.lab.server, at(SERVER, port), 1);
        let servers = [80, 81, 82, 83].map(start).into();
        Self { gateway, _servers: servers }
    }

    fn rules(cooldown: &str) -> String {
        format!("[cooldown]\n{cooldown}\n{INTERNET}ports = \"4000-4000\"\n")
    }

    fn apply(&self, cooldown: &str) {
        let file = self.gateway.config("tc", Self::rules(cooldown));
        let report = self.gateway.nat.json(&["apply", file.to_str().unwrap()]);
        assert_ne!(report["changes"], serde_json::json!([]), "{cooldown}");
    }

    fn connects(&self, port: u16) -> bool {
        tcp_connect(&self.gateway.lab.client, None, server(port), LIMIT).is_ok()
    }

    /// Whether there is no port for a connection.
    fn refuses(&self, port: u16) -> bool {
        let refusals = || self.gateway.verdicts().get("no_port").copied().unwrap_or_default();
        let before = refusals();
        let connection = tcp_connect(&self.gateway.lab.client, None, server(port), AT_ONCE);
        connection.is_err() && refusals() > before
    }

    /// Has a connection, and ends its session at once: its tuple rests from here on.
    fn use_up(&self, port: u16) {
        let connection = tcp_connect(&self.gateway.lab.client, None, server(port), LIMIT);
        let connection = connection.unwrap();
        let _ = self.gateway.nat.text(&["sessions", "flush", "--all", "--yes"]);
        drop(connection);
    }
}

fn server(port: u16) -> SocketAddrV4 {
    at(SERVER, port)
}

#[test]
fn rfc6888_req8_new_times_hold_for_what_rests_already() {
    let world = World::new();
    let _controller = world.gateway.start("tc", World::rules("time_ms = 240000"));
    world.use_up(80);
    assert!(world.refuses(80), "240 s");
    world.apply("time_ms = 1");
    assert!(world.connects(80), "240 s → 1 ms: free at once");

    // Toward another server: the port is in use toward the first one.
    world.apply("time_ms = 15000");
    let before = Instant::now();
    world.use_up(81);
    let ended = Instant::now();
    world.apply("time_ms = 120000");
    assert!(before.elapsed() < Duration::from_secs(15), "too slow a machine for this test");
    // Past the old time and the sweep after it.
    sleep(Duration::from_millis(17_500).saturating_sub(ended.elapsed()));
    assert!(world.refuses(81), "15 s → 120 s");
    world.apply("time_ms = 15000");
    assert!(world.connects(81), "and back to 15 s, which have passed");
}

#[test]
fn a_cooldown_that_is_switched_off_and_on_again_goes_on() {
    let world = World::new();
    let controller = world.gateway.start("tc", World::rules("time_ms = 240000"));
    world.use_up(80);
    world.apply("enabled = false");
    // Two steps.
    sleep(Duration::from_millis(4500));
    world.apply("enabled = true");
    assert!(world.refuses(80), "nobody has used it meanwhile");
    // The same by the signal.
    world.gateway.config("tc", World::rules("enabled = false"));
    controller.signal(Signal::SIGHUP);
    let line = "applied the configuration (SIGHUP)";
    assert!(controller.wait_line(LIMIT, |text| text.contains(line)).is_some());
    assert!(world.connects(80));
}

/// Without a controller, too.
#[test]
fn ports_that_are_to_rest_toward_everybody_do_so_although_they_ended_before() {
    for with_controller in [true, false] {
        let world = World::new();
        let controller = world.gateway.start("tc", World::rules("scope = \"destination\""));
        if !with_controller {
            assert!(controller.stop().success());
        }
        world.use_up(80);
        assert!(world.refuses(80));
        // Another destination may have the port.
        world.use_up(81);
        world.apply("scope = \"port\"");
        assert!(world.refuses(82), "with a controller: {with_controller}");
        world.apply("scope = \"destination\"");
        assert!(world.connects(82), "with a controller: {with_controller}");
        assert!(world.refuses(80), "with a controller: {with_controller}");
        assert!(world.refuses(81), "with a controller: {with_controller}");
    }
}

#[test]
fn the_room_for_what_rests_stays_as_it_is() {
    let world = World::new();
    let _controller = world.gateway.start("tc", World::rules("max_cooling = 1000"));
    let file = world.gateway.config("tc", World::rules("max_cooling = 2000\ntime_ms = 1"));
    let refused = world.gateway.nat.run(&["apply", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        refused.stderr.contains("not possible while the data path is in place"),
        "{}",
        refused.stderr
    );
    world.use_up(80);
    assert!(world.refuses(80), "nothing of it is in force");
}

/// What `sessions list --state cooling` says: server ports by reason.
fn cooling(world: &World) -> Vec<(u64, String)> {
    let list = world.gateway.nat.json(&["sessions", "list", "--state", "cooling"]);
    assert_eq!(list["schema"], "nat-ctl/sessions/1");
    let tuples = list["sessions"].as_array().unwrap().iter().map(|tuple| {
        assert_eq!(tuple["outside"]["port"], 4000);
        (tuple["remote"]["port"].as_u64().unwrap(), tuple["reason"].as_str().unwrap().to_owned())
    });
    tuples.collect()
}

fn fin(ports: &[u64]) -> Vec<(u64, String)> {
    ports.iter().map(|port| (*port, "fin".to_owned())).collect()
}

#[test]
fn what_cools_is_shown() {
    let world = World::new();
    let _controller = world.gateway.start("tc", World::rules("time_ms = 240000"));
    world.use_up(80);
    assert_eq!(cooling(&world), fin(&[80]));
    let nat = &world.gateway.nat;
    assert_eq!(nat.json(&["sessions", "count", "--state", "cooling"])["count"], 1);
    let status = nat.json(&["status"]);
    assert_eq!(status["cooling"]["cooling"], 1);
    assert!(world.refuses(80));
    assert!(world.connects(81));
    let pools = nat.json(&["pools"]);
    assert_eq!(pools["schema"], "nat-ctl/pools/1");
    let tcp = pools["pools"].as_array().unwrap().iter().find(|pool| pool["proto"] == "tcp");
    let tcp = tcp.unwrap();
    assert_eq!((&tcp["ports"], &tcp["in_use"], &tcp["free"]), (&1.into(), &1.into(), &0.into()));
    assert_eq!(tcp["hottest"][0]["free"], 0);
    assert!(pools["refusals"]["no_port"].as_u64().unwrap() > 0);
    assert!(nat.text(&["pools"]).contains("203.0.113.1"));
    assert!(nat.text(&["sessions", "list", "--state", "cooling"]).contains("fin"));
    let flush = nat.run(&["sessions", "flush", "--state", "cooling", "--yes"]);
    assert_eq!(flush.status.code(), Some(2));
}

#[test]
fn what_cools_survives_a_crash_of_the_controller_and_a_reload() {
    let world = World::new();
    let controller = world.gateway.start("tc", World::rules("time_ms = 240000"));
    world.use_up(80);
    controller.signal(Signal::SIGHUP);
    let line = "applied the configuration (SIGHUP)";
    assert!(controller.wait_line(LIMIT, |text| text.contains(line)).is_some());
    assert!(world.refuses(80), "reloaded");
    controller.kill();
    assert!(world.refuses(80), "without a controller");
    let _controller = world.gateway.start("tc", World::rules("time_ms = 240000"));
    assert!(world.refuses(80), "with another controller");
    assert_eq!(cooling(&world), fin(&[80]));
}

/// Live sessions end with the data path: the servers still have their connections.
#[test]
fn what_cools_survives_detach_and_attach() {
    let world = World::new();
    let controller = world.gateway.start("tc", World::rules("time_ms = 240000"));
    world.use_up(80);
    let live = tcp_connect(&world.gateway.lab.client, None, server(81), LIMIT).unwrap();
    assert!(controller.stop().success());
    world.gateway.nat.detach();
    drop(live);
    let controller = world.gateway.start("tc", World::rules("time_ms = 240000"));
    assert_eq!(cooling(&world), fin(&[80, 81]));
    assert!(world.refuses(80) && world.refuses(81));
    assert!(world.connects(82));
    // Toward everybody, if that is how ports rest then.
    assert!(controller.stop().success());
    world.gateway.nat.detach();
    let _controller = world.gateway.start("tc", World::rules("scope = \"port\""));
    assert!(world.refuses(83));
    let all = world.gateway.nat.json(&["sessions", "count", "--state", "cooling"]);
    assert_eq!(all["count"], 4, "three tuples and their port");
}

/// As after a power failure: nobody could write anything in the end.
#[test]
fn what_cools_survives_the_loss_of_all_maps() {
    let world = World::new();
    let controller = world.gateway.start("tc", World::rules("time_ms = 240000"));
    world.use_up(80);
    let live = tcp_connect(&world.gateway.lab.client, None, server(81), LIMIT).unwrap();
    let file = world.gateway.nat.cooling_file();
    // A header of 56 bytes, a sum of 8, and 24 for each of them.
    let written = wait::until(Duration::from_secs(30), || {
        fs::read(&file).ok().filter(|bytes| bytes.len() == 64 + 2 * 24)
    });
    assert!(written.is_some(), "{:?}", fs::metadata(&file));
    controller.kill();
    fs::remove_dir_all(world.gateway.pins()).unwrap();
    drop(live);
    let _controller = world.gateway.start("tc", World::rules("time_ms = 240000"));
    assert_eq!(cooling(&world), fin(&[80, 81]));
    assert!(world.refuses(80) && world.refuses(81));
}

#[test]
fn a_damaged_file_is_said_and_set_aside_and_the_gateway_works() {
    let world = World::new();
    let file = world.gateway.nat.cooling_file();
    fs::write(&file, "something else").unwrap();
    let controller = world.gateway.start("tc", World::rules("time_ms = 240000"));
    let log = controller.log();
    let path = file.display().to_string();
    assert!(log.contains(&format!("cannot use {path}: it is not a file of")), "{log}");
    let status = world.gateway.nat.json(&["status"]);
    assert!(status["warnings"].to_string().contains("is not known"), "{status}");
    assert_eq!(fs::read_to_string(format!("{path}.damaged")).unwrap(), "something else");
    assert!(world.connects(80));
}

/// A new instance in which so many tuples have rested for so long.
fn instance(lab: &Lab, bpffs: &BpfFs, count: u32, ago: Duration) -> Attached {
    let config = format!("[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n{INTERNET}");
    let text = ConfigText { name: "test.toml".to_owned(), text: config.clone() };
    let config = Config::parse(&config, "test.toml").unwrap();
    let (table, _) = compile(&config, &Host::default()).unwrap();
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    let closed = Duration::from(now).saturating_sub(ago);
    let resting = Resting::new(u64::try_from(closed.as_nanos()).unwrap(), Reason::Fin);
    let tuples: Vec<_> = (0..count)
        .map(|number| {
            let local = (Ipv4::from(EXTERNAL), Port::new(1024 + (number % 60_000) as u16));
            let remote = (Ipv4::from(SERVER), Port::new((number / 60_000) as u16 + 1));
            (FlowKey::new(Protocol::Tcp, local, remote), resting)
        })
        .collect();
    lab.gateway.enter(|| {
        let plan = Plan {
            pins: Pins::new(&bpffs.path(), "clearing").unwrap(),
            namespace: Namespace::current().unwrap(),
            tc: TcKind::Tcx,
            sizes: Sizes { sessions: 64, cooling: count },
            log: LogLevel::Off,
        };
        let mut instance = kernel::take(plan).unwrap();
        let started = Instant::now();
        assert_eq!(instance.restore(&tuples).unwrap(), Lacking(0));
        println!("{count} tuples restored in {:?}", started.elapsed());
        instance.start(&table, &Sources::default(), &text, &[]).unwrap();
        instance
    })
}

fn resting(state: &impl State) -> u32 {
    let mut count = 0;
    state.each_resting(&mut |_, _| count += 1).unwrap();
    count
}

/// Whatever has rested is forgotten soon, and no step of it takes long.
#[test]
fn forgetting_keeps_up_and_takes_a_bounded_time() {
    let (lab, bpffs) = (Lab::new(Offloads::On), BpfFs::new());
    let mut instance = instance(&lab, &bpffs, 50_000, Duration::from_secs(300));
    let mut left = resting(&instance);
    assert_eq!(left, 50_000);
    let mut steps = 0;
    while left > 0 {
        let started = Instant::now();
        let more = lab.gateway.enter(|| instance.forget_rested()).unwrap();
        let took = started.elapsed();
        let before = left;
        left = resting(&instance);
        println!("{} forgotten in {took:?}", before - left);
        assert!(more || left == 0);
        assert!(took < Duration::from_secs(2), "{took:?}");
        steps += 1;
        assert!(steps < 100, "{left} are left");
    }
}

#[test]
fn what_still_rests_is_not_forgotten() {
    let (lab, bpffs) = (Lab::new(Offloads::On), BpfFs::new());
    let mut instance = instance(&lab, &bpffs, 1000, Duration::from_secs(200));
    assert!(!lab.gateway.enter(|| instance.forget_rested()).unwrap());
    assert_eq!(resting(&instance), 1000, "240 s have not passed");
}
