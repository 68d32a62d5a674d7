//! What the kernel says of the programs.
use std::time::Duration;

use aya::programs::Program;
use nat_ctl::datapath::kernel::{
    load::{self, LogLevel},
    maps::Sizes,
    pins::Pins,
};
use nat_tests::lab::BpfFs;

/// The verifier gives up at a million instructions; far from that, loading stays quick and there
/// is room to grow.
const VERIFIED_INSTRUCTIONS_MAX: u32 = 160_000;

#[test]
fn programs_are_cheap_to_verify() {
    let bpffs = BpfFs::new();
    let pins = Pins::new(&bpffs.path(), "verifier").unwrap();
    let lock = pins.lock(Duration::ZERO).unwrap();
    let making = pins.make(&lock).unwrap();
    let sizes = Sizes { sessions: 64, cooling: 64 };
    let ebpf = load::load(&mut load::loader(&making, sizes, LogLevel::Off)).unwrap();
    let mut over = Vec::new();
    for (name, program) in ebpf.programs() {
        let info = match program {
            Program::Xdp(program) => program.info(),
            Program::SchedClassifier(program) => program.info(),
            other => panic!("unexpected program {other:?}"),
        };
        let verified = info.unwrap().verified_instruction_count().unwrap();
        println!("{name}: {verified} verified instructions");
        if verified > VERIFIED_INSTRUCTIONS_MAX {
            over.push((name, verified));
        }
    }
    assert_eq!(over, [], "more than {VERIFIED_INSTRUCTIONS_MAX}");
}
