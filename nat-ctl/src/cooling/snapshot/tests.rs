use nat_common::{
    addr::{Ipv4, Port},
    session::{Birth, Session},
    tcp::Segment,
};

use super::*;
use crate::datapath::fake::Fake;

const SECOND: u64 = 1_000_000_000;
const NOW: Clocks = Clocks { monotonic_ns: 1000 * SECOND, wall_ns: 1_700_000_000 * SECOND };
const HERE: Boot = Boot([1; 16]);
const LATER: Boot = Boot([2; 16]);

/// 240 s after FIN, 60 s after RST, 30 s after an unanswered opening; nothing after UDP.
fn settings() -> Cooldown {
    let mut wait_ns = [0; Reason::COUNT];
    wait_ns[Reason::Fin as usize] = 240 * SECOND;
    wait_ns[Reason::Rst as usize] = 60 * SECOND;
    wait_ns[Reason::HalfOpen as usize] = 30 * SECOND;
    Cooldown { wait_ns, enabled: 1, scope: 0, pressure_reuse: 0, zero: [0; 5] }
}

const TIMEOUT_NS: u64 = 300 * SECOND;
/// From the only packet to the end.
const LIFE_NS: u64 = session::deadline(0, TIMEOUT_NS);

const EXTERNAL: Ipv4 = Ipv4::new([203, 0, 113, 7]);

fn key(protocol: Protocol, local: Ipv4, port: u16) -> FlowKey {
    let remote = (Ipv4::new([198, 51, 100, 9]), Port::new(443));
    FlowKey::new(protocol, (local, Port::new(port)), remote)
}

fn tuple(port: u16) -> FlowKey {
    key(Protocol::Tcp, EXTERNAL, port)
}

/// A session with this external port whose first packet was at `born_ns`; it lives for [`LIFE_NS`].
fn session(protocol: Protocol, port: u16, lifetime: Lifetime, born_ns: u64) -> SessionPair {
    let key = key(protocol, Ipv4::new([10, 0, 0, 5]), 40_000 + port);
    let external = (EXTERNAL, Port::new(port));
    let birth = Birth {
        protocol,
        rule: 0,
        lifetime,
        timeout_ns: TIMEOUT_NS,
        first: Segment::NONE,
        mss: 0,
        uses: 0,
        range: Port::NONE,
    };
    let outbound = Session::new(&key, external, &birth, born_ns);
    SessionPair { key, outbound, inbound: None }
}

fn fake(sessions: Vec<SessionPair>, resting: Vec<(FlowKey, Resting)>) -> Fake {
    Fake { cooldown: Some(settings()), sessions, resting, ..Fake::default() }
}

fn ended(seconds_ago: u64, reason: Reason) -> Resting {
    Resting::new(NOW.monotonic_ns - seconds_ago * SECOND, reason)
}

fn take(state: &Fake, sessions: Sessions) -> Snapshot {
    Snapshot::of(state, sessions, NOW, HERE).unwrap()
}

/// What rests so much later, by a wall clock that is off by so many seconds, in another boot that
/// began `up` seconds before.
fn after(snapshot: &Snapshot, later: u64, off: i64, boot: Boot, up: u64) -> Vec<(u64, i64)> {
    let wall_ns = (NOW.wall_ns + later * SECOND).wrapping_add((off * 1_000_000_000) as u64);
    let now = if boot == HERE {
        Clocks { monotonic_ns: NOW.monotonic_ns + later * SECOND, wall_ns }
    } else {
        Clocks { monotonic_ns: up * SECOND, wall_ns }
    };
    let ago = |resting: &Resting| {
        now.monotonic_ns.wrapping_sub(resting.closed_ns).cast_signed() / SECOND.cast_signed()
    };
    let resting = snapshot.resting(now, boot);
    resting.iter().map(|(tuple, one)| (tuple.local_port.number().into(), ago(one))).collect()
}

#[test]
fn what_rests_is_kept_and_what_has_rested_is_not() {
    let everybody = (tuple(3).toward_everybody(), ended(59, Reason::Rst));
    let resting = vec![
        (tuple(1), ended(239, Reason::Fin)),
        (tuple(2), ended(240, Reason::Fin)),
        everybody,
        (tuple(4), ended(60, Reason::Rst)),
    ];
    let snapshot = take(&fake(Vec::new(), resting.clone()), Sessions::GoOn);
    assert_eq!(snapshot.resting(NOW, HERE), [resting[0], everybody], "oldest first");
    let off = Fake { cooldown: None, ..fake(Vec::new(), resting) };
    assert_eq!(take(&off, Sessions::EndNow).tuples, []);
}

