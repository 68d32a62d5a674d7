//! What the kernel says of the programs.
use std::{collections::BTreeMap, env, fs, time::Duration};

use aya::programs::Program;
use nat_ctl::datapath::kernel::{
    load::{self, LogLevel},
    maps::Sizes,
    pins::Pins,
};
use nat_tests::lab::BpfFs;

use super::{
    baseline::{self, Baseline},
    stack,
};

/// The verifier gives up at a million instructions; far from that, loading stays quick and there
/// is room to grow.
const VERIFIED_INSTRUCTIONS_MAX: u32 = 160_000;

#[test]
fn programs_are_cheap_to_verify() {
    let verified = verified_instructions();
    let over: Vec<_> =
        verified.iter().filter(|(_, count)| **count > VERIFIED_INSTRUCTIONS_MAX).collect();
    assert_eq!(over, [], "more than {VERIFIED_INSTRUCTIONS_MAX}");
    let stacks = stack::of_programs(load::OBJECT);
    let figures = |(name, count): (String, u32)| {
        let stack = stacks[&name];
        println!("{name}: {count} verified instructions, {stack} bytes of stack");
        (name, baseline::Program { verified_instructions: count.into(), stack })
    };
    let programs = verified.into_iter().map(figures).collect();
    let now = Baseline { kernel: kernel(), programs };
    if env::var_os(baseline::TAKE).is_some() {
        return now.write();
    }
    let committed = Baseline::read();
    if committed.kernel != now.kernel {
        println!("instructions are not compared: the baseline's kernel is {}", committed.kernel);
    }
    let differences = committed.differences(&now);
    assert!(
        differences.is_empty(),
        "not as in tests/baseline.toml: {}. If that is what it must cost, the baseline is to be {}",
        differences.join("; "),
        baseline::how_to_take()
    );
}

/// Has the kernel verify every program.
fn verified_instructions() -> BTreeMap<String, u32> {
    let bpffs = BpfFs::new();
    let pins = Pins::new(&bpffs.path(), "verifier").unwrap();
    let lock = pins.lock(Duration::ZERO).unwrap();
    let making = pins.make(&lock).unwrap();
    let sizes = Sizes { sessions: 64, cooling: 64 };
    let ebpf = load::load(&mut load::loader(&making, sizes, LogLevel::Off)).unwrap();
    let count = |(name, program): (&str, &Program)| {
        let info = match program {
            Program::Xdp(program) => program.info(),
            Program::SchedClassifier(program) => program.info(),
            other => panic!("unexpected program {other:?}"),
        };
        (name.to_owned(), info.unwrap().verified_instruction_count().unwrap())
    };
    ebpf.programs().map(count).collect()
}

/// The running kernel's version up to its second number: `6.18` of `6.18.5-1-amd64`.
fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    release.trim().splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
}
