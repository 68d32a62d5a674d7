//! What the gateway itself sends from the addresses that translation uses, too.
use std::{net::Ipv4Addr, time::Duration};

use nat_common::{cooldown::Cooldown, stats::Hook, verdict::Verdict};

use super::{
    bench::{Bench, EXTERNAL2, INTERNET, NO_COOLDOWN},
    frames::{self, ACK, CLIENT, FIN, GATEWAY, RST, SERVER, SYN},
};

const OWN: &str = r#"
[[rules]]
name = "own"
from = ["local-host"]
to = ["external"]
action = "snat"
source = { addresses = ["203.0.113.1"] }
ports = "2000-3000"
"#;

/// What leaves as it is.
#[track_caller]
fn passes(bench: &Bench, frame: &[u8], verdict: Verdict) {
    let seen = bench.send_own(frame);
    assert_eq!(seen.verdict, verdict);
    assert_eq!(seen.frame, frame);
}

/// What is translated to what it was: its tuple is claimed.
#[track_caller]
fn keeps(bench: &Bench, frame: &[u8]) {
    passes(bench, frame, Verdict::TranslatedOut);
}

/// What leaves from another port of the same address: its own is a client's, or rests.
#[track_caller]
fn moves(bench: &Bench, frame: &[u8]) -> u16 {
    let seen = bench.send_own(frame);
    assert_eq!(seen.verdict, Verdict::TranslatedOut);
    let (before, after) = (frames::read(frame), frames::read(&seen.frame));
    assert_eq!((after.source.0, after.destination.0), (before.source.0, before.destination.0));
    assert_ne!(after.source.1, before.source.1);
    after.source.1
}

/// The external ports of a client's TCP, UDP and ICMP.
fn of_a_client(bench: &Bench) -> (u16, u16, u16) {
    let port = |frame: &[u8]| {
        let seen = bench.send(Hook::TcEgress, frame);
        assert_eq!(seen.verdict, Verdict::TranslatedOut);
        frames::read(&seen.frame).source.1
    };
    (
        port(&frames::tcp((CLIENT, 5000), (SERVER, 80), SYN, b"")),
        port(&frames::udp((CLIENT, 5000), (SERVER, 53), b"x")),
        port(&frames::echo(true, CLIENT, SERVER, 5000)),
    )
}

/// Whatever a client has, the gateway's own packet would get the client's answers, or bring the client
/// its own: what begins something gets another port, and what does not has no business there.
#[test]
fn the_gateways_own_packets_do_not_pass_for_a_clients() {
    let bench = Bench::new(INTERNET);
    let (tcp, udp, echo) = of_a_client(&bench);
    for flags in [ACK, RST, FIN | ACK] {
        let frame = frames::tcp((GATEWAY, tcp), (SERVER, 80), flags, b"");
        passes(&bench, &frame, Verdict::OwnPortTaken);
    }
    moves(&bench, &frames::tcp((GATEWAY, tcp), (SERVER, 80), SYN, b""));
    moves(&bench, &frames::udp((GATEWAY, udp), (SERVER, 53), b"x"));
    moves(&bench, &frames::echo(true, GATEWAY, SERVER, echo));
    passes(&bench, &frames::echo(false, GATEWAY, SERVER, echo), Verdict::Unmatched);
    assert_eq!(bench.sessions().len(), 6);
}

/// A `route` rule leaves a packet as it is, or drops it.
#[test]
fn what_is_routed_is_not_translated_even_if_a_client_has_its_endpoint() {
    let route = INTERNET
        .replace("internet", "gateway")
        .replace("10.77.0.0/24", "203.0.113.1")
        .replace("snat", "route")
        .replace("source = { addresses = [\"203.0.113.1\"] }\n", "");
    let bench = Bench::new(&format!("{route}{INTERNET}"));
    let (tcp, udp, echo) = of_a_client(&bench);
    for flags in [SYN, ACK, RST, FIN | ACK] {
        let frame = frames::tcp((GATEWAY, tcp), (SERVER, 80), flags, b"");
        passes(&bench, &frame, Verdict::OwnPortTaken);
    }
    passes(&bench, &frames::udp((GATEWAY, udp), (SERVER, 53), b"x"), Verdict::OwnPortTaken);
    passes(&bench, &frames::echo(true, GATEWAY, SERVER, echo), Verdict::OwnPortTaken);
    let passed = Verdict::Routed;
    passes(&bench, &frames::udp((GATEWAY, udp ^ 1), (SERVER, 53), b"x"), passed);
    passes(&bench, &frames::tcp((GATEWAY, tcp ^ 1), (SERVER, 80), SYN, b""), passed);
    passes(&bench, &frames::echo(true, GATEWAY, SERVER, echo ^ 1), passed);
    passes(&bench, &frames::echo(false, GATEWAY, SERVER, echo), passed);
    assert_eq!(bench.sessions().len(), 3);
}

