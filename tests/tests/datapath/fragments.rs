//! Fragments: translated as the first one of their packet is, and nothing of a packet passes twice.
use std::{net::Ipv4Addr, time::Duration};

use nat_common::{limits::FRAGMENT_TIMEOUT_NS, stats::Hook, verdict::Verdict};
use nat_ctl::datapath::State as _;

use super::{
    bench::{Bench, INTERNET},
    common::fragments::{join, part, split},
    frames::{self, CLIENT, GATEWAY, SERVER, SYN},
};

const ID: u16 = 0x1234;
const OTHER_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);

fn question(payload: usize) -> Vec<u8> {
    frames::udp((CLIENT, 5000), (SERVER, 3478), &vec![7; payload])
}

/// Sends parts and expects all of them to be translated; what came out.
fn all(bench: &Bench, hook: Hook, parts: &[Vec<u8>], verdict: Verdict) -> Vec<Vec<u8>> {
    let send = |part: &Vec<u8>| {
        let seen = bench.send(hook, part);
        assert_eq!(seen.verdict, verdict);
        seen.frame
    };
    parts.iter().map(send).collect()
}

fn verdict(bench: &Bench, hook: Hook, part: &[u8]) -> Verdict {
    bench.send(hook, part).verdict
}

/// Whether a later fragment's IPv4 header is right, and between whom it goes.
fn ends(frame: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    let header = etherparse::Ipv4HeaderSlice::from_slice(&frame[14..]).unwrap();
    assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
    (header.source_addr(), header.destination_addr())
}

