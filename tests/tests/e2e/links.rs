//! Kinds of links and frames: long ones, VLANs, and what has no Ethernet header.
use std::net::Ipv4Addr;

use nat_tests::lab::{
    Lab, Offloads, Sniffer,
    process::{ip, tool},
    topology::{CLIENT, EXTERNAL, INSIDE, SERVER},
    traffic::{HttpServer, RawSender, download, ipv4},
    wait,
};

use crate::{
    gateway::{Gateway, INTERNET, LIMIT, at},
    hook::at_xdp,
};

const BYTES: usize = 3_000_000;

/// Downloads a file through the gateway; how it came and went is looked at by sniffers outside of it.
fn transfer(gateway: &Gateway, what: &str) {
    let http = HttpServer::start(&gateway.lab.server, at(SERVER, 80), BYTES);
    let file = download(&gateway.lab.client, None, http.address(), LIMIT);
    let file = file.unwrap_or_else(|error| panic!("{what}: {error}: {:?}", gateway.verdicts()));
    assert_eq!(file.sha256, http.sha256(), "{what}");
    assert!(http.peers().iter().all(|peer| peer.ip() == EXTERNAL), "{what}");
}

#[test]
fn frames_of_several_pages_are_translated_at_xdp() {
    for hook in ["xdp", "tc"] {
        let gateway = Gateway::new(Offloads::Off);
        let lab = &gateway.lab;
        for (host, device) in [
            (&lab.client, "c0"),
            (&lab.gateway, "lan0"),
            (&lab.gateway, "wan0"),
            (&lab.server, "s0"),
        ] {
            ip(host, &format!("link set {device} mtu 9000\n"));
        }
        let _controller = gateway.start(hook, INTERNET);
        let (outside, inside) =
            (Sniffer::start(&lab.server, "s0"), Sniffer::start(&lab.client, "c0"));
        transfer(&gateway, hook);
        let (outside, inside) = (outside.stop(), inside.stop());
        assert_eq!(outside.private_sources(), [], "{hook}");
        // 3 MB are over 300 full packets.
        assert!(outside.checksums().assert_correct() > 300, "{hook}");
        assert!(inside.checksums().assert_correct() > 300, "{hook}");
        let long = inside.frames.iter().filter(|frame| frame.bytes.len() > 8000).count();
        assert!(long > 300, "{hook}: {long} long frames");
        if hook == "xdp" {
            let translated = at_xdp(&gateway);
            assert!(translated > 350, "{translated} at XDP: {:?}", gateway.verdicts());
            assert_eq!(gateway.verdicts().get("left_buffers"), None);
        }
    }
}

/// As a VLAN is: on another interface, and without native XDP.
#[test]
fn an_interface_on_another_one_is_used_with_tc() {
    for (hook, offloads) in [("tc", Offloads::On), ("tc", Offloads::Off), ("auto", Offloads::Off)] {
        let lab = Lab::new(offloads);
        ip(
            &lab.gateway,
            &format!(
                "addr flush dev lan0\nlink add link lan0 name lan0.5 type macvlan\n\
                 addr add {INSIDE}/24 dev lan0.5\nlink set lan0.5 up\n"
            ),
        );
        lab.flush_neighbours();
        let gateway = Gateway::in_lab(lab, "\"lan0.5\"");
        let _controller = gateway.start(hook, INTERNET);
        let sniffer = Sniffer::start(&gateway.lab.server, "s0");
        transfer(&gateway, hook);
        let sniffer = sniffer.stop();
        assert_eq!(sniffer.private_sources(), []);
        if offloads == Offloads::Off {
            assert!(sniffer.checksums().assert_correct() > 1000);
        }
        let status = gateway.nat.json(&["status"]);
        let interfaces = status["interfaces"].as_array().unwrap();
        let inside = interfaces.iter().find(|one| one["name"] == "lan0.5").unwrap();
        let why = if hook == "auto" { "no-native-xdp" } else { "configured" };
        assert_eq!((&inside["hook"], &inside["why"]), (&"tc".into(), &why.into()), "{status}");
    }
}

