//! The ways on that sessions keep at XDP: as long as nobody says that one has changed. That packets fare
//! as well on the short way as on the long one, all other tests of XDP show: their sessions keep
//! ways, too.
use std::time::Duration;

use nat_common::{hop::AGE_NS, instance::HEARTBEAT_MAX_NS, stats::Hook, verdict::Verdict};
use nat_tests::lab::process::ip;

use super::{
    bench::{Bench, INTERNET},
    frames::{self, CLIENT, SERVER},
};

const NEW: [u8; 6] = [2, 0, 0, 0, 0, 0x77];

/// A controller has looked just now, and these are the ways.
fn followed(bench: &Bench, ways: u32) {
    let mut maps = bench.maps();
    let mut instance = maps.instance.get(&0, 0).unwrap();
    instance.heartbeat_ns = bench.now_ns();
    instance.ways = ways;
    maps.instance.set(0, instance, 0).unwrap();
}

/// A bench in which a controller has looked just now, rather than always.
fn keeping() -> Bench {
    let bench = Bench::new(INTERNET);
    followed(&bench, 1);
    bench
}

/// To whom the client's packet goes next.
fn next_hop(bench: &Bench, payload: &[u8]) -> [u8; 6] {
    let seen = bench.send(Hook::XdpInside, &frames::udp((CLIENT, 5000), (SERVER, 3478), payload));
    assert_eq!(seen.verdict, Verdict::TranslatedOut);
    seen.frame[..6].try_into().unwrap()
}

/// The server's neighbour has another hardware address. Nobody tells the programs.
fn moved(bench: &Bench) -> [u8; 6] {
    let lab = bench.lab();
    let mac = NEW.map(|byte| format!("{byte:02x}")).join(":");
    ip(&lab.gateway, &format!("neigh replace {SERVER} dev wan0 lladdr {mac} nud permanent\n"));
    NEW
}

#[test]
fn a_way_is_kept_until_somebody_says_that_one_has_changed() {
    let bench = keeping();
    let old = next_hop(&bench, b"first");
    assert_eq!(next_hop(&bench, b"second"), old, "by the first one's answer of the kernel");
    let new = moved(&bench);
    assert_ne!(old, new);
    assert_eq!(next_hop(&bench, b"third"), old, "kept");
    followed(&bench, 2);
    assert_eq!(next_hop(&bench, b"fourth"), new);
    assert_eq!(bench.sessions()[0].packets.out, 4);
}

#[test]
fn a_way_grows_old() {
    let mut bench = keeping();
    let old = next_hop(&bench, b"first");
    next_hop(&bench, b"second");
    let new = moved(&bench);
    bench.advance(Duration::from_nanos(AGE_NS) - Duration::from_secs(1));
    followed(&bench, 1);
    assert_eq!(next_hop(&bench, b"third"), old);
    bench.advance(Duration::from_secs(1));
    followed(&bench, 1);
    assert_eq!(next_hop(&bench, b"fourth"), new);
}

#[test]
fn without_a_controller_every_packet_asks_the_kernel() {
    let mut bench = keeping();
    let old = next_hop(&bench, b"first");
    next_hop(&bench, b"second");
    // It has said nothing for too long; not so long that the way would be too old.
    bench.advance(Duration::from_secs(1));
    let mut maps = bench.maps();
    let mut instance = maps.instance.get(&0, 0).unwrap();
    instance.heartbeat_ns = bench.now_ns() - HEARTBEAT_MAX_NS as u64;
    maps.instance.set(0, instance, 0).unwrap();
    let new = moved(&bench);
    assert_eq!(next_hop(&bench, b"third"), old, "just heard of");
    instance.heartbeat_ns -= 1;
    maps.instance.set(0, instance, 0).unwrap();
    assert_eq!(next_hop(&bench, b"fourth"), new);
    // Or it has said good-bye.
    let bench = keeping();
    let old = next_hop(&bench, b"first");
    instance.heartbeat_ns = bench.now_ns();
    instance.follows_ways = 0;
    bench.maps().instance.set(0, instance, 0).unwrap();
    let new = moved(&bench);
    assert_eq!((old == new, next_hop(&bench, b"second")), (false, new));
}

#[test]
fn a_packet_that_does_not_fit_is_the_stacks_also_by_a_kept_way() {
    let bench = keeping();
    let lab = bench.lab();
    let frame = frames::udp((CLIENT, 5000), (SERVER, 3478), &[7; 600]);
    ip(&lab.gateway, "link set wan0 mtu 600\n");
    for _ in 0..3 {
        next_hop(&bench, b"short");
        let seen = bench.send(Hook::XdpInside, &frame);
        assert_eq!((seen.verdict, &seen.frame), (Verdict::LeftMtu, &frame));
    }
}
