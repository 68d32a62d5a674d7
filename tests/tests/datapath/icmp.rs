//! ICMP errors: translated with the session of the packet that they quote, which becomes again what
//! its sender sent, and nothing else happens.
use std::{net::Ipv4Addr, time::Duration};

use etherparse::{Icmpv4Header, Icmpv4Type, IpNumber};
use nat_common::{stats::Hook, verdict::Verdict};
use nat_ctl::datapath::State as _;

use super::{
    bench::{BOTH, Bench, Hooks, INTERNET},
    frames::{self, ACK, CLIENT, GATEWAY, SERVER, SYN},
    lifetime::grace,
};

/// A router between the gateway and the server.
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// A router between the gateway and the client.
const INSIDE_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);

const UNREACHABLE: u8 = 3;
const PORT: u8 = 3;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;

/// An ICMP message about `quoted`, with right checksums. `rest` are the bytes 5 to 8 of its header.
fn message(kind: (u8, u8), rest: [u8; 4], quoted: &[u8]) -> Vec<u8> {
    let (type_u8, code_u8) = kind;
    let kind = Icmpv4Type::Unknown { type_u8, code_u8, bytes5to8: rest };
    let mut bytes = Vec::new();
    Icmpv4Header::with_checksum(kind, quoted).write(&mut bytes).unwrap();
    bytes.extend_from_slice(quoted);
    bytes
}

/// A frame with an error.
fn error(kind: (u8, u8), from: Ipv4Addr, to: Ipv4Addr, quoted: &[u8]) -> Vec<u8> {
    frames::other(1, from, to, &message(kind, [0; 4], quoted))
}

/// What an error says, once its checksum and that of its IPv4 header have been found right.
struct Said {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    header: Vec<u8>,
    quoted: Vec<u8>,
}

fn read(frame: &[u8]) -> Said {
    let view = frames::read(frame);
    let (source, destination) = (view.source.0, view.destination.0);
    let (header, quoted) = (frame[34..42].to_vec(), frame[42..].to_vec());
    Said { source, destination, header, quoted }
}

/// A packet as its sender sent it, and as it was after the gateway. IPv4 packets.
struct Passed {
    sent: Vec<u8>,
    arrived: Vec<u8>,
}

/// A flow of each protocol, of which a packet has passed in each direction.
struct Flow {
    request: Passed,
    reply: Passed,
}

fn pass(bench: &Bench, hook: Hook, frame: &[u8]) -> Passed {
    let seen = bench.send(hook, frame);
    assert!(matches!(seen.verdict, Verdict::TranslatedOut | Verdict::TranslatedIn), "{seen:?}");
    Passed { sent: frame[14..].to_vec(), arrived: seen.frame[14..].to_vec() }
}

/// At TC, where the time to live stays what it was.
const TC: Hooks = BOTH[0];

fn flows(bench: &Bench) -> Vec<(&'static str, Flow)> {
    let external = |passed: &Passed| u16::from_be_bytes([passed.arrived[20], passed.arrived[21]]);
    let payload = b"some payload, of odd length";
    let request = frames::udp((CLIENT, 5000), (SERVER, 3478), payload);
    let request = pass(bench, TC.out, &request);
    let reply = frames::udp((SERVER, 3478), (GATEWAY, external(&request)), payload);
    let udp = Flow { request, reply: pass(bench, TC.inbound, &reply) };

    let request = pass(bench, TC.out, &frames::tcp((CLIENT, 5000), (SERVER, 80), SYN, b""));
    let to = (GATEWAY, external(&request));
    let reply = pass(bench, TC.inbound, &frames::tcp((SERVER, 80), to, SYN | ACK, b""));
    let tcp = Flow { request, reply };

    let request = pass(bench, TC.out, &frames::echo(true, CLIENT, SERVER, 77));
    let id = u16::from_be_bytes([request.arrived[24], request.arrived[25]]);
    let reply = pass(bench, TC.inbound, &frames::echo(false, SERVER, GATEWAY, id));
    vec![("udp", udp), ("tcp", tcp), ("echo", Flow { request, reply })]
}