/// Without any rule for it: no client gets its endpoint as long as it has it.
#[test]
fn what_the_gateway_begins_claims_its_tuple_and_keeps_its_port() {
    let bench = Bench::new(&format!("{INTERNET}ports = \"2000-2000\"\n"));
    let flows = [
        frames::tcp((GATEWAY, 2000), (SERVER, 80), SYN, b""),
        frames::udp((GATEWAY, 2000), (SERVER, 53), b"x"),
        frames::echo(true, GATEWAY, SERVER, 2000),
    ];
    for frame in &flows {
        keeps(&bench, frame);
        keeps(&bench, frame);
    }
    assert_eq!(bench.sessions().len(), 3);
    let answers = [
        frames::tcp((SERVER, 80), (GATEWAY, 2000), SYN | ACK, b""),
        frames::udp((SERVER, 53), (GATEWAY, 2000), b"x"),
        frames::echo(false, SERVER, GATEWAY, 2000),
    ];
    for answer in &answers {
        let seen = bench.send(Hook::TcIngress, answer);
        assert_eq!((seen.verdict, &seen.frame), (Verdict::TranslatedIn, answer));
    }
    for client in [
        frames::tcp((CLIENT, 1), (SERVER, 80), SYN, b""),
        frames::udp((CLIENT, 1), (SERVER, 53), b"x"),
        frames::echo(true, CLIENT, SERVER, 1),
    ] {
        assert_eq!(bench.send(Hook::TcEgress, &client).verdict, Verdict::NoPort);
    }
}

/// It is nobody's business which ports the gateway uses that translation does not, or for whom there
/// is no one that could answer.
#[test]
fn what_no_client_could_get_is_left_alone() {
    let bench = Bench::new(&format!("{INTERNET}ports = \"2000-3000\"\n"));
    for frame in [
        frames::tcp((GATEWAY, 1999), (SERVER, 80), SYN, b""),
        frames::udp((GATEWAY, 3001), (SERVER, 53), b"x"),
        frames::udp((GATEWAY, 2500), ([224, 0, 0, 251].into(), 5353), b"x"),
        frames::tcp((GATEWAY, 2500), (SERVER, 80), SYN | ACK, b""),
    ] {
        passes(&bench, &frame, Verdict::Unmatched);
    }
    assert_eq!(bench.sessions(), []);
}

/// The server may still hold the connection, whoever it was with.
#[test]
fn what_rests_is_not_used_by_the_gateway_either() {
    let cooldown = Cooldown { wait_ns: [60_000_000_000; 4], enabled: 1, ..NO_COOLDOWN };
    let mut bench = Bench::new(INTERNET);
    bench.cooldown = Some(cooldown);
    bench.apply(INTERNET);
    let sent = bench.send(Hook::TcEgress, &frames::udp((CLIENT, 5000), (SERVER, 53), b"x"));
    let own = frames::udp((GATEWAY, frames::read(&sent.frame).source.1), (SERVER, 53), b"x");
    moves(&bench, &own);
    bench.advance(Duration::from_secs(22));
    moves(&bench, &own);
    bench.advance(Duration::from_secs(90));
    bench.sweep();
    keeps(&bench, &own);
}

/// A rule for `local-host` is for conversations that the gateway begins.
#[test]
fn answers_of_the_gateways_own_sockets_stay_as_they_are() {
    let bench = Bench::new(OWN);
    for port in [22, 2500] {
        for flags in [SYN | ACK, ACK, FIN | ACK, RST, RST | ACK] {
            let frame = frames::tcp((GATEWAY, port), (SERVER, 40_000), flags, b"");
            passes(&bench, &frame, Verdict::OwnReply);
        }
    }
    passes(&bench, &frames::udp((GATEWAY, 53), (SERVER, 40_000), b"x"), Verdict::OwnReply);
    passes(&bench, &frames::echo(false, GATEWAY, SERVER, 7), Verdict::OwnReply);
    assert_eq!(bench.sessions(), []);
    // What it begins is translated, and what it answers with an address that nobody hides behind.
    for frame in [
        frames::tcp((GATEWAY, 2500), (SERVER, 80), SYN, b""),
        frames::udp((GATEWAY, 2500), (SERVER, 53), b"x"),
        frames::echo(true, GATEWAY, SERVER, 2007),
    ] {
        keeps(&bench, &frame);
    }
    for frame in [
        frames::tcp((GATEWAY, 40_000), (SERVER, 80), SYN, b""),
        frames::echo(true, GATEWAY, SERVER, 7),
    ] {
        let seen = bench.send_own(&frame);
        assert_eq!(seen.verdict, Verdict::TranslatedOut);
        let port = frames::read(&seen.frame).source.1;
        assert!((2000..=3000).contains(&port), "{port}");
    }
    let inside = frames::tcp(([10, 77, 0, 1].into(), 22), (SERVER, 40_000), SYN | ACK, b"");
    assert_eq!(bench.send_own(&inside).verdict, Verdict::TcpWithoutSyn);
    // And only what the gateway itself sends.
    let forwarded = frames::tcp((GATEWAY, 22), (SERVER, 40_000), ACK, b"");
    assert_eq!(bench.send(Hook::TcEgress, &forwarded).verdict, Verdict::TcpWithoutSyn);
}