/// What is in another VLAN is another interface's: the stack gets it as it came. Here it has none for it.
#[test]
fn tagged_frames_pass_as_they_are() {
    for hook in ["xdp", "tc"] {
        let gateway = Gateway::new(Offloads::Off);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, INTERNET);
        let inside = RawSender::new(&lab.client, "c0", (&lab.gateway, "lan0"));
        let outside = RawSender::new(&lab.server, "s0", (&lab.gateway, "wan0"));
        let capture = |device| Sniffer::start(&lab.gateway, device);
        let (lan, wan, server) =
            (capture("lan0"), capture("wan0"), Sniffer::start(&lab.server, "s0"));
        let request = datagram(CLIENT, SERVER);
        let answer = datagram(SERVER, EXTERNAL);
        // VLAN 5 of 802.1Q; and VLAN 6 in it of 802.1ad.
        for (ethertype, tag) in
            [(0x8100, &[0, 5, 8, 0][..]), (0x88a8, &[0, 5, 0x81, 0, 0, 6, 8, 0])]
        {
            inside.send_typed(ethertype, &[tag, &request].concat());
            outside.send_typed(ethertype, &[tag, &answer].concat());
        }
        let passed = |program: &str, verdict: &str| {
            let stats = gateway.nat.json(&["stats"]);
            let mut counts = stats["verdicts"].as_array().unwrap().iter();
            let count = counts.find(|it| it["hook"] == program && it["verdict"] == verdict);
            count.map_or(0, |count| count["packets"].as_u64().unwrap())
        };
        let tagged = || (passed("tc_ingress", "vlan_tagged") == 2).then_some(());
        assert!(wait::until(LIMIT, tagged).is_some(), "{hook}: {:?}", gateway.verdicts());
        if hook == "xdp" {
            for program in ["xdp_inside", "xdp_outside"] {
                let left = || (passed(program, "left_untouched") >= 2).then_some(());
                assert!(wait::until(LIMIT, left).is_some(), "{:?}", gateway.verdicts());
            }
        }
        assert!(gateway.sessions().is_empty(), "{hook}");
        let whole = |capture: Sniffer, packet: &[u8]| {
            let capture = capture.stop();
            capture.incoming().filter(|frame| frame.bytes.ends_with(packet)).count()
        };
        assert_eq!((whole(lan, &request), whole(wan, &answer)), (2, 2), "{hook}");
        assert_eq!(server.stop().private_sources(), [], "{hook}");
    }
}

/// From port 4000 to port 7, without a checksum, which IPv4 allows.
fn datagram(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let payload = [0x0f, 0xa0, 0, 7, 0, 12, 0, 0, b'v', b'l', b'a', b'n'];
    ipv4(from, to, 17, &payload)
}

#[test]
fn a_device_without_ethernet_is_refused_by_name() {
    let gateway = Gateway::in_lab(Lab::new(Offloads::On), "\"lan0\", \"tun0\"");
    ip(&gateway.lab.gateway, "tuntap add dev tun0 mode tun\nlink set tun0 up\n");
    let says = ["`tun0` is not an Ethernet interface", "not lo, tun or ppp"];
    for hook in ["auto", "tc", "xdp"] {
        let file = gateway.config(hook, INTERNET);
        let run = gateway.nat.run(&["run", "--config", file.to_str().unwrap()]);
        assert_eq!(run.status.code(), Some(4), "{}", run.stderr);
        for text in says {
            assert!(run.stderr.contains(text), "{hook}: {}", run.stderr);
        }
        let check = gateway.nat.run(&["check", file.to_str().unwrap()]);
        let said = format!("{}{}", check.stdout, check.stderr);
        assert!(said.contains(says[0]) && said.contains(says[1]), "{hook}: {said}");
    }
}

#[test]
fn an_interface_that_takes_no_xdp_is_refused_with_what_to_do() {
    let gateway = Gateway::new(Offloads::Off);
    tool(&gateway.lab.client, "ethtool", &["-L", "c0", "tx", "2"]);
    let file = gateway.config("xdp", INTERNET);
    let run = gateway.nat.run(&["run", "--config", file.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(4), "{}", run.stderr);
    for text in ["xdp_inside", "lan0", "ethtool -L", "hook = \"tc\""] {
        assert!(run.stderr.contains(text), "`{text}` is missing in: {}", run.stderr);
    }
}
