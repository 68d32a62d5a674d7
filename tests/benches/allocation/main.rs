//! What a new connection costs, by how full the ports toward its server are: in the kernel, with the
//! programs that ship. And how other designs would fare: see [`models`]. One line of JSON for each.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot do what it says has failed")]

#[path = "../../tests/common/mod.rs"]
#[expect(dead_code, reason = "the tests of layer 2 use the rest")]
mod common;
mod models;

use std::{net::Ipv4Addr, ops::Range, time::Duration};

use common::{
    bench::{Bench, INTERNET, NO_COOLDOWN},
    frames::{self, SYN},
    test_run::return_code,
};
use nat_common::{
    addr::{Ipv4, Port},
    cooldown::{Cooldown, Reason},
    flow::{FlowKey, Protocol},
    stats::Hook,
    verdict::Verdict,
};

/// All but the well-known ones.
const PORTS: usize = 64_512;
const SESSIONS_MAX: u32 = 131_072;
const SAMPLES: usize = 4000;
/// In percent.
const LEVELS: [usize; 5] = [0, 50, 90, 99, 100];

/// The first packet of a client's connection, and the key of its session.
fn opening(number: usize) -> (Vec<u8>, FlowKey) {
    let host = u8::try_from(2 + number / 50_000).unwrap();
    let client = (Ipv4Addr::new(10, 77, 0, host), u16::try_from(1024 + number % 50_000).unwrap());
    let ends = |(address, port): (Ipv4Addr, u16)| (Ipv4::from(address), Port::new(port));
    let server = (frames::SERVER, 80);
    let key = FlowKey::new(Protocol::Tcp, ends(client), ends(server));
    (frames::tcp(client, server, SYN, b""), key)
}

/// One new connection.
struct Sample {
    took: Duration,
    tries: u64,
    looks: u64,
}

/// Opens a connection and ends it at once, unless it is refused.
fn sample(bench: &Bench, hook: Hook, number: usize) -> Sample {
    let (frame, key) = opening(number);
    let before = bench.effort();
    let (code, took) = bench.time_here(hook, &frame);
    let after = bench.effort();
    if code == return_code(hook, Verdict::TranslatedOut) {
        bench.with_keys_here("flush", &[key]);
    }
    Sample { took, tries: after[0] - before[0], looks: after[1] - before[1] }
}

/// Median, 99th percentile and maximum.
fn spread(values: impl Iterator<Item = u64>) -> [u64; 3] {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    [values.len() / 2, values.len() * 99 / 100, values.len() - 1].map(|index| values[index])
}

fn report(hook: Hook, level: usize, samples: &[Sample]) -> u64 {
    let ns = spread(samples.iter().map(|sample| sample.took.as_nanos() as u64));
    let tries = spread(samples.iter().map(|sample| sample.tries));
    let looks = spread(samples.iter().map(|sample| sample.looks));
    println!(
        "{{\"hook\":\"{}\",\"fill\":{level},\"ns\":{ns:?},\"tries\":{tries:?},\"looks\":{looks:?}}}",
        hook.name()
    );
    ns[1]
}

/// Opens a connection and ends it at once, with nothing known of the ports: a rest has become shorter.
fn measure_learning(bench: &mut Bench, hook: Hook, rules: &str) {
    let rests = Cooldown { wait_ns: [1; Reason::COUNT], enabled: 1, ..NO_COOLDOWN };
    for cooldown in [rests, NO_COOLDOWN] {
        bench.cooldown = Some(cooldown);
        bench.apply(rules);
    }
    let lab = bench.lab();
    let sample = lab.gateway.enter(|| sample(bench, hook, PORTS));
    println!(
        "{{\"hook\":\"{}\",\"first_without_memory\":true,\"ns\":{},\"tries\":{},\"looks\":{}}}",
        hook.name(),
        sample.took.as_nanos(),
        sample.tries,
        sample.looks
    );
}

/// Opens these connections. Counts those that are refused at first: while the gateway learns.
fn fill(bench: &Bench, hook: Hook, numbers: Range<usize>, refused: &mut usize) {
    let lab = bench.lab();
    let open = |number| {
        let frame = opening(number).0;
        let opened = return_code(hook, Verdict::TranslatedOut);
        while bench.time_here(hook, &frame).0 != opened {
            *refused += 1;
            assert!(*refused < 100, "port {number} of {PORTS} cannot be had");
        }
    };
    lab.gateway.enter(|| numbers.for_each(open));
}

fn measure(hook: Hook) {
    let rules = format!("{INTERNET}ports = \"1024-65535\"\n");
    let mut bench = Bench::without_rules(SESSIONS_MAX);
    bench.apply(&rules);
    let lab = bench.lab();
    let (mut filled, mut refused) = (0, 0);
    let mut p99 = [0; LEVELS.len()];
    for (level, p99) in LEVELS.into_iter().zip(&mut p99) {
        let target = PORTS * level / 100;
        fill(&bench, hook, filled..target, &mut refused);
        filled = target;
        let samples = |number| sample(&bench, hook, PORTS + number);
        let samples: Vec<Sample> = lab.gateway.enter(|| (0..SAMPLES).map(samples).collect());
        *p99 = report(hook, level, &samples);
        if level == 99 {
            measure_learning(&mut bench, hook, &rules);
        }
    }
    println!(
        "{{\"hook\":\"{}\",\"refused_while_learning\":{refused},\"p99_at_99_over_p99_at_0\":{:.1}}}",
        hook.name(),
        p99[3] as f64 / p99[0] as f64
    );
}

fn main() {
    models::print(PORTS, &LEVELS);
    measure(Hook::TcEgress);
    measure(Hook::XdpInside);
}
