//! What the suites of other NATs test and no other file here has: edge ports, the range of ports,
//! connections that are reopened from either side, payloads with addresses.
use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use nat_common::{stats::Hook, verdict::Verdict};

use super::{
    bench::{BOTH, Bench, EXTERNAL2, Hooks, INTERNET},
    frames::{self, ACK, CLIENT, FIN, GATEWAY, Place, SERVER, SYN},
    lifetime::{LATE, life},
};

type Build = fn((Ipv4Addr, u16), (Ipv4Addr, u16)) -> Vec<u8>;

fn udp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Vec<u8> {
    frames::udp(from, to, b"x")
}

fn syn(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Vec<u8> {
    frames::tcp(from, to, SYN, b"")
}

fn syn_ack(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Vec<u8> {
    frames::tcp(from, to, SYN | ACK, b"")
}

/// The external endpoint of a packet that must be translated.
#[track_caller]
fn leaves(bench: &Bench, hooks: Hooks, frame: &[u8]) -> (Ipv4Addr, u16) {
    let seen = bench.send(hooks.out, frame);
    assert_eq!(seen.verdict, Verdict::TranslatedOut);
    frames::read(&seen.frame).source
}

/// Port 0 of UDP means that no answer is awaited (RFC 768); it is a number like others here.
#[test]
fn edge_ports_are_ports_like_others() {
    let edges = [0, 1, 1023, 1024, 65_535];
    let protocols: [(Build, Build); 2] = [(udp, udp), (syn, syn_ack)];
    for hooks in BOTH {
        let bench = Bench::new(INTERNET);
        for (request, answer) in protocols {
            for client in edges {
                for server in edges {
                    let packet = request((CLIENT, client), (SERVER, server));
                    let external = leaves(&bench, hooks, &packet);
                    assert_eq!(external.0, GATEWAY);
                    assert!(external.1 >= 1024, "{external:?}");
                    let back = bench.send(hooks.inbound, &answer((SERVER, server), external));
                    assert_eq!(back.verdict, Verdict::TranslatedIn, "{client} {server}");
                    assert_eq!(frames::read(&back.frame).destination, (CLIENT, client));
                }
            }
        }
        for id in edges {
            let (_, external) = leaves(&bench, hooks, &frames::echo(true, CLIENT, SERVER, id));
            let reply = frames::echo(false, SERVER, GATEWAY, external);
            let back = bench.send(hooks.inbound, &reply);
            assert_eq!(back.verdict, Verdict::TranslatedIn, "identifier {id}");
            assert_eq!(frames::read(&back.frame).destination, (CLIENT, id));
        }
    }
}

/// The first and the last port that a rule can have.
#[test]
fn edge_ports_can_be_external_ones() {
    for port in [1, 1023, 65_535] {
        let bench = Bench::new(&format!("{INTERNET}ports = \"{port}-{port}\"\n"));
        for hooks in BOTH {
            let packet = syn((CLIENT, 5000), (SERVER, 80));
            assert_eq!(leaves(&bench, hooks, &packet), (GATEWAY, port));
            let back = bench.send(hooks.inbound, &syn_ack((SERVER, 80), (GATEWAY, port)));
            assert_eq!(back.verdict, Verdict::TranslatedIn);
        }
        let other = bench.send(BOTH[0].out, &syn((CLIENT, 5001), (SERVER, 80)));
        assert_eq!(other.verdict, Verdict::NoPort);
    }
}

#[test]
fn rfc4787_req8_only_whom_the_client_sent_to_gets_through() {
    let stranger = Ipv4Addr::new(203, 0, 113, 11);
    for hooks in BOTH {
        let bench = Bench::new(INTERNET);
        // By default a port of UDP is mapped, and one of TCP is the client's toward the server only.
        let kinds = [(udp as Build, Verdict::Filtered), (syn, Verdict::NoMapping)];
        for (build, refused) in kinds {
            let external = leaves(&bench, hooks, &build((CLIENT, 5000), (SERVER, 3478)));
            for from in [(SERVER, 3479), (stranger, 3478), (stranger, 9), (SERVER, 0)] {
                let seen = bench.send(Hook::TcIngress, &build(from, external));
                assert_eq!(seen.verdict, refused, "{from:?}");
            }
        }
    }
}

/// Addresses in payloads are nobody's business here: no ALG (NAT slipstreaming lives by them).
#[test]
fn rfc4787_req10_rfc5382_req6_payloads_are_left_alone() {
    let register = "REGISTER sip:203.0.113.10 SIP/2.0\r\n\
                    Via: SIP/2.0/UDP 10.77.0.2:5060;branch=z9hG4bK776\r\n\
                    Contact: <sip:alice@10.77.0.2:3389>\r\nContent-Length: 0\r\n\r\n";
    let payloads: [(u16, &[u8]); 5] = [
        (5060, register.as_bytes()),
        (21, b"PORT 10,77,0,2,13,61\r\n"),
        (6667, b"PRIVMSG x :\x01DCC SEND f 172818434 3389 1\x01\r\n"),
        (1720, b"\x03\x00\x00\x0c\x0a\x4d\x00\x02\x0d\x3d\x00\x00"),
        (53, b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0a\x4d\x00\x02"),
    ];
    for hooks in BOTH {
        let bench = Bench::new(INTERNET);
        for (port, payload) in payloads {
            let before = bench.claims();
            let handshake = syn((CLIENT, 5060), (SERVER, port));
            let (_, external) = leaves(&bench, hooks, &handshake);
            let segment = frames::tcp((CLIENT, 5060), (SERVER, port), ACK, payload);
            let datagram = frames::udp((CLIENT, 5060), (SERVER, port), payload);
            for frame in [segment, datagram] {
                let seen = bench.send(hooks.out, &frame);
                assert_eq!(seen.verdict, Verdict::TranslatedOut);
                assert!(seen.frame.ends_with(payload), "port {port}: the payload has changed");
                assert_eq!(seen.frame.len(), frame.len());
            }
            let answer = frames::tcp((SERVER, port), (GATEWAY, external), SYN | ACK, payload);
            assert!(bench.send(hooks.inbound, &answer).frame.ends_with(payload), "port {port}");
            assert_eq!(bench.claims(), before + 2, "port {port}: a way in was opened");
            let named = bench.send(Hook::TcIngress, &syn((SERVER, 9), (GATEWAY, 3389)));
            assert_eq!(named.verdict, Verdict::NoMapping, "port {port}");
        }
    }
}

/// RFC 7857 section 4, as recommended: no second address for a client that has used up its own.
#[test]
fn rfc7857_4_a_full_address_refuses_its_clients_only() {
    let pool = "{ addresses = [\"203.0.113.1\", \"203.0.113.2\"] }";
    let rules = INTERNET.replace("{ addresses = [\"203.0.113.1\"] }", pool);
    for hooks in BOTH {
        let bench = Bench::new(&format!("{rules}ports = \"4000-4001\"\n"));
        let from = |client: Ipv4Addr, port| syn((client, port), (SERVER, 80));
        let first = (CLIENT, leaves(&bench, hooks, &from(CLIENT, 1)).0);
        let clients = (3..100).map(|n| Ipv4Addr::new(10, 77, 0, n));
        let second = clients.map(|client| {
            let frame = frames::udp((client, 1), (SERVER, 9), b"x");
            (client, bench.send(hooks.out, &frame))
        });
        // Somebody whose address is the other one.
        let mut second = second.filter(|(_, seen)| seen.verdict == Verdict::TranslatedOut);
        let (second, _) = second
            .find(|(_, seen)| frames::read(&seen.frame).source.0 != first.1)
            .expect("a pool of two serves clients by both");
        assert!([GATEWAY, EXTERNAL2].contains(&first.1));
        leaves(&bench, hooks, &from(CLIENT, 2));
        assert_eq!(bench.send(hooks.out, &from(CLIENT, 3)).verdict, Verdict::NoPort);
        let other = leaves(&bench, hooks, &from(second, 1));
        assert_ne!(other.0, first.1);
    }
}

/// Soft pairing: the own address as long as it has a port, and not for longer than it has none.
#[test]
fn rfc4787_req2_rfc7857_4_with_spill_a_client_goes_on_with_another_address() {
    let pool = "{ addresses = [\"203.0.113.1\", \"203.0.113.2\"] }";
    let rules = INTERNET.replace("{ addresses = [\"203.0.113.1\"] }", pool);
    for hooks in BOTH {
        let more = "spill = true\nmapping = \"address-and-port-dependent\"\n";
        let mut bench = Bench::new(&format!("{rules}ports = \"4000-4001\"\n{more}"));
        let to_server = |port| udp((CLIENT, port), (SERVER, 80));
        let used: Vec<_> = (1..=4).map(|port| leaves(&bench, hooks, &to_server(port))).collect();
        let own = used[0].0;
        let other = if own == GATEWAY { EXTERNAL2 } else { GATEWAY };
        assert_eq!(used.iter().map(|used| used.0).collect::<Vec<_>>(), [own, own, other, other]);
        assert!(used[0] != used[1] && used[2] != used[3], "{used:?}");
        assert_eq!(bench.send(hooks.out, &to_server(5)).verdict, Verdict::NoPort);
        assert_eq!((bench.entries(), bench.claims()), (4, 4));
        // What has spilled is answered as any other, and toward other servers nothing is full.
        for (external, port) in used.iter().zip(1..) {
            let seen = bench.send(hooks.inbound, &udp((SERVER, 80), *external));
            assert_eq!(frames::read(&seen.frame).destination, (CLIENT, port));
        }
        assert_eq!(leaves(&bench, hooks, &udp((CLIENT, 9), (SERVER, 81))).0, own);
        bench.advance(life(300) + LATE);
        assert_eq!(leaves(&bench, hooks, &to_server(9)).0, own);
    }
}

/// Its mapping is looked for where it may be, from inside and from outside.
#[test]
fn rfc4787_req1_what_is_mapped_to_another_address_stays_there() {
    let pool = "{ addresses = [\"203.0.113.1\", \"203.0.113.2\"] }";
    let rules = INTERNET.replace("{ addresses = [\"203.0.113.1\"] }", pool);
    let more = "spill = true\nfiltering = { udp = \"endpoint-independent\" }\n";
    for hooks in BOTH {
        let mut bench = Bench::new(&format!("{rules}ports = \"4000-4000\"\n{more}"));
        let to =
            |bench: &Bench, from, port| leaves(bench, hooks, &udp((CLIENT, from), (SERVER, port)));
        let own = to(&bench, 1, 80);
        bench.advance(Duration::from_secs(200));
        let other = to(&bench, 2, 80);
        assert_ne!(own.0, other.0);
        bench.advance(Duration::from_secs(150));
        bench.sweep();
        // The own address has room again.
        assert_eq!(to(&bench, 2, 81), other);
        let seen = bench.send(Hook::TcIngress, &udp((SERVER, 999), other));
        assert_eq!(seen.verdict, Verdict::TranslatedIn);
        assert_eq!(frames::read(&seen.frame).destination, (CLIENT, 2));
    }
}

#[test]
fn rfc7857_6_a_port_of_one_protocol_lets_no_other_in() {
    for hooks in BOTH {
        let bench = Bench::new(INTERNET);
        let tcp = leaves(&bench, hooks, &syn((CLIENT, 5000), (SERVER, 80)));
        let datagram = bench.send(Hook::TcIngress, &udp((SERVER, 80), tcp));
        assert_eq!(datagram.verdict, Verdict::NoMapping);
        let other = leaves(&bench, hooks, &udp((CLIENT, 5000), (SERVER, 81)));
        let segment = bench.send(Hook::TcIngress, &syn_ack((SERVER, 81), other));
        assert_eq!(segment.verdict, Verdict::NoMapping);
    }
}

/// The client's and the external ports of so many connections to one server.
fn drawn(count: u16) -> Vec<(u16, u16)> {
    let mut bench = Bench::without_rules(8192);
    bench.apply(INTERNET);
    let clients = 2000..2000 + count;
    let requests: Vec<_> =
        clients.clone().map(|client| syn((CLIENT, client), (SERVER, 80))).collect();
    let sent = bench.send_all(Hook::TcEgress, &requests);
    let external = sent.iter().map(|frame| {
        let (address, port) = frames::read(frame).source;
        assert_eq!(address, GATEWAY);
        port
    });
    clients.zip(external).collect()
}

/// Pearson's statistic over 16 equal parts of the range, of the ports and of the steps from one to the
/// next: 15 degrees of freedom, above 50.5 once in 100,000 runs if all are equally likely.
#[test]
fn rfc6056_ports_of_all_the_range_are_equally_likely() {
    let ports: Vec<u16> = drawn(4000).into_iter().map(|(_, port)| port).collect();
    let range = 65_536_u32 - 1024;
    let part = |offset: u32| (offset * 16 / range) as usize;
    let statistic = |parts: &mut dyn Iterator<Item = usize>| {
        let (mut counts, mut all) = ([0_u32; 16], 0);
        for part in parts {
            counts[part] += 1;
            all += 1;
        }
        let expected = f64::from(all) / 16.0;
        counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum::<f64>()
    };
    let places = statistic(&mut ports.iter().map(|port| part(u32::from(*port) - 1024)));
    assert!(places < 50.5, "ports are not spread evenly: {places}");
    let step = |pair: &[u16]| (u32::from(pair[1]) + range - u32::from(pair[0])) % range;
    let steps = statistic(&mut ports.windows(2).map(|pair| part(step(pair))));
    assert!(steps < 50.5, "the next port follows from the last: {steps}");
}

#[test]
fn rfc6056_4_the_clients_own_port_says_nothing_of_the_external_one() {
    let drawn = drawn(1000);
    let same = drawn.iter().filter(|(client, external)| client == external).count();
    assert!(same <= 2, "{same} of 1000 ports were preserved");
    let mut distances = BTreeMap::new();
    for (client, external) in &drawn {
        *distances.entry(external.wrapping_sub(*client)).or_insert(0) += 1;
    }
    let most = distances.values().max().unwrap();
    assert!(*most <= 4, "{most} of 1000 ports lie equally far from the client's");
}

/// A connection that both sides have closed.
struct Closed {
    bench: Bench,
    hooks: Hooks,
    external: u16,
}

impl Closed {
    fn new(hooks: Hooks) -> Self {
        let bench = Bench::new(INTERNET);
        let (_, external) = leaves(&bench, hooks, &syn((CLIENT, 5000), (SERVER, 80)));
        let closed = Self { bench, hooks, external };
        assert_eq!(closed.server(SYN | ACK, 5000, 1001), Verdict::TranslatedIn);
        assert_eq!(closed.client(ACK, 1001, 5001), Verdict::TranslatedOut);
        assert_eq!(closed.client(FIN | ACK, 1001, 5001), Verdict::TranslatedOut);
        assert_eq!(closed.server(FIN | ACK, 5001, 1002), Verdict::TranslatedIn);
        assert_eq!(closed.client(ACK, 1002, 5002), Verdict::TranslatedOut);
        assert_eq!(closed.state(), Some("closing"));
        closed
    }

    fn client(&self, flags: u8, sequence: u32, ack: u32) -> Verdict {
        let place = Place::at(sequence, ack);
        let frame = frames::tcp_at((CLIENT, 5000), (SERVER, 80), flags, place, b"");
        self.bench.send(self.hooks.out, &frame).verdict
    }

    fn server(&self, flags: u8, sequence: u32, ack: u32) -> Verdict {
        let place = Place::at(sequence, ack);
        let frame = frames::tcp_at((SERVER, 80), (GATEWAY, self.external), flags, place, b"");
        self.bench.send(self.hooks.inbound, &frame).verdict
    }

    fn state(&self) -> Option<&'static str> {
        self.bench.sessions().first().map(|session| session.state)
    }
}

#[test]
fn half_reopened_by_the_client_it_opens_and_ends_in_the_time_of_an_opening() {
    for hooks in BOTH {
        let mut connection = Closed::new(hooks);
        connection.bench.advance(Duration::from_secs(100));
        assert_eq!(connection.client(SYN, 900_000, 0), Verdict::TranslatedOut);
        assert_eq!(connection.state(), Some("opening"));
        connection.bench.advance(Duration::from_secs(239));
        assert_eq!(connection.state(), Some("opening"));
        connection.bench.advance(life(240) - Duration::from_secs(239));
        assert_eq!(connection.state(), None);
    }
}

#[test]
fn half_reopened_by_the_server_it_stays_closed_and_ends_when_it_would_have() {
    for hooks in BOTH {
        let mut connection = Closed::new(hooks);
        connection.bench.advance(Duration::from_secs(200));
        connection.server(SYN, 900_000, 0);
        assert_eq!(connection.state(), Some("closing"));
        connection.bench.advance(life(240) - Duration::from_secs(200));
        assert_eq!(connection.state(), None, "the server's SYN has refreshed it");
        assert_ne!(connection.server(SYN, 900_000, 0), Verdict::TranslatedIn);
    }
}