#[test]
fn rfc4787_req14_fragments_in_order_are_translated_both_ways() {
    let bench = Bench::new(INTERNET);
    let echo = |request, from, to, id| {
        let mut frame = frames::echo(request, from, to, id);
        // A payload of three fragments, with the right checksum.
        frame.truncate(34);
        let mut message = vec![if request { 8 } else { 0 }, 0, 0, 0];
        message.extend_from_slice(&id.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        message.extend((0..1000_u32).map(|byte| byte as u8));
        let check = nat_tests::lab::traffic::internet_checksum(&message);
        message[2..4].copy_from_slice(&check.to_be_bytes());
        frames::other(1, from, to, &message)
    };
    let tcp = |from, to, flags| frames::tcp(from, to, flags, &[3; 1000]);
    let udp = |from, to| frames::udp(from, to, &[5; 1000]);
    let asked = [
        udp((CLIENT, 5000), (SERVER, 3478)),
        tcp((CLIENT, 5000), (SERVER, 80), SYN),
        echo(true, CLIENT, SERVER, 5000),
    ];
    for (id, frame) in (1..).zip(asked) {
        let out =
            all(&bench, Hook::TcEgress, &split(&frame, &[400, 800], id), Verdict::TranslatedOut);
        let (out, sent) = (frames::read(&join(&out)), frames::read(&frame));
        assert_eq!((out.source.0, out.rest), (GATEWAY, sent.rest));
        let (server, external) = (out.destination, out.source);
        let answer = match id {
            1 => udp(server, external),
            2 => tcp(server, external, SYN | frames::ACK),
            _ => echo(false, server.0, external.0, external.1),
        };
        let parts = split(&answer, &[400, 800], id);
        let back = all(&bench, Hook::TcIngress, &parts, Verdict::TranslatedIn);
        let (back, sent) = (frames::read(&join(&back)), frames::read(&answer));
        assert_eq!((back.destination, back.rest), ((CLIENT, 5000), sent.rest));
    }
    assert_eq!(bench.entries(), 3);
}

/// XDP leaves them to TC, as they came.
#[test]
fn xdp_leaves_fragments_alone() {
    let bench = Bench::new(INTERNET);
    for part in split(&question(1000), &[400, 800], ID) {
        for hook in [Hook::XdpInside, Hook::XdpOutside] {
            let seen = bench.send(hook, &part);
            assert_eq!((seen.verdict, seen.frame), (Verdict::LeftUntranslatable, part.clone()));
        }
    }
    assert_eq!(bench.entries(), 0);
}

/// After the first one, in any order.
#[test]
fn rfc4787_req14_fragments_behind_the_first_may_come_in_any_order() {
    let bench = Bench::new(INTERNET);
    let frame = question(1400);
    let parts = split(&frame, &[200, 400, 600, 800, 1000, 1200], ID);
    for (id, order) in [[0, 6, 5, 4, 3, 2, 1], [0, 3, 1, 6, 4, 2, 5]].iter().enumerate() {
        let parts: Vec<_> = order
            .iter()
            .map(|at| frames::with_ipv4(&parts[*at], |header| header.identification = id as u16))
            .collect();
        let out = all(&bench, Hook::TcEgress, &parts, Verdict::TranslatedOut);
        assert_eq!(frames::read(&join(&out)).rest, frames::read(&frame).rest);
    }
}

/// With nobody there who could keep it.
#[test]
fn a_fragment_before_its_first_is_dropped_by_name() {
    let bench = Bench::new(INTERNET);
    let parts = split(&question(1000), &[400], ID);
    assert_eq!(verdict(&bench, Hook::TcEgress, &parts[1]), Verdict::Fragment);
    let out = all(&bench, Hook::TcEgress, &parts, Verdict::TranslatedOut);
    let external = frames::read(&join(&out)).source;
    let answer = split(&frames::udp((SERVER, 3478), external, &[1; 1000]), &[400], ID);
    assert_eq!(verdict(&bench, Hook::TcIngress, &answer[1]), Verdict::Fragment);
    all(&bench, Hook::TcIngress, &answer, Verdict::TranslatedIn);
    assert_eq!(bench.entries(), 1);
}

/// Fragments belong together by source, destination, protocol and number (RFC 791 section 2.3).
#[test]
fn fragments_of_other_packets_are_not_mistaken() {
    let bench = Bench::new(INTERNET);
    let frame = question(1000);
    let parts = split(&frame, &[400, 800], ID);
    all(&bench, Hook::TcEgress, &parts[..1], Verdict::TranslatedOut);
    let others = [
        frames::with_ipv4(&parts[1], |header| header.identification = ID + 1),
        frames::with_ipv4(&parts[1], |header| header.source = OTHER_CLIENT.octets()),
        frames::with_ipv4(&parts[1], |header| header.destination = [203, 0, 113, 11]),
        frames::with_ipv4(&parts[1], |header| header.protocol = etherparse::IpNumber::ICMP),
    ];
    for other in others {
        assert_eq!(verdict(&bench, Hook::TcEgress, &other), Verdict::Fragment);
    }
    all(&bench, Hook::TcEgress, &parts[1..], Verdict::TranslatedOut);
}

/// The time is exact, and a session's life is another matter: fragments without ports move nothing.
#[test]
fn fragments_are_taken_for_the_reassembly_time() {
    for (late, expected) in [(0, Verdict::TranslatedOut), (1, Verdict::Fragment)] {
        let mut bench = Bench::new(INTERNET);
        let parts = split(&question(1000), &[400], ID);
        all(&bench, Hook::TcEgress, &parts[..1], Verdict::TranslatedOut);
        let before = bench.state().sessions().unwrap();
        bench.advance(Duration::from_nanos(FRAGMENT_TIMEOUT_NS - 1 + late));
        assert_eq!(verdict(&bench, Hook::TcEgress, &parts[1]), expected);
        assert_eq!(bench.state().sessions().unwrap(), before);
    }
}

/// RFC 5722: what overlaps is not passed, nor anything of its packet behind it. What comes twice is
/// passed once.
#[test]
fn rfc5722_overlapping_fragments_are_refused() {
    let frame = question(1392);
    let cut = |from, to| part(&frame, ID, from, to, to != 1400);
    let first = cut(0, 400);
    for (what, overlapping) in [
        ("the first one's end", cut(392, 800)),
        ("the first one with more", cut(0, 408)),
        ("a later one's beginning", cut(400, 808)),
        ("a later one from both sides", cut(792, 1208)),
        ("everything", cut(0, 1400)),
    ] {
        let bench = Bench::new(INTERNET);
        let passing = [first.clone(), cut(800, 1200)];
        all(&bench, Hook::TcEgress, &passing, Verdict::TranslatedOut);
        // The whole packet has another meaning.
        if overlapping.len() - 34 < 1400 {
            let seen = verdict(&bench, Hook::TcEgress, &overlapping);
            assert_eq!(seen, Verdict::FragmentOverlap, "{what}");
            let seen = verdict(&bench, Hook::TcEgress, &cut(1200, 1400));
            assert_eq!(seen, Verdict::FragmentOverlap, "{what}: the rest");
        }
    }
    let bench = Bench::new(INTERNET);
    all(&bench, Hook::TcEgress, &[first.clone(), cut(400, 800)], Verdict::TranslatedOut);
    for again in [first, cut(400, 800), cut(408, 792)] {
        assert_eq!(verdict(&bench, Hook::TcEgress, &again), Verdict::FragmentOverlap);
    }
    all(&bench, Hook::TcEgress, &[cut(800, 1400)], Verdict::TranslatedOut);
}

/// The same from outside: what reaches a client is one packet.
#[test]
fn rfc5722_overlapping_fragments_from_outside_are_refused() {
    let bench = Bench::new(INTERNET);
    let out = bench.send(Hook::TcEgress, &question(10));
    let external = frames::read(&out.frame).source;
    let answer = frames::udp((SERVER, 3478), external, &[1; 992]);
    let parts = split(&answer, &[400], ID);
    all(&bench, Hook::TcIngress, &parts[..1], Verdict::TranslatedIn);
    let over = part(&answer, ID, 392, 1000, false);
    assert_eq!(verdict(&bench, Hook::TcIngress, &over), Verdict::FragmentOverlap);
    assert_eq!(verdict(&bench, Hook::TcIngress, &parts[1]), Verdict::FragmentOverlap);
}

#[test]
fn nothing_passes_behind_the_end_of_a_packet() {
    let frame = question(1392);
    let cut = |from, to, more| part(&frame, ID, from, to, more);
    for wrong in [cut(800, 1200, true), cut(800, 1200, false), cut(400, 600, false)] {
        let bench = Bench::new(INTERNET);
        let passing = [cut(0, 200, true), cut(600, 800, false)];
        all(&bench, Hook::TcEgress, &passing, Verdict::TranslatedOut);
        assert_eq!(verdict(&bench, Hook::TcEgress, &wrong), Verdict::FragmentOverlap);
        let rest = cut(200, 400, true);
        assert_eq!(verdict(&bench, Hook::TcEgress, &rest), Verdict::FragmentOverlap);
    }
}

/// RFC 1858: a TCP header in two fragments is one that nobody has looked at. RFC 3128: nor one that
/// is written over.
#[test]
fn rfc1858_rfc3128_tiny_fragments_are_refused() {
    let bench = Bench::new(INTERNET);
    let frame = frames::tcp((CLIENT, 5000), (SERVER, 80), SYN, &[9; 100]);
    for tiny in [part(&frame, ID, 0, 8, true), part(&frame, ID, 0, 16, true)] {
        assert_eq!(verdict(&bench, Hook::TcEgress, &tiny), Verdict::FragmentTiny);
        assert_eq!(bench.entries(), 0);
    }
    let over = part(&frame, ID, 8, 24, true);
    assert_eq!(verdict(&bench, Hook::TcEgress, &over), Verdict::FragmentTiny);
    all(&bench, Hook::TcEgress, &[part(&frame, ID, 0, 24, true)], Verdict::TranslatedOut);
    assert_eq!(verdict(&bench, Hook::TcEgress, &over), Verdict::FragmentTiny);
    all(&bench, Hook::TcEgress, &[part(&frame, ID, 24, 120, false)], Verdict::TranslatedOut);
    // The whole header of UDP and ICMP is in the smallest fragment there is.
    all(&bench, Hook::TcEgress, &split(&question(100), &[8], ID), Verdict::TranslatedOut);
}

/// RFC 791: fragments that cannot be parts of a packet, the ping of death among them.
#[test]
fn impossible_fragments_are_malformed() {
    let bench = Bench::new(INTERNET);
    let frame = question(1392);
    all(&bench, Hook::TcEgress, &[part(&frame, ID, 0, 400, true)], Verdict::TranslatedOut);
    let end = frames::with_ipv4(&part(&frame, ID, 400, 800, false), |header| {
        header.fragment_offset = etherparse::IpFragOffset::try_new(8189).unwrap();
    });
    for wrong in [part(&frame, ID, 400, 801, true), part(&frame, ID, 400, 400, false), end] {
        assert_eq!(verdict(&bench, Hook::TcEgress, &wrong), Verdict::Malformed);
    }
    // It costs the packet nothing.
    all(&bench, Hook::TcEgress, &[part(&frame, ID, 400, 1400, false)], Verdict::TranslatedOut);
}

/// A number is free again when its packet is whole: busy senders come round within seconds.
#[test]
fn rfc6864_a_number_can_be_used_again_when_its_packet_is_whole() {
    let bench = Bench::new(INTERNET);
    let parts = split(&question(1000), &[400, 800], ID);
    for _ in 0..3 {
        all(&bench, Hook::TcEgress, &parts, Verdict::TranslatedOut);
    }
}

/// The longest packet there is, in the smallest parts and in large ones.
#[test]
fn a_packet_of_64_kib_passes_in_parts() {
    let bench = Bench::new(INTERNET);
    let frame = question(65_507);
    for (id, step) in [(1, 1480), (2, 552)] {
        let at: Vec<usize> = (1..).map(|n| n * step).take_while(|at| *at < 65_515).collect();
        let parts = split(&frame, &at, id);
        let out = all(&bench, Hook::TcEgress, &parts, Verdict::TranslatedOut);
        assert_eq!(join(&out)[42..], frame[42..]);
        assert!(out.iter().all(|part| ends(part) == (GATEWAY, SERVER)));
    }
}

/// A packet for the gateway itself reaches its stack, in parts too.
#[test]
fn fragments_for_the_gateway_itself_go_to_its_stack() {
    let rule = format!("{INTERNET}ports = \"2000-3000\"\n");
    let mut bench = Bench::new(&rule);
    let frame = frames::udp((SERVER, 53), (GATEWAY, 5353), &[1; 1000]);
    let parts = split(&frame, &[400, 800], ID);
    let out = all(&bench, Hook::TcIngress, &parts, Verdict::NoSession);
    assert_eq!(out, parts);
    bench.advance(Duration::from_nanos(FRAGMENT_TIMEOUT_NS));
    assert_eq!(verdict(&bench, Hook::TcIngress, &parts[1]), Verdict::Fragment);
    // For a port of translation that nobody has, nothing passes.
    let frame = frames::udp((SERVER, 53), (GATEWAY, 2500), &[1; 1000]);
    let parts = split(&frame, &[400, 800], ID + 1);
    assert_eq!(verdict(&bench, Hook::TcIngress, &parts[0]), Verdict::NoMapping);
    assert_eq!(verdict(&bench, Hook::TcIngress, &parts[1]), Verdict::Fragment);
}

/// Rules that do not translate say what becomes of fragments, as of any packet.
#[test]
fn fragments_that_are_not_translated_go_where_rules_send_them() {
    let bench = Bench::new(
        "[[rules]]\nname = \"plain\"\nfrom = [\"10.77.0.0/24\"]\nto = [\"0.0.0.0/0\"]\n\
         action = \"route\"\n",
    );
    for part in split(&question(1000), &[400, 800], ID).iter().rev() {
        assert_eq!(verdict(&bench, Hook::TcEgress, part), Verdict::Routed);
    }
    let back = frames::udp((SERVER, 3478), (CLIENT, 5000), &[1; 1000]);
    for part in split(&back, &[400, 800], ID).iter().rev() {
        assert_eq!(verdict(&bench, Hook::TcIngress, part), Verdict::NoSession);
    }
}

/// What an ICMP error quotes can only be looked at as a whole.
#[test]
fn icmp_errors_in_fragments_are_refused() {
    let bench = Bench::new(INTERNET);
    let mut quoted = question(600);
    let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
    message.append(&mut quoted.split_off(14));
    let check = nat_tests::lab::traffic::internet_checksum(&message);
    message[2..4].copy_from_slice(&check.to_be_bytes());
    let error = frames::other(1, CLIENT, SERVER, &message);
    for part in split(&error, &[400], ID) {
        assert_eq!(verdict(&bench, Hook::TcEgress, &part), Verdict::Fragment);
    }
}

/// RFC 4787 REQ-14a: whoever floods with fragments takes nothing from whole packets.
#[test]
fn rfc4787_req14a_a_flood_of_fragments_leaves_whole_packets_alone() {
    let bench = Bench::new(INTERNET);
    let out = bench.send(Hook::TcEgress, &question(10));
    let external = frames::read(&out.frame).source;
    let before = (bench.sessions().len(), bench.entries(), bench.claims());
    let answer = frames::udp((SERVER, 3478), external, &[1; 1000]);
    let rounds = u16::try_from(2 * nat_common::limits::FRAGMENTS_MAX).unwrap();
    let asked = question(1000);
    let all_of = |frame: &[u8], from, to| -> Vec<_> {
        (0..rounds).map(|id| part(frame, id, from, to, true)).collect()
    };
    // Forged: nothing of them is known, nothing of them is kept.
    bench.send_all(Hook::TcIngress, &all_of(&answer, 400, 800));
    // A client's, and a server's that it talks to: their first fragments are noted.
    bench.send_all(Hook::TcEgress, &all_of(&asked, 0, 400));
    bench.send_all(Hook::TcIngress, &all_of(&answer, 0, 400));
    assert_eq!((bench.sessions().len(), bench.entries(), bench.claims()), before);
    let mut notes = 0;
    for key in bench.maps().fragments.keys() {
        key.unwrap();
        notes += 1;
    }
    assert!(notes <= nat_common::limits::FRAGMENTS_MAX, "{notes} notes");
    assert_eq!(verdict(&bench, Hook::TcEgress, &question(10)), Verdict::TranslatedOut);
    let back = frames::udp((SERVER, 3478), external, b"whole");
    assert_eq!(verdict(&bench, Hook::TcIngress, &back), Verdict::TranslatedIn);
    // Nor does it keep fragments that come together from passing.
    let late = split(&answer, &[400], rounds);
    all(&bench, Hook::TcIngress, &late, Verdict::TranslatedIn);
}

/// Signs a controller on, at the bench's time.
fn attend(bench: &Bench) {
    let mut maps = bench.maps();
    let mut instance = bench.state().instance().unwrap();
    (instance.controller_pid, instance.heartbeat_ns) = (1, bench.now_ns());
    maps.instance.set(0, instance, 0).unwrap();
}

/// What the controller does with them is its own tests' business, and that of those with real stacks.
#[test]
fn a_fragment_before_its_first_is_held_while_a_controller_attends() {
    let mut bench = Bench::new(INTERNET);
    attend(&bench);
    let parts = split(&question(1000), &[400], ID);
    let seen = bench.send(Hook::TcEgress, &parts[1]);
    assert_eq!((seen.verdict, &seen.frame), (Verdict::FragmentHeld, &parts[1]));
    let out = all(&bench, Hook::TcEgress, &parts, Verdict::TranslatedOut);
    let external = frames::read(&join(&out)).source;
    let answer = split(&frames::udp((SERVER, 3478), external, &[1; 1000]), &[400], ID);
    assert_eq!(verdict(&bench, Hook::TcIngress, &answer[1]), Verdict::FragmentHeld);
    all(&bench, Hook::TcIngress, &answer, Verdict::TranslatedIn);
    // One that is too long to be held.
    let long = question(4000);
    let late = part(&long, ID + 1, 400, 400 + nat_common::limits::HELD_BYTES_MAX, true);
    assert_eq!(verdict(&bench, Hook::TcEgress, &late), Verdict::Fragment);
    // What no rule translates is nobody's to hold.
    let stranger = frames::with_ipv4(&parts[1], |header| header.source = [192, 168, 7, 7]);
    assert_eq!(verdict(&bench, Hook::TcEgress, &stranger), Verdict::Unmatched);
    let tiny = frames::with_ipv4(&part(&long, ID + 2, 8, 80, true), |header| {
        header.protocol = etherparse::IpNumber::TCP;
    });
    assert_eq!(verdict(&bench, Hook::TcEgress, &tiny), Verdict::FragmentTiny);
    // A controller that has died is seen to be gone.
    bench.advance(Duration::from_nanos(nat_common::limits::ATTENDED_NS));
    let next = frames::with_ipv4(&parts[1], |header| header.identification = ID + 3);
    assert_eq!(verdict(&bench, Hook::TcEgress, &next), Verdict::Fragment);
}

/// A flood does not keep the controller busy for longer than its share.
#[test]
fn rfc4787_req14a_only_so_many_fragments_are_held_in_a_second() {
    let bench = Bench::new(INTERNET);
    attend(&bench);
    let frame = frames::udp((SERVER, 3478), (GATEWAY, 5000), &[1; 1000]);
    let forged: Vec<_> = (0..20_000).map(|id| part(&frame, id, 400, 800, true)).collect();
    bench.send_all(Hook::TcIngress, &forged);
    let states = bench.state().verdicts().unwrap();
    let of = |verdict| {
        let state = states.iter().find(|state| state.verdict == verdict);
        state.map_or(0, |state| state.counter.packets)
    };
    let held = of(Verdict::FragmentHeld);
    let cpus = u64::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
    let most = u64::from(nat_common::limits::HELD_PER_SECOND_MAX) * cpus;
    // The ring is full before that, as nobody empties it.
    let room = u64::from(nat_common::limits::HELD_RING_BYTES)
        / u64::try_from(nat_common::limits::HELD_BYTES_MAX).unwrap();
    assert!(held > 0 && held <= most.min(room), "{held} held");
    assert_eq!(held + of(Verdict::Fragment), 20_000);
    assert_eq!(bench.entries(), 0);
}