/// From outside, about the packet that left; by whatever router (RFC 4787 REQ-12a), with however
/// little of it.
#[test]
fn rfc5508_req4_an_error_from_outside_reaches_the_sender_as_about_what_it_sent() {
    let bench = Bench::new(INTERNET);
    for (name, flow) in flows(&bench) {
        let Passed { sent, arrived } = flow.request;
        let kinds = (0..16).map(|code| (UNREACHABLE, code));
        let more = [(TIME_EXCEEDED, 0), (TIME_EXCEEDED, 1), (PARAMETER_PROBLEM, 0)];
        for (kind, code) in kinds.chain(more) {
            // At least 8 bytes behind the header (RFC 792), without and with TCP's checksum.
            for length in [28, 29, 36, 38, 39, arrived.len()].map(|n| n.min(arrived.len())) {
                let router = if code % 2 == 0 { ROUTER } else { SERVER };
                let frame = error((kind, code), router, GATEWAY, &arrived[..length]);
                let seen = bench.send(Hook::TcIngress, &frame);
                let what = format!("{name}, type {kind}/{code}, {length} bytes");
                assert_eq!(seen.verdict, Verdict::TranslatedIn, "{what}");
                let said = read(&seen.frame);
                assert_eq!((said.source, said.destination), (router, CLIENT), "{what}");
                assert_eq!(said.quoted, sent[..length], "{what}");
                assert_eq!(said.header[..2], [kind, code], "{what}");
                let xdp = bench.send(Hook::XdpOutside, &frame);
                assert_eq!(xdp.verdict, Verdict::LeftUntranslatable, "{what}");
                assert_eq!(xdp.frame, frame, "{what}");
            }
        }
    }
}

/// The MTU of the next hop is the sender's to know (RFC 1191).
#[test]
fn rfc5382_req9_fragmentation_needed_keeps_its_mtu() {
    let bench = Bench::new(INTERNET);
    for (name, flow) in flows(&bench) {
        let message = message((UNREACHABLE, 4), [0, 0, 0x05, 0x14], &flow.request.arrived);
        let frame = frames::other(1, ROUTER, GATEWAY, &message);
        let seen = bench.send(Hook::TcIngress, &frame);
        assert_eq!(seen.verdict, Verdict::TranslatedIn, "{name}");
        assert_eq!(read(&seen.frame).header[4..], [0, 0, 0x05, 0x14], "{name}");
    }
}

/// From inside, about the packet that came in: by the client itself, a router in between, or the
/// gateway's own stack. Outside they all have the external address.
#[test]
fn rfc5508_req5_an_error_from_inside_leaves_with_the_external_address() {
    let bench = Bench::new(INTERNET);
    for (name, flow) in flows(&bench) {
        let Passed { sent, arrived } = flow.reply;
        for from in [CLIENT, INSIDE_ROUTER, GATEWAY, Ipv4Addr::new(10, 77, 0, 1)] {
            for length in [28, arrived.len()] {
                let kind = (UNREACHABLE, PORT);
                let frame = error(kind, from, SERVER, &arrived[..length]);
                let seen = bench.send(Hook::TcEgress, &frame);
                let what = format!("{name} from {from}, {length} bytes");
                assert_eq!(seen.verdict, Verdict::TranslatedOut, "{what}");
                let said = read(&seen.frame);
                assert_eq!((said.source, said.destination), (GATEWAY, SERVER), "{what}");
                assert_eq!(said.quoted, sent[..length], "{what}");
                let xdp = bench.send(Hook::XdpInside, &frame);
                assert_eq!(xdp.verdict, Verdict::LeftUntranslatable, "{what}");
            }
        }
    }
}

