//! TCP events from both sides at the same moment.
use nat_common::{flow::Direction, settings::Lifetime, stats::Hook};
use nat_ctl::datapath::State;

use super::{
    bench::{BOTH, Hooks},
    cpus::{self, Lockstep},
    frames::{self, ACK, CLIENT, FIN, GATEWAY, Place, RST, SERVER, SYN},
    gateway::Gateway,
    lifetime::life,
    runs,
};

const CONNECTIONS: u16 = 3000;

/// A connection's segments from both sides.
struct Connection {
    port: u16,
    external: u16,
}

impl Connection {
    fn frame(&self, from: Direction, flags: u8) -> Vec<u8> {
        // Both start at 1000, and neither sends any data.
        let place = Place::at(if flags & SYN != 0 { 1000 } else { 1001 }, 1001);
        let (client, server) = ((CLIENT, self.port), (SERVER, 80));
        match from {
            Direction::Outbound => frames::tcp_at(client, server, flags, place, b""),
            Direction::Inbound => {
                frames::tcp_at(server, (GATEWAY, self.external), flags, place, b"")
            }
        }
    }
}

fn hook(hooks: Hooks, from: Direction) -> Hook {
    match from {
        Direction::Outbound => hooks.out,
        Direction::Inbound => hooks.inbound,
    }
}

/// Sends each side's segments from a CPU of its own, those of one connection at the same moment.
fn at_once(gateway: &Gateway, hooks: Hooks, connections: &[Connection], flags: [u8; 2]) {
    let lockstep = Lockstep::default();
    cpus::both(gateway.namespaces(), |which| {
        let from = [Direction::Outbound, Direction::Inbound][which];
        let frame = |connection: &Connection| connection.frame(from, flags[which]);
        let frames: Vec<_> = connections.iter().map(frame).collect();
        for (number, frame) in frames.iter().enumerate() {
            lockstep.step(number);
            let passed = match from {
                Direction::Outbound => gateway.send_out(hook(hooks, from), frame),
                Direction::Inbound => gateway.send_in(hook(hooks, from), frame),
            };
            assert!(passed.is_some(), "a segment of connection {number} was dropped");
        }
    });
}

/// A client gives up at the moment at which the server answers.
#[test]
fn a_reset_that_crosses_the_answer_closes() {
    for _ in 0..runs() {
        for hooks in BOTH {
            let gateway = Gateway::new("1024-65535", 8192);
            let connections = open(&gateway, hooks);
            at_once(&gateway, hooks, &connections, [RST, SYN | ACK]);
            assert_all(&gateway, "closing");
        }
    }
}

/// Opens the connections with a SYN each.
fn open(gateway: &Gateway, hooks: Hooks) -> Vec<Connection> {
    gateway.namespace().enter(|| {
        let open = |port| {
            let syn = frames::tcp((CLIENT, port), (SERVER, 80), SYN, b"");
            Connection { port, external: gateway.open(hooks.out, &syn).source.1 }
        };
        (1..=CONNECTIONS).map(open).collect()
    })
}

fn assert_all(gateway: &Gateway, state: &str) {
    let sessions = gateway.bench.sessions();
    assert_eq!(sessions.len(), usize::from(CONNECTIONS));
    let other = sessions.iter().find(|session| session.state != state);
    assert!(other.is_none(), "not {state}: {other:?}");
}

/// Of every session both entries say the same.
fn assert_agreed(gateway: &Gateway) {
    for pair in gateway.bench.state().sessions().unwrap() {
        let inbound = pair.inbound.unwrap();
        assert_eq!(pair.outbound.lifetime, inbound.lifetime, "{pair:?}");
        let expected = Lifetime::of_tcp(pair.outbound.connection().state());
        assert_eq!(pair.outbound.lifetime, expected as u8, "{pair:?}");
    }
}

/// One side resets while the other one sends: whichever came last, both entries follow it.
#[test]
fn a_reset_that_crosses_data_leaves_no_entry_behind() {
    for _ in 0..runs() {
        for hooks in BOTH {
            let gateway = Gateway::new("1024-65535", 8192);
            let connections = open(&gateway, hooks);
            at_once(&gateway, hooks, &connections, [SYN, SYN]);
            at_once(&gateway, hooks, &connections, [RST, ACK]);
            assert_agreed(&gateway);
            at_once(&gateway, hooks, &connections, [ACK, RST]);
            assert_agreed(&gateway);
            at_once(&gateway, hooks, &connections, [FIN | ACK, RST]);
            assert_agreed(&gateway);
            at_once(&gateway, hooks, &connections, [FIN | ACK, FIN | ACK]);
            assert_agreed(&gateway);
            assert_all(&gateway, "closing");
        }
    }
}

#[test]
fn fins_that_cross_close_every_connection() {
    for _ in 0..runs() {
        for hooks in BOTH {
            let mut gateway = Gateway::new("1024-65535", 8192);
            let connections = open(&gateway, hooks);
            // Simultaneous open: each side's SYN has been seen, in whatever order.
            at_once(&gateway, hooks, &connections, [SYN, SYN]);
            assert_all(&gateway, "established");
            at_once(&gateway, hooks, &connections, [FIN | ACK, FIN | ACK]);
            assert_all(&gateway, "closing");
            assert_agreed(&gateway);
            gateway.bench.advance(life(240));
            assert_eq!(gateway.bench.sessions().len(), 0, "closing connections go soon");
        }
    }
}