#[test]
fn live_sessions_end_with_the_data_path() {
    let born = NOW.monotonic_ns - 100 * SECOND;
    let mut connected = session(Protocol::Tcp, 1, Lifetime::TcpEstablished, born);
    connected.outbound.tcp = nat_common::tcp::Connection::ANSWERED.bits();
    let opening = session(Protocol::Tcp, 2, Lifetime::TcpOpening, born);
    let query = session(Protocol::Udp, 3, Lifetime::Udp, born);
    let snapshot = take(&fake(vec![connected, opening, query], Vec::new()), Sessions::EndNow);
    let expected = [
        (tuple(1), Resting::new(NOW.monotonic_ns, Reason::Fin)),
        (tuple(2), Resting::new(NOW.monotonic_ns, Reason::HalfOpen)),
    ];
    assert_eq!(snapshot.resting(NOW, HERE), expected, "UDP need not rest");
}

/// As in the data path: the last packet counts, not the end of the session.
#[test]
fn a_closed_connection_has_ended_with_its_last_packet() {
    let tick = 1 << session::TICK_SHIFT;
    for (age, kept) in [(100, true), (239, true), (241, false)] {
        let last_ns = NOW.monotonic_ns - age * SECOND;
        let mut pair = session(Protocol::Tcp, 1, Lifetime::TcpClosing, last_ns);
        pair.outbound.tcp = nat_common::tcp::Connection::ANSWERED.bits();
        pair.outbound.refresh_ticks = session::tick(last_ns);
        let snapshot = take(&fake(vec![pair], Vec::new()), Sessions::EndNow);
        let resting = snapshot.resting(NOW, HERE);
        assert_eq!(resting.len(), usize::from(kept), "{age}");
        let exact = |resting: &Resting| (last_ns..=last_ns + tick).contains(&resting.closed_ns);
        assert!(resting.iter().all(|(_, one)| exact(one)), "{age}");
    }
}

/// Nobody has swept it yet.
#[test]
fn a_session_that_has_ended_rests_from_its_end() {
    for ago in [10, 29, 31] {
        let born = NOW.monotonic_ns - LIFE_NS - ago * SECOND;
        let pair = session(Protocol::Tcp, 1, Lifetime::TcpOpening, born);
        for sessions in [Sessions::GoOn, Sessions::EndNow] {
            let snapshot = take(&fake(vec![pair], Vec::new()), sessions);
            let expected = (ago < 30).then_some((1, ago as i64));
            assert_eq!(Vec::from_iter(expected), after(&snapshot, 0, 0, HERE, 0), "{ago}");
        }
    }
}

#[test]
fn one_that_is_being_removed_is_kept() {
    let mut pair = session(Protocol::Tcp, 1, Lifetime::TcpOpening, NOW.monotonic_ns);
    pair.outbound.deadline_ns = DELETED;
    let snapshot = take(&fake(vec![pair], Vec::new()), Sessions::GoOn);
    assert_eq!(after(&snapshot, 0, 0, HERE, 0), [(1, 0)]);
}

#[test]
fn in_the_same_boot_the_wall_clock_does_not_matter() {
    let snapshot =
        take(&fake(Vec::new(), vec![(tuple(1), ended(50, Reason::Fin))]), Sessions::EndNow);
    for off in [0, 3600, -3600, -1_700_000_100] {
        assert_eq!(after(&snapshot, 100, off, HERE, 0), [(1, 150)], "{off}");
    }
}

#[test]
fn in_another_boot_the_wall_clock_says_how_long_ago_it_was() {
    let snapshot =
        take(&fake(Vec::new(), vec![(tuple(1), ended(50, Reason::Fin))]), Sessions::EndNow);
    assert_eq!(after(&snapshot, 100, 0, LATER, 30), [(1, 150)]);
    // An hour without power, or a clock that was set forward.
    assert_eq!(after(&snapshot, 3600, 0, LATER, 30), [(1, 3650)]);
    // Set back: it has ended before this boot all the same.
    assert_eq!(after(&snapshot, 100, -3600, LATER, 30), [(1, 30)]);
    // Not set yet: 1970.
    assert_eq!(after(&snapshot, 100, -1_700_000_000, LATER, 30), [(1, 30)]);
    // Slightly back: within the time that this boot has taken so far.
    assert_eq!(after(&snapshot, 100, -140, LATER, 30), [(1, 30)]);
}