#[test]
fn rfc5508_req3_an_error_with_a_wrong_checksum_is_dropped() {
    let bench = Bench::new(INTERNET);
    for (name, flow) in flows(&bench) {
        let inbound = error((UNREACHABLE, PORT), ROUTER, GATEWAY, &flow.request.arrived);
        let outbound = error((UNREACHABLE, PORT), CLIENT, SERVER, &flow.reply.arrived);
        for (hook, frame) in [(Hook::TcIngress, inbound), (Hook::TcEgress, outbound)] {
            // A bit of the checksum, and one at the very end of what it covers.
            for at in [36, frame.len() - 1] {
                let mut frame = frame.clone();
                frame[at] ^= 0x10;
                let seen = bench.send(hook, &frame);
                assert_eq!(seen.verdict, Verdict::IcmpErrorMalformed, "{name} {}", hook.name());
            }
        }
    }
}

#[test]
fn rfc5508_req3a_an_error_that_quotes_a_damaged_header_is_dropped() {
    let bench = Bench::new(INTERNET);
    for (name, mut flow) in flows(&bench) {
        // The identification: nothing by which the session is found.
        flow.request.arrived[4] ^= 1;
        flow.reply.arrived[4] ^= 1;
        let inbound = error((UNREACHABLE, PORT), ROUTER, GATEWAY, &flow.request.arrived);
        let outbound = error((UNREACHABLE, PORT), CLIENT, SERVER, &flow.reply.arrived);
        for (hook, frame) in [(Hook::TcIngress, inbound), (Hook::TcEgress, outbound)] {
            let seen = bench.send(hook, &frame);
            assert_eq!(seen.verdict, Verdict::IcmpErrorMalformed, "{name} {}", hook.name());
        }
    }
}

#[test]
fn rfc5508_req3b_options_of_the_quoted_header_are_skipped() {
    let bench = Bench::new(INTERNET);
    for (name, flow) in flows(&bench) {
        for words in 1..=10_usize {
            // No-operations, and the end of the list.
            let options = |packet: &[u8]| {
                let frame = [&[0; 14], packet].concat();
                let frame = frames::with_ipv4(&frame, |header| {
                    let bytes = [vec![1; words * 4 - 1], vec![0]].concat();
                    header.options = bytes.as_slice().try_into().unwrap();
                    header.total_len += 4 * words as u16;
                });
                frame[14..].to_vec()
            };
            let (seen_outside, sent) =
                (options(&flow.request.arrived), options(&flow.request.sent));
            let frame = error((TIME_EXCEEDED, 0), ROUTER, GATEWAY, &seen_outside);
            let seen = bench.send(Hook::TcIngress, &frame);
            assert_eq!(seen.verdict, Verdict::TranslatedIn, "{name}, {words} words");
            assert_eq!(read(&seen.frame).quoted, sent, "{name}, {words} words");
        }
    }
}

/// A wrong one, as somebody on the way may have made it, is as wrong to its sender.
#[test]
fn rfc5508_req3c_the_quoted_transport_checksum_is_not_judged() {
    let bench = Bench::new(INTERNET);
    for (name, mut flow) in flows(&bench) {
        let at = 20
            + match name {
                "tcp" => 16,
                "udp" => 6,
                _ => 2,
            };
        // A bit of the payload makes the sum wrong, and keeps the field comparable.
        let last = flow.request.arrived.len() - 1;
        flow.request.arrived[last] ^= 1;
        flow.request.sent[last] ^= 1;
        let frame = error((UNREACHABLE, PORT), ROUTER, GATEWAY, &flow.request.arrived);
        let seen = bench.send(Hook::TcIngress, &frame);
        assert_eq!(seen.verdict, Verdict::TranslatedIn, "{name}");
        let quoted = read(&seen.frame).quoted;
        assert_eq!(quoted[at..at + 2], flow.request.sent[at..at + 2], "{name}");
        assert_eq!(quoted, flow.request.sent, "{name}");
    }
}

