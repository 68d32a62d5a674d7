//! Which bytes change, and that the checksums are right.
use nat_common::{stats::Hook, verdict::Verdict};

use super::{
    bench::{BOTH, Bench, Hooks, INTERNET},
    frames::{self, ACK, CLIENT, GATEWAY, SERVER, SYN, View},
};

/// XDP forwards by itself and lowers the time to live; at TC the stack has done so.
fn ttl_after(hook: Hook) -> u8 {
    match hook {
        Hook::XdpInside | Hook::XdpOutside => frames::TTL - 1,
        Hook::TcEgress | Hook::TcIngress | Hook::TcInside => frames::TTL,
    }
}

/// A request leaves with the external address and some port of the range; its answer comes back to
/// the client; and nothing else changes.
fn round_trip(hooks: Hooks, request: &[u8], answer: impl Fn(u16) -> Vec<u8>) {
    let bench = Bench::new(INTERNET);
    let sent = frames::read(request);
    let out = bench.send(hooks.out, request);
    assert_eq!(out.verdict, Verdict::TranslatedOut);
    let left = frames::read(&out.frame);
    let external = left.source.1;
    assert_eq!(left.source.0, GATEWAY);
    assert!(external >= 1024, "{external}");
    let icmp = sent.source.1 == sent.destination.1;
    let expected = View {
        source: left.source,
        destination: if icmp { (SERVER, external) } else { sent.destination },
        ttl: ttl_after(hooks.out),
        checksum: left.checksum,
        ..sent.clone()
    };
    assert_eq!(left, expected);

    let answer = answer(external);
    let sent_back = frames::read(&answer);
    let back = bench.send(hooks.inbound, &answer);
    assert_eq!(back.verdict, Verdict::TranslatedIn);
    let arrived = frames::read(&back.frame);
    let expected = View {
        source: if icmp { (SERVER, sent.source.1) } else { sent_back.source },
        destination: sent.source,
        ttl: ttl_after(hooks.inbound),
        checksum: arrived.checksum,
        ..sent_back
    };
    assert_eq!(arrived, expected);

    // The same flow again: the same session.
    let again = frames::read(&bench.send(hooks.out, request).frame);
    assert_eq!(again.source, left.source);
    let sessions = bench.sessions();
    assert_eq!(sessions.len(), 1);
    assert_eq!((sessions[0].packets.out, sessions[0].packets.inbound), (2, 1));
    let ip_bytes = (request.len() as u64 - 14) * 2;
    assert_eq!(
        (sessions[0].bytes.out, sessions[0].bytes.inbound),
        (ip_bytes, answer.len() as u64 - 14)
    );
}

#[test]
fn udp_goes_out_and_comes_back() {
    for hooks in BOTH {
        let request = frames::udp((CLIENT, 5000), (SERVER, 3478), b"hello");
        round_trip(hooks, &request, |port| {
            frames::udp((SERVER, 3478), (GATEWAY, port), b"hello yourself, odd length")
        });
    }
}

#[test]
fn tcp_goes_out_and_comes_back() {
    for hooks in BOTH {
        let request = frames::tcp((CLIENT, 5000), (SERVER, 80), SYN, b"");
        round_trip(hooks, &request, |port| {
            frames::tcp((SERVER, 80), (GATEWAY, port), SYN | ACK, b"")
        });
    }
}

#[test]
fn rfc5508_req1_an_echo_request_goes_out_and_its_reply_comes_back() {
    for hooks in BOTH {
        let request = frames::echo(true, CLIENT, SERVER, 77);
        round_trip(hooks, &request, |id| frames::echo(false, SERVER, GATEWAY, id));
    }
}

#[test]
fn rfc3022_4_1_a_udp_packet_without_checksum_stays_without() {
    for hooks in BOTH {
        let bench = Bench::new(INTERNET);
        let mut frame = frames::udp((CLIENT, 5000), (SERVER, 3478), b"no checksum");
        frame[40..42].fill(0);
        let out = bench.send(hooks.out, &frame);
        assert_eq!(out.verdict, Verdict::TranslatedOut);
        assert_eq!(frames::read(&out.frame).checksum, 0);
    }
}

