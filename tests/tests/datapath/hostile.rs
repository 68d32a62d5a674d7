//! What cannot be translated must not leave, and must be named.
use std::net::Ipv4Addr;

use nat_common::{
    stats::Hook,
    verdict::{Fate, Verdict},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{
    bench::{Bench, INTERNET},
    frames::{self, CLIENT, GATEWAY, SERVER},
};

/// A covered packet that ends at TC with this verdict, and that XDP leaves alone.
fn refused(bench: &Bench, what: &str, frame: &[u8], verdict: Verdict) {
    let tc = bench.send(Hook::TcEgress, frame);
    assert_eq!((tc.verdict, tc.verdict.fate()), (verdict, Fate::Dropped), "{what}");
    let xdp = bench.send(Hook::XdpInside, frame);
    assert_eq!(xdp.verdict, Verdict::LeftUntranslatable, "{what}");
    assert_eq!(xdp.frame, frame, "{what}");
    assert_eq!(bench.entries() + bench.claims(), 0, "{what}");
}

#[test]
fn rfc3022_2_2_protocols_without_ports_are_dropped_by_name() {
    let bench = Bench::new(INTERNET);
    for (name, protocol) in
        [("GRE", 47), ("ESP", 50), ("AH", 51), ("SCTP", 132), ("UDP-Lite", 136), ("IPIP", 4)]
    {
        let frame = frames::other(protocol, CLIENT, SERVER, &[0x11; 40]);
        refused(&bench, name, &frame, Verdict::ProtocolNotCovered);
    }
}

#[test]
fn transport_headers_cut_short_are_dropped_by_name() {
    let bench = Bench::new(INTERNET);
    for (name, protocol, header_bytes) in [("TCP", 6, 20), ("UDP", 17, 8), ("ICMP", 1, 8)] {
        for length in 0..header_bytes {
            // A data offset of 5 words where the header reaches that far.
            let mut payload = vec![0x50; length];
            if let (1, Some(kind)) = (protocol, payload.first_mut()) {
                *kind = 8;
            }
            let frame = frames::other(protocol, CLIENT, SERVER, &payload);
            refused(&bench, &format!("{name}, {length} bytes"), &frame, Verdict::Truncated);
        }
    }
}

/// The header's length counts, not what the frame happens to carry behind it (padding).
#[test]
fn padding_is_not_a_transport_header() {
    let bench = Bench::new(INTERNET);
    let mut frame = frames::other(17, CLIENT, SERVER, &[1, 2, 3, 4]);
    frame.extend_from_slice(&[0; 22]);
    refused(&bench, "padded", &frame, Verdict::Truncated);
}

#[test]
fn a_tcp_header_that_claims_less_than_itself_is_dropped() {
    let bench = Bench::new(INTERNET);
    let mut frame = frames::tcp((CLIENT, 1), (SERVER, 2), frames::SYN, b"payload");
    frame[46] = 0x40;
    refused(&bench, "data offset 4", &frame, Verdict::Truncated);
}

#[test]
fn icmp_other_than_echo_is_dropped_by_name() {
    let bench = Bench::new(INTERNET);
    for kind in [3, 4, 5, 9, 10, 11, 12, 13, 17] {
        let mut payload = [0; 36];
        payload[0] = kind;
        let frame = frames::other(1, CLIENT, SERVER, &payload);
        let verdict = match kind {
            // What they quote is no packet.
            3 | 11 | 12 => Verdict::IcmpErrorMalformed,
            4 | 5 => Verdict::IcmpRefused,
            _ => Verdict::IcmpUnsupported,
        };
        refused(&bench, &format!("type {kind}"), &frame, verdict);
    }
    // An answer that nobody asked for has no session either, but is a whole packet.
    let reply = frames::echo(false, CLIENT, SERVER, 7);
    assert_eq!(bench.send(Hook::TcEgress, &reply).verdict, Verdict::IcmpUnsupported);
}

#[test]
fn malformed_ipv4_headers_are_dropped() {
    let bench = Bench::new(INTERNET);
    let good = frames::udp((CLIENT, 5000), (SERVER, 3478), b"x");
    let with = |offset: usize, value: u8| {
        let mut frame = good.clone();
        frame[offset] = value;
        frame
    };
    for (what, frame) in [
        ("version 6", with(14, 0x65)),
        ("header of 4 words", with(14, 0x44)),
        ("total length beyond the frame", with(16, 1)),
        ("total length 19", {
            let mut f = with(16, 0);
            f[17] = 19;
            f
        }),
    ] {
        assert_eq!(bench.send(Hook::TcEgress, &frame).verdict, Verdict::Malformed, "{what}");
        assert_eq!(bench.send(Hook::XdpInside, &frame).verdict, Verdict::Malformed, "{what}");
    }
    // The stack shows no such packet to TC, and the kernel refuses to run a test with one.
    let short = &good[..14 + 12];
    assert_eq!(bench.send(Hook::XdpInside, short).verdict, Verdict::Malformed);
}

#[test]
fn what_is_not_ipv4_passes() {
    let bench = Bench::new(INTERNET);
    let good = frames::udp((CLIENT, 5000), (SERVER, 3478), &[0; 40]);
    for (ether_type, verdict) in [
        ([0x08, 0x06], Verdict::NotIpv4),
        ([0x86, 0xdd], Verdict::NotIpv4),
        ([0x88, 0xcc], Verdict::NotIpv4),
        ([0x81, 0x00], Verdict::VlanTagged),
        ([0x88, 0xa8], Verdict::VlanTagged),
    ] {
        let mut frame = good.clone();
        frame[12..14].copy_from_slice(&ether_type);
        for hook in [Hook::TcEgress, Hook::TcIngress] {
            let seen = bench.send(hook, &frame);
            assert_eq!((seen.verdict, &seen.frame), (verdict, &frame), "{ether_type:02x?}");
        }
        assert_eq!(bench.send(Hook::XdpInside, &frame).verdict, Verdict::LeftUntouched);
    }
}

/// Invariant 1, for whatever a client may send: what leaves has the external address and right
/// checksums where the client's were, or does not leave.
#[test]
fn no_bytes_of_a_client_leave_with_its_own_address() {
    let bench = Bench::new(INTERNET);
    let frames = (
        prop_oneof![Just(1_u8), Just(6), Just(17), any::<u8>()],
        proptest::collection::vec(any::<u8>(), 0..80),
        // Header words behind the version: type of service, length, fragment field, options.
        (any::<u8>(), prop_oneof![3 => Just(None), 1 => any::<u16>().prop_map(Some)]),
        prop_oneof![3 => Just(0_u16), 1 => any::<u16>()],
        prop_oneof![3 => Just(5_u8), 1 => 0_u8..16],
    );
    let mut runner = TestRunner::new(Config { cases: 4000, ..Config::default() });
    let result = runner.run(&frames, |(protocol, payload, (tos, length), fragment, words)| {
        let mut frame = frames::other(protocol, CLIENT, SERVER, &payload);
        frame[14] = 0x40 | words;
        frame[15] = tos;
        if let Some(length) = length {
            frame[16..18].copy_from_slice(&length.to_be_bytes());
        }
        frame[20..22].copy_from_slice(&fragment.to_be_bytes());
        for hook in [Hook::TcEgress, Hook::XdpInside] {
            let seen = bench.send(hook, &frame);
            match seen.verdict.fate() {
                Fate::Dropped => {}
                Fate::LeftToStack => prop_assert_eq!(&seen.frame, &frame),
                Fate::Translated => {
                    let source = Ipv4Addr::new(
                        seen.frame[26],
                        seen.frame[27],
                        seen.frame[28],
                        seen.frame[29],
                    );
                    prop_assert_eq!(source, GATEWAY);
                }
                Fate::Passed => prop_assert!(false, "{:?} passed untranslated", seen),
            }
        }
        Ok(())
    });
    result.unwrap();
}
