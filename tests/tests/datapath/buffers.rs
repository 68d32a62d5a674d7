//! XDP: frames in several buffers, as drivers hand over what is longer than a page. The kernel makes
//! such ones here, too, where a frame is longer than a page or its context says so.
use nat_common::{instance::BUFFERS_TAKEN, stats::Hook, verdict::Verdict};
use nat_tests::lab::process::ip;

use super::{
    bench::{Bench, INTERNET},
    frames::{self, ACK, CLIENT, GATEWAY, SERVER, SYN},
};

/// A bench with long frames, whose interfaces take those in several buffers, or do not.
fn bench(taken: bool) -> Bench {
    let bench = Bench::new(INTERNET);
    ip(&bench.lab().gateway, "link set lan0 mtu 9000\nlink set wan0 mtu 9000\n");
    let mut maps = bench.maps();
    let mut instance = maps.instance.get(&0, 0).unwrap();
    instance.flags = if taken { BUFFERS_TAKEN } else { 0 };
    maps.instance.set(0, instance, 0).unwrap();
    bench
}

fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7) as u8).collect()
}

/// On the long way and the short one; every checksum is that of the whole packet.
#[test]
fn they_are_translated_in_both_directions() {
    let bench = bench(true);
    for (port, bytes) in [(1, 1000), (2, 3450), (3, 3600), (4, 8900)] {
        let out = frames::udp((CLIENT, 5000), (SERVER, port), &payload(bytes));
        for _ in 0..3 {
            let seen = bench.send(Hook::XdpInside, &out);
            assert_eq!(seen.verdict, Verdict::TranslatedOut, "{bytes}");
            let (before, after) = (frames::read(&out), frames::read(&seen.frame));
            assert_eq!((after.source.0, &after.rest), (GATEWAY, &before.rest), "{bytes}");
            let answer = frames::udp((SERVER, port), after.source, &payload(bytes));
            let seen = bench.send(Hook::XdpOutside, &answer);
            assert_eq!(seen.verdict, Verdict::TranslatedIn, "{bytes}");
            assert_eq!(frames::read(&seen.frame).destination, (CLIENT, 5000));
        }
        let sessions = bench.sessions();
        let session = sessions.iter().find(|session| session.remote.port == port).unwrap();
        // IPv4 and UDP have headers of 28 bytes.
        assert_eq!(
            (session.bytes.out, session.bytes.inbound),
            (3 * (bytes as u64 + 28), 3 * (bytes as u64 + 28))
        );
    }
    let syn = frames::tcp((CLIENT, 5000), (SERVER, 80), SYN, b"");
    let external = frames::read(&bench.send(Hook::XdpInside, &syn).frame).source;
    let data = frames::tcp((SERVER, 80), external, SYN | ACK, &payload(8000));
    let seen = bench.send(Hook::XdpOutside, &data);
    assert_eq!(seen.verdict, Verdict::TranslatedIn);
    assert_eq!(frames::read(&seen.frame).rest, frames::read(&data).rest);
}

/// The kernel would drop it without a word.
#[test]
fn they_are_left_to_the_stack_where_one_interface_takes_none() {
    let bench = bench(false);
    let short = frames::udp((CLIENT, 5000), (SERVER, 3478), &payload(3000));
    let long = frames::udp((CLIENT, 5000), (SERVER, 3478), &payload(8000));
    for _ in 0..2 {
        let seen = bench.send(Hook::XdpInside, &long);
        assert_eq!((seen.verdict, &seen.frame), (Verdict::LeftBuffers, &long));
        // The same flow in one buffer, before the session and with it.
        assert_eq!(bench.send(Hook::XdpInside, &short).verdict, Verdict::TranslatedOut);
    }
    assert_eq!(bench.entries(), 1);
}

#[test]
fn what_is_longer_than_the_frame_says_is_dropped_all_the_same() {
    let bench = bench(true);
    let mut frame = frames::udp((CLIENT, 5000), (SERVER, 3478), &payload(8000));
    frame.truncate(6000);
    assert_eq!(bench.send(Hook::XdpInside, &frame).verdict, Verdict::Malformed);
}

/// Whatever of the headers is in the first buffer: the frame is translated, or the stack's as it was.
#[test]
fn headers_beyond_the_first_buffer_are_the_stacks() {
    let bench = bench(true);
    let frame = frames::udp((CLIENT, 5000), (SERVER, 3478), &payload(500));
    for (cut, verdict) in [
        (14, Verdict::LeftBuffers),
        (20, Verdict::LeftBuffers),
        (33, Verdict::LeftBuffers),
        (34, Verdict::LeftUntranslatable),
        (41, Verdict::LeftUntranslatable),
        (42, Verdict::TranslatedOut),
        (100, Verdict::TranslatedOut),
    ] {
        let seen = bench.send_in_buffers(Hook::XdpInside, cut, &frame);
        assert_eq!(seen.verdict, verdict, "{cut}");
        match verdict {
            Verdict::TranslatedOut => _ = frames::read(&seen.frame),
            _ => assert_eq!(seen.frame, frame, "{cut}"),
        }
    }
}
