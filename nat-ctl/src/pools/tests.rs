use nat_common::{
    addr::{Ipv4, Port},
    cooldown::{Reason, Resting},
    mapping::Uses,
    session::{Birth, Session},
    settings::Lifetime,
    tcp::Segment,
};

use super::*;
use crate::{
    compile::{Host, OutsideInterface, compile},
    datapath::{ConfigText, Datapath, SessionPair, fake::Fake},
    sources::Sources,
};

const SECOND: u64 = 1_000_000_000;
const NOW_NS: u64 = 1000 * SECOND;
const EXTERNAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

/// One rule for TCP with these ports.
fn fake(ports: &str) -> Fake {
    let text = format!(
        "[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n\
         [[rules]]\nname = \"internet\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"0.0.0.0/0\"]\n\
         protocols = [\"tcp\"]\naction = \"snat\"\nports = \"{ports}\"\n\
         source = {{ addresses = [\"{EXTERNAL}\"] }}\n"
    );
    let config = Config::parse(&text, "test.toml").unwrap();
    let outside = OutsideInterface { index: 2, name: "wan0".to_owned(), addresses: vec![EXTERNAL] };
    let table = compile(&config, &Host { outside: vec![outside], ..Host::default() }).unwrap().0;
    let mut fake = Fake::default();
    let text = ConfigText { name: "test.toml".to_owned(), text };
    fake.apply(&table, &Sources::default(), &text).unwrap();
    fake
}

fn tuple(protocol: Protocol, port: u16, server: u8) -> FlowKey {
    FlowKey::new(
        protocol,
        (Ipv4::from(EXTERNAL), Port::new(port)),
        (Ipv4::new([198, 51, 100, server]), Port::new(443)),
    )
}

fn session(protocol: Protocol, port: u16, server: u8) -> SessionPair {
    let external = (Ipv4::from(EXTERNAL), Port::new(port));
    let key = tuple(protocol, port, server).translated(Ipv4::new([10, 0, 0, 5]), Port::new(40_000));
    let birth = Birth {
        protocol,
        rule: 0,
        lifetime: Lifetime::TcpEstablished,
        timeout_ns: SECOND,
        first: Segment::NONE,
        mss: 0,
        uses: 0,
        range: Port::NONE,
    };
    let outbound = Session::new(&key, external, &birth, NOW_NS);
    SessionPair { key, outbound, inbound: None }
}

fn cooling(protocol: Protocol, port: u16, server: u8) -> (FlowKey, Resting) {
    (tuple(protocol, port, server), Resting::new(NOW_NS - SECOND, Reason::Fin))
}

fn server(octet: u8) -> Endpoint {
    Endpoint { addr: Ipv4Addr::new(198, 51, 100, octet), port: 443 }
}

#[test]
fn ports_are_in_use_or_cool_or_are_free() {
    let mut fake = fake("4000-4009");
    let tcp = Protocol::Tcp;
    // One port toward two servers; one that is in use toward one and cools toward another.
    fake.sessions = vec![session(tcp, 4000, 1), session(tcp, 4000, 2), session(tcp, 4001, 1)];
    fake.resting = vec![cooling(tcp, 4001, 2), cooling(tcp, 4002, 1), cooling(tcp, 4003, 1)];
    let views = views(&fake, NOW_NS).unwrap();
    let one =
        |octet, in_use, cooling, free| Destination { remote: server(octet), in_use, cooling, free };
    let expected = PoolView {
        address: EXTERNAL,
        proto: "tcp",
        ports: 10,
        in_use: 2,
        cooling: 2,
        free: 6,
        sessions: 3,
        mappings: 0,
        hottest: vec![one(1, 2, 2, 6), one(2, 1, 1, 8)],
    };
    assert_eq!(views, [expected]);
}

#[test]
fn what_cools_toward_everybody_does_so_toward_each() {
    let mut fake = fake("4000-4009");
    let tcp = Protocol::Tcp;
    let everybody = |port| {
        let (tuple, resting) = cooling(tcp, port, 1);
        (tuple.toward_everybody(), resting)
    };
    fake.sessions = vec![session(tcp, 4001, 2)];
    fake.resting = vec![cooling(tcp, 4000, 1), everybody(4000), everybody(4001)];
    let view = views(&fake, NOW_NS).unwrap().remove(0);
    assert_eq!((view.in_use, view.cooling, view.free), (1, 1, 8));
    let found: Vec<_> =
        view.hottest.iter().map(|one| (one.remote, one.in_use, one.cooling)).collect();
    assert_eq!(found, [(server(2), 1, 1), (server(1), 0, 2)]);
}

#[test]
fn only_the_hottest_destinations_are_shown() {
    let mut fake = fake("4000-4009");
    for octet in 1..=5 {
        fake.sessions
            .extend((0..octet).map(|n| session(Protocol::Tcp, 4000 + u16::from(n), octet)));
    }
    let view = views(&fake, NOW_NS).unwrap().remove(0);
    let hottest: Vec<_> = view.hottest.iter().map(|one| one.remote).collect();
    assert_eq!(hottest, [server(5), server(4), server(3)]);
}

#[test]
fn what_is_over_counts_for_nothing() {
    let mut fake = fake("4000-4009");
    fake.sessions = vec![session(Protocol::Tcp, 4000, 1)];
    fake.resting = vec![cooling(Protocol::Tcp, 4001, 1)];
    let view = views(&fake, NOW_NS + 3600 * SECOND).unwrap().remove(0);
    assert_eq!((view.in_use, view.cooling, view.free), (0, 0, 10));
}

/// Sessions of a rule that is gone.
#[test]
fn ports_that_no_rule_may_use_are_shown_while_they_are_taken() {
    let mut fake = fake("4000-4009");
    fake.sessions = vec![session(Protocol::Udp, 5000, 1)];
    fake.resting = vec![cooling(Protocol::Tcp, 5000, 1)];
    let views = views(&fake, NOW_NS).unwrap();
    let numbers: Vec<_> =
        views.iter().map(|one| (one.proto, one.ports, one.in_use, one.cooling, one.free)).collect();
    assert_eq!(numbers, [("tcp", 10, 0, 1, 10), ("udp", 0, 1, 0, 0)]);
}

#[test]
fn without_rules_there_are_no_pools() {
    assert_eq!(views(&Fake::default(), NOW_NS).unwrap(), []);
}

#[test]
fn sessions_of_a_mapping_share_its_port() {
    let mut fake = fake("4000-4009");
    let tcp = Protocol::Tcp;
    fake.sessions = vec![session(tcp, 4000, 1), session(tcp, 4000, 2), session(tcp, 4001, 1)];
    fake.sessions.iter_mut().for_each(|pair| pair.outbound.uses = Uses::MAPPING);
    fake.sessions.push(session(tcp, 4002, 1));
    let views = views(&fake, NOW_NS).unwrap();
    let [view] = &views[..] else { panic!("{views:?}") };
    assert_eq!((view.sessions, view.in_use, view.mappings), (4, 3, 2));
}
