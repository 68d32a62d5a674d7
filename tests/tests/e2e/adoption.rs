//! A data path that is there already: taken over, repaired, or refused.
use std::{
    fs,
    io::{Read, Write},
    time::{Duration, Instant},
};

use nat_tests::lab::{
    Offloads, Sniffer, process,
    topology::{EXTERNAL, SERVER},
    traffic::{UdpClient, UdpEcho, tcp_connect},
    wait,
};

use crate::gateway::{ANY, Gateway, INTERNET, LIMIT, VARIANTS, at};

/// Sends one datagram after another until told to stop; returns how many of how many came back.
fn keep_talking<T>(
    client: &UdpClient,
    echo: &UdpEcho,
    meanwhile: impl FnOnce() -> T + Send,
) -> (u32, u32, T)
where
    T: Send,
{
    std::thread::scope(|scope| {
        let work = scope.spawn(meanwhile);
        let (mut answered, mut sent) = (0, 0);
        while !work.is_finished() || sent == 0 {
            sent += 1;
            answered += u32::from(client.ask(echo.address(), b"still there?", 1, LIMIT));
        }
        (answered, sent, work.join().unwrap())
    })
}

#[test]
fn the_next_controller_takes_over_and_nobody_notices() {
    for (hook, offloads) in VARIANTS {
        let gateway = Gateway::new(offloads);
        let lab = &gateway.lab;
        let first = gateway.start(hook, INTERNET);
        let sniffer = Sniffer::start(&lab.server, "s0");
        let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
        let client = UdpClient::bind(&lab.client, ANY);
        assert!(client.ask(echo.address(), b"before", 3, LIMIT), "{hook}");
        first.kill();

        let config = gateway.config(hook, INTERNET);
        let nat = gateway.nat.clone();
        let (answered, sent, ended) = keep_talking(&client, &echo, move || {
            // Twice: a restart, and another one.
            for _ in 0..2 {
                let arguments = ["attach", "--config", config.to_str().unwrap()];
                let finished = nat.run(&arguments);
                assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
                assert!(finished.stderr.contains("adopted"), "{}", finished.stderr);
            }
        });
        let () = ended;
        assert_eq!(answered, sent, "{hook}: datagrams were lost");
        assert!(sent > 10, "{hook}: only {sent} datagrams during the take-over");
        let peers = echo.peers();
        assert!(peers.windows(2).all(|pair| pair[0] == pair[1]), "{hook}: another session");
        assert_eq!(sniffer.stop().private_sources(), [], "{hook}");
        assert_eq!(gateway.sessions().len(), 1, "{hook}");
        let _second = gateway.start(hook, INTERNET);
        assert_eq!(gateway.nat.run(&["status", "--check"]).status.code(), Some(0));
    }
}

#[test]
fn missing_links_are_attached_again() {
    for (hook, offloads) in VARIANTS {
        let gateway = Gateway::new(offloads);
        let lab = &gateway.lab;
        gateway.start(hook, INTERNET).kill();
        for link in fs::read_dir(gateway.layout().join("links")).unwrap() {
            fs::remove_file(link.unwrap().path()).unwrap();
        }
        let controller = gateway.start(hook, INTERNET);
        assert!(controller.log().contains("repaired: attached tc_egress to wan0"));
        let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
        let client = UdpClient::bind(&lab.client, ANY);
        assert!(client.ask(echo.address(), b"hello", 3, LIMIT), "{hook}");
        assert_eq!(echo.peers()[0].ip(), EXTERNAL, "{hook}");
    }
}

#[test]
fn an_unknown_layout_or_a_strange_map_is_refused_with_the_way_out() {
    let gateway = Gateway::new(Offloads::On);
    gateway.start("tc", INTERNET).kill();
    let config = gateway.config("tc", INTERNET);
    let run = || gateway.nat.run(&["run", "--config", config.to_str().unwrap()]);

    // A map of other sizes under the name of one of ours.
    let maps = gateway.layout().join("maps");
    fs::rename(maps.join("CONTROL"), maps.join("aside")).unwrap();
    fs::rename(maps.join("SETTINGS"), maps.join("CONTROL")).unwrap();
    let refused = run();
    assert_eq!(refused.status.code(), Some(4), "{}", refused.stderr);
    assert!(refused.stderr.contains("the map CONTROL"), "{}", refused.stderr);
    assert!(refused.stderr.contains("detach"), "{}", refused.stderr);
    fs::rename(maps.join("CONTROL"), maps.join("SETTINGS")).unwrap();
    fs::rename(maps.join("aside"), maps.join("CONTROL")).unwrap();

    // A folder of another version.
    fs::create_dir(gateway.pins().join("v77")).unwrap();
    let refused = run();
    assert_eq!(refused.status.code(), Some(4), "{}", refused.stderr);
    assert!(refused.stderr.contains("layout v77, this one knows v"), "{}", refused.stderr);
    fs::remove_dir(gateway.pins().join("v77")).unwrap();

    // Nothing was half used.
    let _controller = gateway.start("tc", INTERNET);
    assert_eq!(gateway.nat.run(&["status", "--check"]).status.code(), Some(0));
}

