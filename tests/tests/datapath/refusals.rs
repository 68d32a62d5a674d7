//! What the controller is told of refused sessions, on a clock that the test moves.
use std::{net::Ipv4Addr, time::Duration};

use nat_common::{
    limit::ClientLimits,
    limits::{REFUSALS_PER_CLIENT_AND_SECOND_MAX, REFUSALS_PER_SECOND_MAX},
    refusal::PLACES,
    stats::Hook,
    verdict::Verdict,
};

use super::{
    bench::{BOTH, Bench, INTERNET},
    frames::{self, CLIENT, SERVER, SYN},
};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// One port for all.
fn full() -> Bench {
    let bench = Bench::new(&format!("{INTERNET}ports = \"4000-4000\"\n"));
    let frame = frames::udp((CLIENT, 1), (SERVER, 3478), b"x");
    assert_eq!(bench.send(Hook::TcEgress, &frame).verdict, Verdict::TranslatedOut);
    bench
}

fn from(client: Ipv4Addr, port: u16) -> Vec<u8> {
    frames::udp((client, port), (SERVER, 3478), b"x")
}

#[test]
fn rfc5508_req8_rfc6888_req11_a_refusal_is_told_with_what_an_error_quotes() {
    for hooks in BOTH {
        let mut bench = full();
        assert_eq!(bench.refusals(), []);
        let frame = from(CLIENT, 2);
        assert_eq!(bench.send(hooks.out, &frame).verdict, Verdict::NoPort);
        let [told] = bench.refusals()[..] else { panic!("not one refusal") };
        assert_eq!((told.verdict, usize::from(told.length)), (Verdict::NoPort as u8, 20 + 8));
        assert_eq!(told.quote[..28], frame[ETHERNET..][..28]);
        let device = if hooks.out == Hook::TcEgress { bench.devices.1 } else { bench.devices.0 };
        assert_eq!(told.ifindex, device, "where the test says that it came from");
        // What is translated, and what is dropped for another reason, is nobody's business.
        bench.send(hooks.out, &from(CLIENT, 1));
        let strange = frames::tcp((CLIENT, 5), (SERVER, 80), frames::ACK, b"");
        assert_eq!(bench.send(hooks.out, &strange).verdict, Verdict::TcpWithoutSyn);
        assert_eq!(bench.refusals(), []);
    }
}

#[test]
fn rfc6888_req11_a_limit_is_told_as_well() {
    for hooks in BOTH {
        let mut bench = Bench::without_rules(64);
        bench.limits = ClientLimits { half_open: 1, ..ClientLimits::NONE };
        bench.apply(INTERNET);
        let syn = |port| frames::tcp((CLIENT, port), (SERVER, 80), SYN, b"");
        assert_eq!(bench.send(hooks.out, &syn(1)).verdict, Verdict::TranslatedOut);
        assert_eq!(bench.send(hooks.out, &syn(2)).verdict, Verdict::ClientHalfOpen);
        let told: Vec<_> = bench.refusals().iter().map(|told| told.verdict).collect();
        assert_eq!(told, [Verdict::ClientHalfOpen as u8]);
    }
}

/// The gateway's own sockets are told by the call that fails.
#[test]
fn rfc1812_4_3_2_7_nobody_is_told_of_what_the_gateway_sends_or_of_multicast() {
    let mut bench = full();
    let own = frames::udp((CLIENT, 2), (SERVER, 3478), b"x");
    assert_eq!(bench.send_own(&own).verdict, Verdict::NoPort);
    let group = Ipv4Addr::new(224, 1, 1, 1);
    bench.send(Hook::TcEgress, &frames::udp((CLIENT, 1), (group, 9), b"x"));
    let seen = bench.send(Hook::TcEgress, &frames::udp((CLIENT, 2), (group, 9), b"x"));
    assert_eq!(seen.verdict, Verdict::NoPort);
    assert_eq!(bench.refusals(), []);
}

/// On one CPU at most: the test may be moved to another one.
#[test]
fn rfc5508_req10f_a_flood_of_refusals_is_told_at_a_rate_and_others_are_told_too() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    for hooks in BOTH {
        let mut bench = full();
        let flood: Vec<_> = (2..1002).map(|port| from(CLIENT, port)).collect();
        bench.send_all(hooks.out, &flood);
        let told = bench.refusals().len();
        let most = REFUSALS_PER_CLIENT_AND_SECOND_MAX as usize;
        assert!((most..=most * cpus).contains(&told), "{told}");
        let other = from(Ipv4Addr::new(10, 77, 0, 3), 1);
        bench.send(hooks.out, &other);
        assert_eq!(bench.refusals().len(), 1, "another client is told");
        bench.advance(Duration::from_secs(1));
        bench.send(hooks.out, &flood[0]);
        assert_eq!(bench.refusals().len(), 1, "and the first one again, later");
        // Many clients together.
        bench.advance(Duration::from_secs(2));
        let many = (0..PLACES as u8)
            .flat_map(|n| (0..4).map(move |port| from(Ipv4Addr::new(10, 77, 0, n), 7 + port)));
        bench.send_all(hooks.out, &many.collect::<Vec<_>>());
        let (told, most) = (bench.refusals().len(), REFUSALS_PER_SECOND_MAX as usize);
        assert!(told <= most * cpus, "{told}");
    }
}
