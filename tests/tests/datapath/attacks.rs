//! Attacks on states and tuples, as the literature has them, against the shipped defaults.
use std::net::Ipv4Addr;

use nat_common::{stats::Hook, verdict::Verdict};
use nat_tests::lab::traffic::internet_checksum;

use super::{
    bench::{BOTH, Bench, Hooks, INTERNET},
    frames::{self, ACK, CLIENT, FIN, GATEWAY, Place, RST, SERVER, SYN},
};

/// Somebody beside the client.
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);

/// A segment of a client to the server.
fn segment(from: (Ipv4Addr, u16), flags: u8, sequence: u32, ack: u32) -> Vec<u8> {
    frames::tcp_at(from, (SERVER, 80), flags, Place::at(sequence, ack), b"")
}

/// An established connection of the client's port 5000: its external port.
fn established(bench: &Bench, hooks: Hooks) -> u16 {
    let opened = bench.send(hooks.out, &segment((CLIENT, 5000), SYN, 1000, 0));
    let external = frames::read(&opened.frame).source.1;
    let answer = Place::at(7000, 1001);
    let answer = frames::tcp_at((SERVER, 80), (GATEWAY, external), SYN | ACK, answer, b"");
    assert_eq!(bench.send(hooks.inbound, &answer).verdict, Verdict::TranslatedIn);
    bench.send(hooks.out, &segment((CLIENT, 5000), ACK, 1001, 7001));
    external
}

/// "Exploiting sequence number leakage: TCP hijacking in NAT-enabled Wi-Fi networks" (NDSS 2024): a
/// neighbour who uses the client's port toward the client's server ends the client's session, or gets
/// its tuple, where ports are preserved and anybody's segments count.
#[test]
fn ndss2024_a_neighbour_gets_nothing_of_a_clients_connection() {
    for hooks in BOTH {
        let bench = Bench::new(INTERNET);
        let external = established(&bench, hooks);
        let session = |bench: &Bench| {
            let mut sessions = bench.sessions().into_iter();
            let found = sessions.find(|one| one.inside.addr == CLIENT).unwrap();
            (found.state, found.expires_s, found.outside.port, found.packets.out)
        };
        let before = session(&bench);
        assert_eq!((before.0, before.2), ("established", external));
        for (flags, sequence) in [(RST, 1001), (FIN | ACK, 1001), (ACK, 1001), (SYN, 1), (RST, 2)] {
            let seen = bench.send(hooks.out, &segment((NEIGHBOUR, 5000), flags, sequence, 7001));
            if seen.verdict == Verdict::TranslatedOut {
                assert_ne!(frames::read(&seen.frame).source.1, external, "{flags:#x}");
            }
        }
        for port in 0..200 {
            let seen = bench.send(hooks.out, &segment((NEIGHBOUR, 6000 + port), SYN, 1, 0));
            assert_eq!(seen.verdict, Verdict::TranslatedOut);
            assert_ne!(frames::read(&seen.frame).source.1, external);
        }
        assert_eq!(session(&bench), before);
        let data = Place::at(7001, 1001);
        let data = frames::tcp_at((SERVER, 80), (GATEWAY, external), ACK, data, b"secret");
        let seen = bench.send(hooks.inbound, &data);
        assert_eq!(frames::read(&seen.frame).destination, (CLIENT, 5000));
    }
}

/// "Fragmentation needed" and others by somebody off the path, who knows addresses and ports.
#[test]
fn rfc5927_4_1_guesses_of_a_quoted_segment_are_dropped() {
    let attacker = Ipv4Addr::new(198, 51, 100, 66);
    let bench = Bench::new(INTERNET);
    let external = established(&bench, BOTH[0]);
    // 100 bytes more, which the server has room for and has not acknowledged.
    let data = Place::at(1001, 7001);
    let data = frames::tcp_at((CLIENT, 5000), (SERVER, 80), ACK, data, &[7; 100]);
    assert_eq!(bench.send(Hook::TcEgress, &data).verdict, Verdict::TranslatedOut);
    let before = bench.sessions();
    let error = |sequence: u32| {
        let quoted = Place::at(sequence, 7001);
        let quoted = frames::tcp_at((GATEWAY, external), (SERVER, 80), ACK, quoted, b"");
        let mut message = [&[3, 4, 0, 0, 0, 0, 2, 64], &quoted[14..42]].concat();
        let checksum = internet_checksum(&message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        let error = frames::other(1, attacker, GATEWAY, &message);
        bench.send(Hook::TcIngress, &error).verdict
    };
    for guess in 1..=400_u32 {
        let sequence = 1001_u32.wrapping_add(guess.wrapping_mul(10_737_418));
        assert_eq!(error(sequence), Verdict::IcmpErrorMalformed, "{sequence}");
    }
    // The server's window is 1024 bytes behind its acknowledgement.
    for sequence in [999, 1001 + 1025, 1001_u32.wrapping_sub(70_000)] {
        assert_eq!(error(sequence), Verdict::IcmpErrorMalformed, "{sequence}");
    }
    for sequence in [1000, 1001, 1100, 1101] {
        assert_eq!(error(sequence), Verdict::TranslatedIn, "{sequence}");
    }
    assert_eq!(bench.sessions(), before);
}