/// PPPoE and hot-plug: the same name, another index.
#[test]
fn an_interface_that_is_deleted_and_made_again_is_attached_again() {
    let gateway = Gateway::new(Offloads::On);
    let lab = &gateway.lab;
    let controller = gateway.start("tc", INTERNET);
    let index = || {
        let status = gateway.nat.json(&["status"]);
        let interfaces = status["interfaces"].as_array().unwrap();
        let wan = interfaces.iter().find(|interface| interface["name"] == "wan0");
        wan.map(|interface| interface["index"].as_u64().unwrap())
    };
    let before = index().unwrap();
    process::ip(&lab.gateway, "link del wan0\n");
    let noticed = controller.wait_line(LIMIT, |line| line.contains("no interface `wan0`"));
    assert!(noticed.is_some(), "{}", controller.log());

    // Another one, with its other end at hand to listen on.
    process::ip(
        &lab.gateway,
        "link add wan0 type veth peer name far0\n\
         addr add 203.0.113.1/24 dev wan0\n\
         link set wan0 up\n\
         link set far0 up\n\
         neigh replace 203.0.113.10 dev wan0 lladdr 02:00:00:00:00:99 nud permanent\n",
    );
    let back = wait::until(LIMIT, || index().filter(|now| *now != before));
    assert!(back.is_some(), "{}", controller.log());
    let in_service = wait::until(LIMIT, || {
        let rules = gateway.nat.json(&["status"])["rules"].clone();
        (!rules[0]["pools"].as_array().unwrap().is_empty()).then_some(())
    });
    assert!(in_service.is_some(), "{}", controller.log());

    let sniffer = Sniffer::start(&lab.gateway, "far0");
    let client = UdpClient::bind(&lab.client, ANY);
    client.send(at(SERVER, 7), b"through the new one").unwrap();
    let source = |frame: &nat_tests::lab::Frame| {
        let packet = nat_tests::lab::leaks::ipv4_packet(&frame.bytes)?;
        (packet[9] == 17).then(|| [packet[12], packet[13], packet[14], packet[15]])
    };
    let left = sniffer.wait_for(LIMIT, |frame| source(frame).is_some());
    assert_eq!(left.as_ref().and_then(source), Some(EXTERNAL.octets()), "{}", controller.log());
}

#[test]
fn an_interface_that_is_renamed_is_followed_by_its_name() {
    let gateway = Gateway::new(Offloads::On);
    let lab = &gateway.lab;
    let controller = gateway.start("tc", INTERNET);
    let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
    let client = UdpClient::bind(&lab.client, ANY);
    assert!(client.ask(echo.address(), b"before", 3, LIMIT));

    process::ip(&lab.gateway, "link set wan0 name gone0\n");
    let noticed = controller.wait_line(LIMIT, |line| line.contains("no interface `wan0`"));
    assert!(noticed.is_some(), "{}", controller.log());
    process::ip(&lab.gateway, "link set gone0 name wan0\n");
    let back = wait::until(LIMIT, || {
        let status = gateway.nat.json(&["status"]);
        let interfaces = status["interfaces"].as_array().unwrap();
        interfaces.iter().any(|interface| interface["name"] == "wan0").then_some(())
    });
    assert!(back.is_some(), "{}", controller.log());
    process::ip(&lab.gateway, "link set wan0 up\nroute replace default via 203.0.113.10\n");
    let works = wait::until(LIMIT, || {
        client.ask(echo.address(), b"after", 1, Duration::from_millis(200)).then_some(())
    });
    assert!(works.is_some(), "{}", controller.log());
    assert!(echo.peers().iter().all(|peer| peer.ip() == EXTERNAL));
}