/// One whose tuple has been given to a client in the meantime.
#[test]
fn an_answer_from_a_clients_endpoint_is_refused() {
    let tcp = "protocols = [\"tcp\"]\n";
    let bench = Bench::new(&format!("{INTERNET}ports = \"2000-2000\"\n{tcp}{OWN}{tcp}"));
    let seen = bench.send(Hook::TcEgress, &frames::tcp((CLIENT, 1), (SERVER, 80), SYN, b""));
    assert_eq!(seen.verdict, Verdict::TranslatedOut);
    let own = frames::tcp((GATEWAY, 2000), (SERVER, 80), ACK, b"");
    passes(&bench, &own, Verdict::OwnPortTaken);
}

/// One endpoint of the gateway is one outside, whoever it talks to.
#[test]
fn rfc4787_req1_the_gateways_own_endpoint_has_one_mapping() {
    let bench = Bench::new(OWN);
    let own = (GATEWAY, 2500);
    for last in 1..=20 {
        let remote = (Ipv4Addr::new(198, 51, 100, last), 1000 + u16::from(last));
        keeps(&bench, &frames::udp(own, remote, b"x"));
    }
    // An identifier that the rule does not use is another one outside, and the same for all.
    let echo = |to| {
        let seen = bench.send_own(&frames::echo(true, GATEWAY, to, 7));
        assert_eq!(seen.verdict, Verdict::TranslatedOut);
        frames::read(&seen.frame).source.1
    };
    let outside = echo(SERVER);
    assert_eq!(echo([198, 51, 100, 1].into()), outside);
    // Who was sent to may answer.
    let to_gateway = |from| {
        let sent = frames::udp(from, own, b"y");
        let seen = bench.send(Hook::TcIngress, &sent);
        (seen.verdict == Verdict::TranslatedIn, seen.frame == sent)
    };
    assert_eq!(to_gateway(([198, 51, 100, 1].into(), 1001)), (true, true));
    assert_eq!(to_gateway(([198, 51, 100, 77].into(), 53)), (false, true), "the stack knows");
    let answer = frames::echo(false, SERVER, GATEWAY, outside);
    let seen = bench.send(Hook::TcIngress, &answer);
    assert_eq!(
        (seen.verdict, seen.frame),
        (Verdict::TranslatedIn, frames::echo(false, SERVER, GATEWAY, 7))
    );
}

/// A client that shares its ports with the gateway's rule never gets an endpoint that the gateway has.
#[test]
fn a_mapping_of_the_gateways_keeps_its_port_from_clients() {
    let bench = Bench::new(&format!(
        "{}{INTERNET}ports = \"2000-2001\"\n",
        OWN.replace("2000-3000", "2000-2001")
    ));
    keeps(&bench, &frames::udp((GATEWAY, 2000), (SERVER, 53), b"x"));
    let elsewhere: (Ipv4Addr, u16) = ([198, 51, 100, 1].into(), 53);
    for (client, verdict) in [(1, Verdict::TranslatedOut), (2, Verdict::NoPort)] {
        let seen = bench.send(Hook::TcEgress, &frames::udp((CLIENT, client), elsewhere, b"x"));
        assert_eq!(seen.verdict, verdict);
        assert!(verdict == Verdict::NoPort || frames::read(&seen.frame).source.1 == 2001);
    }
}

/// What takes part in a rule's pool only for the port that it has keeps its address, where clients go on
/// with another one, too: even if a rule that is gone has mapped it there.
#[test]
fn what_no_rule_covers_keeps_its_address_beside_a_mapping_on_another_one() {
    let mut bench = Bench::new(&OWN.replace("203.0.113.1", "203.0.113.2"));
    let own = (GATEWAY, 2500);
    let seen = bench.send_own(&frames::udp(own, (SERVER, 53), b"x"));
    assert_eq!(frames::read(&seen.frame).source.0, EXTERNAL2);
    let both = INTERNET.replace("\"203.0.113.1\"", "\"203.0.113.1\", \"203.0.113.2\"");
    bench.apply(&format!("{both}ports = \"2000-3000\"\nspill = true\n"));
    keeps(&bench, &frames::udp(own, ([198, 51, 100, 1].into(), 53), b"x"));
    assert_eq!(bench.sessions().len(), 2);
}