#[test]
fn sessions_that_were_live_have_ended_at_the_latest_possible_time() {
    let pair = session(Protocol::Tcp, 1, Lifetime::TcpOpening, NOW.monotonic_ns);
    let snapshot = take(&fake(vec![pair], Vec::new()), Sessions::GoOn);
    assert_eq!(snapshot.tuples[0].end, End::Live);
    assert_eq!(after(&snapshot, 500, 0, HERE, 0), [(1, 0)], "the maps are gone, who knows when");
    assert_eq!(after(&snapshot, 500, 0, LATER, 45), [(1, 45)], "before this boot");
}

#[test]
fn a_tuple_that_is_found_twice_rests_from_the_later_end() {
    let born = NOW.monotonic_ns - LIFE_NS - 9 * SECOND;
    let pair = session(Protocol::Tcp, 1, Lifetime::TcpOpening, born);
    let state = fake(vec![pair], vec![(tuple(1), ended(5, Reason::HalfOpen))]);
    let snapshot = take(&state, Sessions::GoOn);
    assert_eq!(after(&snapshot, 0, 0, HERE, 0).last(), Some(&(1, 5)));
}

const INSIDE: (Ipv4, Port) = (Ipv4::new([10, 0, 0, 5]), Port::new(5000));

/// A session of the mapping of [`INSIDE`] that has port 1, toward this port of the server.
fn mapped(remote_port: u16, lifetime: Lifetime, born_ns: u64) -> SessionPair {
    let mut pair = session(Protocol::Tcp, 1, lifetime, born_ns);
    let remote = (pair.key.remote, Port::new(remote_port));
    pair.key = FlowKey::new(Protocol::Tcp, INSIDE, remote);
    pair.outbound.uses = Uses::MAPPING;
    pair
}

fn owned(resting: Resting) -> Resting {
    Resting { owner: INSIDE.0, owner_port: INSIDE.1, ..resting }
}

/// As in the data path: the port is nobody else's for as long as the longest of its sessions rests.
#[test]
fn a_mappings_port_rests_toward_everybody_but_its_owner() {
    let born = NOW.monotonic_ns - 100 * SECOND;
    let mut connected = mapped(80, Lifetime::TcpEstablished, born);
    connected.outbound.tcp = nat_common::tcp::Connection::ANSWERED.bits();
    let opening = mapped(81, Lifetime::TcpOpening, born);
    let everybody = tuple(1).toward_everybody();
    for sessions in [vec![connected, opening], vec![opening, connected]] {
        for before in [vec![], vec![(everybody, owned(ended(5, Reason::HalfOpen)))]] {
            let snapshot = take(&fake(sessions.clone(), before), Sessions::EndNow);
            let resting = snapshot.resting(NOW, HERE);
            assert_eq!(resting.len(), 3, "{resting:?}");
            let of = |key| resting.iter().find(|(tuple, _)| *tuple == key).unwrap().1;
            let (fin, half_open) = (ended(0, Reason::Fin), ended(0, Reason::HalfOpen));
            assert_eq!(of(everybody), owned(fin));
            assert_eq!(of(tuple(1).toward(tuple(1).remote, Port::new(80))), fin);
            assert_eq!(of(tuple(1).toward(tuple(1).remote, Port::new(81))), half_open);
        }
    }
}

#[test]
fn a_port_rests_for_as_long_as_it_would_have_without_its_new_sessions() {
    let born = NOW.monotonic_ns - 100 * SECOND;
    let everybody = tuple(1).toward_everybody();
    for (ago, reason, kept) in [(5, Reason::Fin, true), (215, Reason::Fin, false)] {
        let before = owned(ended(ago, reason));
        let state = fake(vec![mapped(81, Lifetime::TcpOpening, born)], vec![(everybody, before)]);
        for sessions in [Sessions::EndNow, Sessions::GoOn] {
            let resting = take(&state, sessions).resting(NOW, HERE);
            let port = resting.iter().find(|(tuple, _)| *tuple == everybody).unwrap().1;
            let expected = if kept { before } else { owned(ended(0, Reason::HalfOpen)) };
            assert_eq!(port, expected, "{ago}");
        }
    }
}

#[test]
fn a_mapping_that_need_not_rest_leaves_nothing() {
    let mut query = mapped(53, Lifetime::Udp, NOW.monotonic_ns);
    query.key.protocol = Protocol::Udp as u8;
    let snapshot = take(&fake(vec![query], Vec::new()), Sessions::EndNow);
    assert_eq!(snapshot.tuples, []);
}
