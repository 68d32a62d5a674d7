//! What it costs to forward a packet: nat-ctl beside what else there is, in one run. See
//! docs/performance.md.
#![expect(clippy::expect_used, reason = "a benchmark that cannot do what it says has failed")]

mod alone;
#[path = "../../tests/common/mod.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "as the tests of layer 2 have it")]
mod common;
mod conntrack;
mod cpu;
#[path = "../../bench-ebpf/src/layout.rs"]
#[expect(dead_code, reason = "the programs use the rest")]
mod layout;
mod measure;
mod memory;
mod plot;
mod programs;
mod report;
mod rig;
mod scenario;
mod sockets;
mod system;

use std::{fs, path::PathBuf};

use clap::Parser;

#[derive(Parser)]
struct Options {
    /// Times that each system has its turn
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Only scenarios with this in their name
    #[arg(long, default_value = "")]
    only: String,
    /// Only systems with this in their name, and the generator
    #[arg(long, default_value = "")]
    system: String,
    /// Where to write all figures
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where to draw what packets of established flows cost
    #[arg(long)]
    svg: Option<PathBuf>,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the scenarios of the plot have in their names.
const DRAWN: &str = "established";

fn main() {
    let options = Options::parse();
    let _room = conntrack::Room::make();
    let cpus = aya::util::nr_cpus().expect("count the CPUs");
    let (mut figures, mut drawn) = (Vec::new(), Vec::new());
    for scenario in scenario::all(cpus) {
        if !scenario.name.contains(&options.only) {
            continue;
        }
        let all = measure::measure(&scenario, &options.system, options.rounds);
        report::print(&scenario, &all);
        figures.push(report::json(&scenario, &all));
        if scenario.name.contains(DRAWN) {
            drawn.push(report::group(&scenario, &all));
        }
    }
    for set in sockets::SETS {
        if set.name.contains(&options.only) {
            let all = sockets::measure(&set, &options.system, options.rounds);
            sockets::print(&set, &all);
            figures.push(sockets::json(&set, &all));
        }
    }
    if alone::NAME.contains(&options.only) {
        let all = alone::measure(options.rounds);
        alone::print(&all);
        figures.push(alone::json(&all));
    }
    if memory::NAME.contains(&options.only) {
        let groups = memory::measure();
        memory::print(&groups);
        figures.push(memory::json(&groups));
    }
    if let Some(path) = options.json {
        let text = serde_json::to_string_pretty(&figures).expect("figures are JSON");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    if let Some(path) = options.svg {
        let written = plot::write(&path, &drawn);
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