/// Behind the 128 bytes of the quoted packet stand objects about MPLS labels, say (RFC 4950).
#[test]
fn rfc5508_req3d_extensions_stay_as_they_are() {
    let bench = Bench::new(INTERNET);
    let extension = [0x20, 0, 0x4d, 0x3a, 0, 8, 1, 1, 0x3e, 0x85, 0x01, 0x01];
    for (name, flow) in flows(&bench) {
        let padded = |packet: &[u8]| {
            let mut quoted = packet.to_vec();
            quoted.resize(128, 0);
            [&quoted[..], &extension].concat()
        };
        let quoted = padded(&flow.request.arrived);
        let message = message((TIME_EXCEEDED, 0), [0, 32, 0, 0], &quoted);
        let frame = frames::other(1, ROUTER, GATEWAY, &message);
        let seen = bench.send(Hook::TcIngress, &frame);
        assert_eq!(seen.verdict, Verdict::TranslatedIn, "{name}");
        assert_eq!(read(&seen.frame).quoted, padded(&flow.request.sent), "{name}");
    }
}

/// Quotes as long as a packet can be, on and off the borders of what one turn sums up.
#[test]
fn long_errors_are_summed_to_their_end() {
    let bench = Bench::new(INTERNET);
    let request = frames::udp((CLIENT, 5000), (SERVER, 3478), &[0xa5; 2100]);
    let Passed { sent, arrived } = pass(&bench, TC.out, &request);
    for length in [503, 504, 505, 1015, 1016, 1017, 1472, 2048] {
        let frame = error((UNREACHABLE, PORT), SERVER, GATEWAY, &arrived[..length]);
        let seen = bench.send(Hook::TcIngress, &frame);
        assert_eq!(seen.verdict, Verdict::TranslatedIn, "{length}");
        assert_eq!(read(&seen.frame).quoted, sent[..length], "{length}");
        for at in [42 + 28, frame.len() - 1] {
            let mut damaged = frame.clone();
            damaged[at] ^= 0x80;
            let seen = bench.send(Hook::TcIngress, &damaged);
            assert_eq!(seen.verdict, Verdict::IcmpErrorMalformed, "{length}, byte {at}");
        }
    }
}

#[test]
fn rfc7915_4_3_an_error_about_an_error_is_dropped() {
    let bench = Bench::new(INTERNET);
    for (name, flow) in flows(&bench) {
        for kind in [3, 4, 5, 11, 12] {
            let inner = error((kind, 0), GATEWAY, SERVER, &flow.request.arrived);
            let frame = error((UNREACHABLE, PORT), ROUTER, GATEWAY, &inner[14..]);
            let seen = bench.send(Hook::TcIngress, &frame);
            assert_eq!(seen.verdict, Verdict::IcmpErrorMalformed, "{name}, {kind}");
            let inner = error((kind, 0), SERVER, CLIENT, &flow.reply.arrived);
            let frame = error((UNREACHABLE, PORT), CLIENT, SERVER, &inner[14..]);
            let seen = bench.send(Hook::TcEgress, &frame);
            assert_eq!(seen.verdict, Verdict::IcmpErrorMalformed, "{name}, {kind}");
        }
    }
}

/// What is left of the sessions' entries, to be compared.
fn entries(bench: &Bench) -> Vec<String> {
    let pairs = bench.state().sessions().unwrap();
    let mut entries: Vec<_> = pairs.iter().map(|pair| format!("{pair:?}")).collect();
    entries.sort_unstable();
    entries
}

