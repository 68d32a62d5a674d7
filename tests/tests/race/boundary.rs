//! Packets and the sweep meet at the moment at which sessions end.
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use nat_common::flow::FlowKey;
use nat_ctl::datapath::State;

use super::{
    bench::{BOTH, Hooks},
    cpus::{self, Lockstep},
    frames::{self, CLIENT, GATEWAY, SERVER},
    gateway::Gateway,
    lifetime::life,
    runs,
};

const FLOWS: u16 = 2000;
/// How long an idle UDP session lives.
const LIFE: Duration = life(300);

fn request(port: u16) -> Vec<u8> {
    frames::udp((CLIENT, port), (SERVER, 3478), b"x")
}

fn open_all(gateway: &Gateway, hooks: Hooks) -> Vec<u16> {
    gateway.namespace().enter(|| {
        let open = |port| gateway.open(hooks.out, &request(port)).source.1;
        (1..=FLOWS).map(open).collect()
    })
}

/// Whatever happened: every flow works, both ways.
fn check(gateway: &Gateway, hooks: Hooks) {
    gateway.check_pairs();
    let externals = open_all(gateway, hooks);
    assert_eq!(gateway.check_pairs(), usize::from(FLOWS));
    gateway.namespace().enter(|| {
        for (port, external) in (1..=FLOWS).zip(externals) {
            let answer = frames::udp((SERVER, 3478), (GATEWAY, external), b"y");
            let to = gateway.send_in(hooks.inbound, &answer).map(|view| view.destination);
            assert_eq!(to, Some((CLIENT, port)));
        }
    });
}

fn keys(gateway: &Gateway) -> Vec<FlowKey> {
    let mut keys: Vec<_> =
        gateway.bench.state().sessions().unwrap().iter().map(|pair| pair.key).collect();
    keys.sort_by_key(|key| key.local_port.number());
    keys
}

/// Time is up for all; the sweep and a packet of each flow come at once.
#[test]
fn a_packet_of_a_session_that_is_being_swept_opens_a_new_one() {
    for _ in 0..runs() {
        for hooks in BOTH {
            let mut gateway = Gateway::new("1024-65535", 8192);
            open_all(&gateway, hooks);
            gateway.bench.advance(LIFE);
            let (keys, lockstep) = (keys(&gateway), Lockstep::default());
            cpus::both(gateway.namespaces(), |which| {
                for number in 0..FLOWS {
                    let request = request(number + 1);
                    lockstep.step(usize::from(number));
                    if which == 0 {
                        gateway.send_out(hooks.out, &request);
                    } else {
                        let one = keys.get(usize::from(number)..=usize::from(number)).unwrap();
                        gateway.bench.with_keys_here("sweep", one);
                    }
                }
            });
            check(&gateway, hooks);
        }
    }
}

/// A packet a nanosecond before the end prolongs the session, whatever the sweep thinks of it a
/// nanosecond later; and never half of it.
#[test]
fn a_packet_in_the_last_moment_and_the_sweep_leave_no_half_session() {
    for run in 0..runs() {
        for hooks in BOTH {
            let gateway = Gateway::new("1024-65535", 8192);
            open_all(&gateway, hooks);
            let end_ns = gateway.bench.now_ns() + LIFE.as_nanos() as u64;
            let (keys, done) = (keys(&gateway), AtomicBool::new(false));
            let counts = cpus::both(gateway.namespaces(), |which| {
                if which == 0 {
                    let mut clock = gateway.bench.clock();
                    let mut kept = 0;
                    for port in 1..=FLOWS {
                        let request = request(port);
                        clock.set(0, end_ns - 1, 0).unwrap();
                        kept += u32::from(gateway.send_out(hooks.out, &request).is_some());
                        clock.set(0, end_ns, 0).unwrap();
                    }
                    done.store(true, Ordering::SeqCst);
                    kept
                } else {
                    let mut swept = 0;
                    while !done.load(Ordering::SeqCst) {
                        swept += gateway.bench.with_keys_here("sweep", &keys);
                    }
                    swept
                }
            });
            println!(
                "{run} {hooks:?}: {} packets translated, {} sessions swept",
                counts[0], counts[1]
            );
            check(&gateway, hooks);
        }
    }
}
