//! What the gateway itself sends from the addresses that translation uses, too.
use nat_common::{stats::Hook, verdict::Verdict};

use super::{
    bench::{Bench, INTERNET},
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

/// A client has the tuple: the gateway's own packet would get the client's answers, or bring the
/// client its own. With any rule, or none, that lets it pass.
#[test]
fn the_gateways_own_packets_do_not_pass_for_a_clients() {
    let route = INTERNET
        .replace("internet", "gateway")
        .replace("10.77.0.0/24", "203.0.113.1")
        .replace("snat", "route")
        .replace("source = { addresses = [\"203.0.113.1\"] }\n", "");
    for (rules, passed) in
        [(INTERNET.to_owned(), Verdict::Unmatched), (format!("{route}{INTERNET}"), Verdict::Routed)]
    {
        let bench = Bench::new(&rules);
        let port = |frame: &[u8]| {
            let seen = bench.send(Hook::TcEgress, frame);
            assert_eq!(seen.verdict, Verdict::TranslatedOut);
            frames::read(&seen.frame).source.1
        };
        let tcp = port(&frames::tcp((CLIENT, 5000), (SERVER, 80), SYN, b""));
        let udp = port(&frames::udp((CLIENT, 5000), (SERVER, 53), b"x"));
        let echo = port(&frames::echo(true, CLIENT, SERVER, 5000));
        for flags in [SYN, ACK, RST, FIN | ACK] {
            let frame = frames::tcp((GATEWAY, tcp), (SERVER, 80), flags, b"");
            passes(&bench, &frame, Verdict::OwnPortTaken);
        }
        passes(&bench, &frames::udp((GATEWAY, udp), (SERVER, 53), b"x"), Verdict::OwnPortTaken);
        passes(&bench, &frames::echo(true, GATEWAY, SERVER, echo), Verdict::OwnPortTaken);
        // Toward others, and from other ports, it is nobody's but the gateway's.
        passes(&bench, &frames::udp((GATEWAY, udp), (SERVER, 54), b"x"), passed);
        passes(&bench, &frames::udp((GATEWAY, udp ^ 1), (SERVER, 53), b"x"), passed);
        passes(&bench, &frames::tcp((GATEWAY, tcp ^ 1), (SERVER, 80), SYN, b""), passed);
        passes(&bench, &frames::echo(true, GATEWAY, SERVER, echo ^ 1), passed);
        passes(&bench, &frames::echo(false, GATEWAY, SERVER, echo), passed);
        assert_eq!(bench.sessions().len(), 3);
    }
}

/// When the client's session has ended, its tuple is anybody's.
#[test]
fn an_ended_session_is_not_in_the_way() {
    let mut bench = Bench::new(INTERNET);
    let sent = bench.send(Hook::TcEgress, &frames::udp((CLIENT, 5000), (SERVER, 53), b"x"));
    let own = frames::udp((GATEWAY, frames::read(&sent.frame).source.1), (SERVER, 53), b"x");
    passes(&bench, &own, Verdict::OwnPortTaken);
    bench.advance(std::time::Duration::from_secs(22));
    passes(&bench, &own, Verdict::Unmatched);
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
        frames::tcp((GATEWAY, 40_000), (SERVER, 80), SYN, b""),
        frames::udp((GATEWAY, 2500), (SERVER, 53), b"x"),
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
    let bench = Bench::new(&format!("{INTERNET}ports = \"2000-2000\"\n{OWN}"));
    let seen = bench.send(Hook::TcEgress, &frames::tcp((CLIENT, 1), (SERVER, 80), SYN, b""));
    assert_eq!(seen.verdict, Verdict::TranslatedOut);
    let own = frames::tcp((GATEWAY, 2000), (SERVER, 80), ACK, b"");
    passes(&bench, &own, Verdict::OwnPortTaken);
}