#[test]
fn rfc5508_req6_rfc4787_req12_rfc5382_req10_errors_change_no_session() {
    let mut bench = Bench::new(INTERNET);
    let flows = flows(&bench);
    bench.advance(Duration::from_secs(30));
    let before = entries(&bench);
    let kinds = (0..16).map(|code| (UNREACHABLE, code));
    for kind in kinds.chain([(4, 0), (5, 0), (5, 1), (TIME_EXCEEDED, 0), (PARAMETER_PROBLEM, 0)]) {
        for (_, flow) in &flows {
            bench.send(Hook::TcIngress, &error(kind, ROUTER, GATEWAY, &flow.request.arrived));
            bench.send(Hook::TcEgress, &error(kind, CLIENT, SERVER, &flow.reply.arrived));
        }
    }
    assert_eq!(entries(&bench), before);
    // The ping's session ends when it would have ended.
    bench.advance(Duration::from_secs(30));
    assert_eq!(bench.sessions().len(), 3);
    for (_, flow) in &flows {
        bench.send(Hook::TcIngress, &error((3, 1), ROUTER, GATEWAY, &flow.request.arrived));
        bench.send(Hook::TcEgress, &error((3, 1), CLIENT, SERVER, &flow.reply.arrived));
    }
    bench.advance(grace(60));
    assert_eq!(bench.sessions().len(), 2);
    let (_, echo) = &flows[2];
    let late = error((3, 1), ROUTER, GATEWAY, &echo.request.arrived);
    assert_eq!(bench.send(Hook::TcIngress, &late).verdict, Verdict::NoSession);
    // The others go on.
    let data = frames::udp((CLIENT, 5000), (SERVER, 3478), b"more");
    assert_eq!(bench.send(Hook::TcEgress, &data).verdict, Verdict::TranslatedOut);
}

/// It may be about the gateway's own traffic: its stack looks for a socket.
#[test]
fn rfc5508_req4_an_error_without_a_session_is_for_the_stack_or_dropped() {
    let bench = Bench::new(INTERNET);
    let unknown = frames::udp((GATEWAY, 9), (SERVER, 3478), b"hello");
    let known = pass(&bench, TC.out, &frames::udp((CLIENT, 5000), (SERVER, 3478), b"hello"));
    let kind = (UNREACHABLE, PORT);
    for (what, to, quoted, verdict) in [
        ("another port", GATEWAY, &unknown[14..], Verdict::NoSession),
        ("for somebody inside", CLIENT, &unknown[14..], Verdict::Unsolicited),
        ("not for the sender of what it quotes", CLIENT, &known.arrived, Verdict::Unsolicited),
        ("as its sender sent it", CLIENT, &known.sent, Verdict::Unsolicited),
        ("too little", GATEWAY, &known.arrived[..27], Verdict::NoSession),
        ("no header", GATEWAY, &known.arrived[..19], Verdict::IcmpErrorMalformed),
    ] {
        let frame = error(kind, ROUTER, to, quoted);
        let seen = bench.send(Hook::TcIngress, &frame);
        assert_eq!((seen.verdict, &seen.frame), (verdict, &frame), "{what}");
    }
}

#[test]
fn rfc5508_req5_an_error_from_inside_without_a_session_is_dropped() {
    let bench = Bench::new(INTERNET);
    let quoted = frames::udp((SERVER, 3478), (CLIENT, 5000), b"hello");
    for from in [CLIENT, INSIDE_ROUTER] {
        let frame = error((UNREACHABLE, PORT), from, SERVER, &quoted[14..]);
        let seen = bench.send(Hook::TcEgress, &frame);
        assert_eq!(seen.verdict, Verdict::IcmpErrorNoSession, "{from}");
    }
    // The gateway's own would tell the outside an inside address.
    let frame = error((TIME_EXCEEDED, 0), GATEWAY, SERVER, &quoted[14..]);
    assert_eq!(bench.send(Hook::TcEgress, &frame).verdict, Verdict::IcmpErrorNoSession);
    // Unless it is about a packet to itself.
    let quoted = frames::udp((SERVER, 3478), (GATEWAY, 5000), b"hello");
    let frame = error((UNREACHABLE, PORT), GATEWAY, SERVER, &quoted[14..]);
    let seen = bench.send(Hook::TcEgress, &frame);
    assert_eq!((seen.verdict, &seen.frame), (Verdict::Unmatched, &frame));
    let rules = bench.state().rules().unwrap();
    assert_eq!(rules[0].counters.dropped_packets, 3);
}

