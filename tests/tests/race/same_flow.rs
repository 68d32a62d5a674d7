//! Both CPUs see the first packet of one flow at the same moment.
use super::{
    bench::BOTH,
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
            let flow = |port| frames::udp((CLIENT, port), (SERVER, 3478), b"first");
            let lost = gateway.send_pairs(hooks.out, |_| (1..=FLOWS).map(flow).collect());
            assert_eq!(gateway.check_pairs(), usize::from(FLOWS));
            assert_eq!(gateway.rule().sessions, u64::from(FLOWS), "sessions counted");
            println!("{run} {hooks:?}: {lost} of {} packets dropped as contended", 2 * FLOWS);
            assert!(lost <= u64::from(FLOWS) / 100, "{lost} first packets were lost");
        }
    }
}