#[test]
fn several_instances_work_side_by_side() {
    let (one, two) = (Gateway::new(Offloads::On), Gateway::new(Offloads::On));
    let _controllers = [one.start("tc", INTERNET), two.start("tc", INTERNET)];
    for gateway in [&one, &two] {
        let lab = &gateway.lab;
        let echo = UdpEcho::start(&lab.server, at(SERVER, 7));
        let client = UdpClient::bind(&lab.client, ANY);
        assert!(client.ask(echo.address(), b"hello", 3, LIMIT));
        assert_eq!(gateway.sessions().len(), 1);
    }
    one.nat.detach();
    assert_eq!(two.sessions().len(), 1);
    assert_eq!(two.nat.run(&["status", "--check"]).status.code(), Some(0));
}

/// A connection that is open from before the first until after the last.
#[test]
fn kill_minus_9_at_any_moment_leaves_the_old_or_the_new() {
    let moments: u32 =
        std::env::var("NAT_KILL_MOMENTS").ok().map_or(12, |text| text.parse().unwrap());
    let gateway = Gateway::new(Offloads::On);
    let lab = &gateway.lab;
    gateway.start("tc", INTERNET).kill();
    let listener = lab.server.enter(|| std::net::TcpListener::bind(at(SERVER, 80)).unwrap());
    let mut stream = tcp_connect(&lab.client, None, at(SERVER, 80), LIMIT).unwrap();
    let (mut server, _) = listener.accept().unwrap();

    // Two configurations that differ in a rule in front and in their number of rules.
    let filler: String = (0..200)
        .map(|n| {
            format!(
                "[[rules]]\nname = \"r{n}\"\nfrom = [\"10.77.0.0/24\"]\nto = [\"198.18.{n}.0/24\"]\n\
                 action = \"drop\"\n"
            )
        })
        .collect();
    let old = gateway.config("tc", INTERNET);
    let new = old.with_file_name("new.toml");
    let text = fs::read_to_string(&old).unwrap();
    let (header, rules) = text.split_once("\n[[rules]]").unwrap();
    fs::write(&new, format!("{header}\n{filler}[[rules]]{rules}")).unwrap();
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    // How long it takes undisturbed, on this machine, now.
    let started = Instant::now();
    assert!(gateway.nat.run(&["attach", "--config", old]).status.success());
    let whole = started.elapsed();

    let mut states = [0, 0];
    let mut in_force = 1;
    for moment in 0..moments {
        // Away from what is in force.
        let file = if in_force == 1 { new } else { old };
        let arguments: &[&str] = match moment % 3 {
            0 => &["run", "--config", file],
            1 => &["attach", "--config", file],
            _ => &["apply", file],
        };
        // From before the first system call to after the last.
        let controller = gateway.nat.spawn(arguments);
        std::thread::sleep(whole * (moment * 37 % 100) / 75);
        controller.kill();

        // The old or the new, whole: the number of rules in force is that of one or the other.
        in_force = gateway.nat.json(&["status"])["rules"].as_array().unwrap().len();
        assert!(in_force == 1 || in_force == 201, "moment {moment}: {in_force} rules");
        states[usize::from(in_force == 201)] += 1;
        // And the connection goes on.
        stream.write_all(b"ping").unwrap();
        let mut heard = [0; 4];
        server.read_exact(&mut heard).unwrap();
        server.write_all(b"pong").unwrap();
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"pong", "moment {moment}");
    }
    println!("{} times one rule in force, {} times 201", states[0], states[1]);
    assert!(states.iter().all(|times| *times > 0), "{states:?}: the moments were all too early");
    assert_eq!(gateway.sessions().len(), 1);

    // Detach, too: either it is still there, or it can be removed and made again.
    for moment in 0..moments {
        let controller = gateway.nat.spawn(&["detach"]);
        std::thread::sleep(Duration::from_micros(u64::from(moment) * 20_000 / u64::from(moments)));
        controller.kill();
        let finished = gateway.nat.run(&["attach", "--config", old]);
        assert_eq!(finished.status.code(), Some(0), "moment {moment}: {}", finished.stderr);
        let echo = UdpEcho::start(&lab.server, at(SERVER, 1000 + moment as u16));
        let client = UdpClient::bind(&lab.client, ANY);
        assert!(client.ask(echo.address(), b"hello", 3, LIMIT), "moment {moment}");
        assert_eq!(echo.peers()[0].ip(), EXTERNAL, "moment {moment}");
    }
}