#[test]
fn rfc5508_req10_redirects_and_source_quench_are_dropped() {
    let bench = Bench::new(INTERNET);
    for (name, flow) in flows(&bench) {
        for kind in [(4, 0), (5, 0), (5, 1), (5, 2), (5, 3)] {
            let frame = error(kind, ROUTER, GATEWAY, &flow.request.arrived);
            let seen = bench.send(Hook::TcIngress, &frame);
            assert_eq!(seen.verdict, Verdict::IcmpRefused, "{name}");
            let frame = error(kind, CLIENT, SERVER, &flow.reply.arrived);
            let seen = bench.send(Hook::TcEgress, &frame);
            assert_eq!(seen.verdict, Verdict::IcmpRefused, "{name}");
            let xdp = bench.send(Hook::XdpOutside, &frame);
            assert_eq!(xdp.verdict, Verdict::LeftUntranslatable, "{name}");
        }
    }
}

/// What the stack must answer reaches it as its sender sent it, so it quotes that: traceroute shows
/// the gateway to its clients.
#[test]
fn rfc5508_req10a_the_stack_sees_the_untranslated_packet_whose_time_is_up() {
    let bench = Bench::new(INTERNET);
    let frame = frames::udp((CLIENT, 5000), (SERVER, 33434), b"first hop");
    let frame = frames::with_ipv4(&frame, |header| header.time_to_live = 1);
    for hook in [Hook::XdpInside, Hook::TcInside] {
        assert_eq!(bench.send(hook, &frame).frame, frame);
    }
}

/// Whatever is quoted: nothing that is covered leaves untranslated, and no error is sent on with a
/// checksum that is wrong.
#[test]
fn hostile_errors_leave_right_or_not_at_all() {
    use proptest::{
        prelude::*,
        test_runner::{Config, TestRunner},
    };
    let bench = Bench::new(INTERNET);
    let flows = flows(&bench);
    let errors = (
        0..3_usize,
        prop_oneof![4 => Just(3_u8), 1 => Just(11), 1 => Just(12), 1 => any::<u8>()],
        any::<u8>(),
        prop_oneof![3 => Just([0_u8; 4]), 1 => any::<[u8; 4]>()],
        // Bytes of the quote that are changed, and where it is cut.
        proptest::collection::vec((0..60_usize, any::<u8>()), 0..3),
        prop_oneof![1 => 0..80_usize, 1 => Just(80)],
        proptest::bool::ANY,
    );
    let mut runner = TestRunner::new(Config { cases: 1500, ..Config::default() });
    let result = runner.run(&errors, |(flow, kind, code, rest, changes, cut, right)| {
        let flow = &flows[flow].1;
        for (hook, from, to, packet) in [
            (Hook::TcIngress, ROUTER, GATEWAY, &flow.request.arrived),
            (Hook::TcEgress, CLIENT, SERVER, &flow.reply.arrived),
        ] {
            let mut quoted = packet.clone();
            for (at, value) in &changes {
                if let Some(byte) = quoted.get_mut(*at) {
                    *byte ^= value;
                }
            }
            quoted.truncate(cut);
            let mut frame =
                frames::other(IpNumber::ICMP.0, from, to, &message((kind, code), rest, &quoted));
            if !right {
                frame[37] ^= 1;
            }
            let seen = bench.send(hook, &frame);
            match seen.verdict {
                Verdict::TranslatedIn | Verdict::TranslatedOut if kind != 0 && kind != 8 => {
                    prop_assert!(right);
                    let said = read(&seen.frame);
                    let kept = if hook == Hook::TcIngress { said.source } else { said.destination };
                    let changed =
                        if hook == Hook::TcIngress { said.destination } else { said.source };
                    let expected =
                        if hook == Hook::TcIngress { (ROUTER, CLIENT) } else { (SERVER, GATEWAY) };
                    prop_assert_eq!((kept, changed), expected);
                }
                Verdict::NoSession => prop_assert_eq!(&seen.frame, &frame),
                _ => {}
            }
            if hook == Hook::TcEgress {
                prop_assert_ne!(seen.verdict.fate(), nat_common::verdict::Fate::Passed);
            }
        }
        Ok(())
    });
    result.unwrap();
}
