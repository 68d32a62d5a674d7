//! Both CPUs see the first packet of one flow at the same moment.
use nat_common::verdict::Verdict;

use super::{
    bench::BOTH,
    cpus::{self, Lockstep},
    frames::{self, CLIENT, SERVER},
    gateway::Gateway,
    runs,
};

const FLOWS: u16 = 5000;

#[test]
fn one_flow_on_two_cpus_is_one_session() {
    for run in 0..runs() {
        for hooks in BOTH {
            let gateway = Gateway::new("1024-65535", 16_384);
            let lockstep = Lockstep::default();
            let seen = cpus::both(gateway.namespaces(), |_| {
                let flow = |port| frames::udp((CLIENT, port), (SERVER, 3478), b"first");
                let frames: Vec<_> = (1..=FLOWS).map(flow).collect();
                let send = |(number, frame): (usize, &Vec<u8>)| {
                    lockstep.step(number);
                    gateway.send_out(hooks.out, frame).map(|view| view.source.1)
                };
                frames.iter().enumerate().map(send).collect::<Vec<_>>()
            });
            let mut lost = 0;
            for (one, other) in seen[0].iter().zip(&seen[1]) {
                match (one, other) {
                    (Some(one), Some(other)) => assert_eq!(one, other, "two mappings of a flow"),
                    (None, None) => panic!("neither packet passed"),
                    _ => lost += 1,
                }
            }
            assert_eq!(gateway.check_pairs(), usize::from(FLOWS));
            assert_eq!(gateway.packets(Verdict::Contended), lost, "packets lost without a name");
            assert_eq!(gateway.rule().sessions, u64::from(FLOWS), "sessions counted");
            println!("{run} {hooks:?}: {lost} of {} packets dropped as contended", 2 * FLOWS);
            assert!(lost <= u64::from(FLOWS) / 100, "{lost} first packets were lost");
        }
    }
}