/// One's complement has two zeros, and a UDP checksum field of 0x0000 means something else.
#[test]
fn rfc768_a_checksum_that_becomes_zero_is_sent_as_ffff() {
    for hooks in BOTH {
        let rule = format!("{INTERNET}ports = \"4000-4000\"\n");
        let bench = Bench::new(&rule);
        // What the packet will look like outside, first with a payload of zeros: its checksum is
        // the payload word that makes the sum all ones.
        let outside = frames::udp((GATEWAY, 4000), (SERVER, 3478), &[0, 0]);
        let word = [outside[40], outside[41]];
        let inside = frames::udp((CLIENT, 5000), (SERVER, 3478), &word);
        let out = bench.send(hooks.out, &inside);
        assert_eq!(out.verdict, Verdict::TranslatedOut);
        assert_eq!(frames::read(&out.frame).checksum, 0xffff);
    }
}

/// At TC, options stay where they are and the ports are found behind them; XDP leaves such packets
/// to it.
#[test]
fn ipv4_options_are_kept() {
    let frame = frames::udp((CLIENT, 5000), (SERVER, 3478), b"options");
    let with_options = frames::with_ipv4(&frame, |header| {
        // Three no-operations and the end of the list.
        header.options = [1, 1, 1, 0].into();
        header.total_len += 4;
    });
    let bench = Bench::new(INTERNET);
    let xdp = bench.send(Hook::XdpInside, &with_options);
    assert_eq!((xdp.verdict, &xdp.frame), (Verdict::LeftOptions, &with_options));
    let tc = bench.send(Hook::TcEgress, &with_options);
    assert_eq!(tc.verdict, Verdict::TranslatedOut);
    assert_eq!(frames::read(&tc.frame).source.0, GATEWAY);
    assert_eq!(tc.frame[34..38], [1, 1, 1, 0]);
}

/// The stack answers with ICMP time exceeded, about the packet as the client sent it.
#[test]
fn xdp_leaves_a_packet_whose_time_is_up_as_it_is() {
    let bench = Bench::new(INTERNET);
    for ttl in [0, 1] {
        let frame = frames::udp((CLIENT, 5000), (SERVER, 3478), b"last hop");
        let frame = frames::with_ipv4(&frame, |header| header.time_to_live = ttl);
        let seen = bench.send(Hook::XdpInside, &frame);
        assert_eq!((seen.verdict, &seen.frame), (Verdict::LeftTtl, &frame));
    }
    assert_eq!(bench.entries(), 0);
}

/// The stack decides what becomes of frames for others and of packets for many.
#[test]
fn xdp_takes_only_what_is_for_this_host_and_for_one() {
    let bench = Bench::new(INTERNET);
    let mut for_another = frames::udp((CLIENT, 5000), (SERVER, 3478), b"x");
    for_another[5] ^= 1;
    let multicast = frames::udp((CLIENT, 5000), ([239, 255, 255, 250].into(), 1900), b"x");
    let broadcast = frames::udp((CLIENT, 5000), ([255, 255, 255, 255].into(), 67), b"x");
    for frame in [for_another, multicast, broadcast] {
        let seen = bench.send(Hook::XdpInside, &frame);
        assert_eq!((seen.verdict, &seen.frame), (Verdict::LeftUntouched, &frame));
    }
    assert_eq!(bench.entries(), 0);
}

/// A session of one hook serves the other: they are the same maps and stages.
#[test]
fn xdp_and_tc_share_sessions() {
    let bench = Bench::new(INTERNET);
    let frame = frames::udp((CLIENT, 5000), (SERVER, 3478), b"one session");
    let by_xdp = frames::read(&bench.send(Hook::XdpInside, &frame).frame);
    let by_tc = frames::read(&bench.send(Hook::TcEgress, &frame).frame);
    assert_eq!(by_xdp.source, by_tc.source);
    assert_eq!(bench.entries(), 1);
}
