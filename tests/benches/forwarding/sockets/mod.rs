//! What real sockets make of a system: one stream, questions and answers, short connections.
mod report;
mod talk;

use nat_common::stats::Hook;
use nat_tests::lab::{
    Lab, Offloads,
    process::ip,
    topology::{CLIENT, EXTERNAL},
};

pub use report::{json, print};
use talk::Latency;

use crate::{
    measure,
    programs::Programs,
    rig::{Running, install, still_there},
    system::System,
};

/// Systems and what the links may leave undone.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    pub name: &'static str,
    offloads: Offloads,
    systems: &'static [System],
}

const XDP: System = System::Ours(Hook::XdpInside);
const TC: System = System::Ours(Hook::TcEgress);

/// XDP knows no partial checksum, which is what a host on the same machine sends with offloads on.
pub const SETS: [Set; 2] = [
    Set {
        name: "sockets, offloads on",
        offloads: Offloads::On,
        systems: &[System::Forwarding, System::Masquerade, TC],
    },
    Set {
        name: "sockets, offloads off",
        offloads: Offloads::Off,
        systems: &[System::Forwarding, System::Masquerade, XDP, TC],
    },
];

/// What a system made of it, by round.
#[derive(Clone, Debug)]
pub struct Figures {
    pub system: System,
    /// Of one stream, in Mbit/s.
    pub throughput: Vec<f64>,
    pub latency: Vec<Latency>,
    /// Short connections in a second, one after the other.
    pub connections: Vec<f64>,
    /// Of all rounds.
    pub failed: u64,
}

/// A laboratory with one system in its gateway.
struct Stage {
    lab: Lab,
    _programs: Programs,
    running: Running,
}

impl Stage {
    fn new(system: System, offloads: Offloads) -> Self {
        let lab = Lab::new(offloads);
        // Where nothing is translated, answers find their way, too.
        ip(&lab.server, &format!("route add {CLIENT} via {EXTERNAL}\n"));
        let mut programs = Programs::load();
        // As by default for TCP. The ports of mappings would rest toward everybody, and be used up.
        let rules = measure::rules("address-and-port-dependent");
        let running = install(system, &lab, &mut programs, &rules);
        Self { lab, _programs: programs, running }
    }
}

/// Gives each of the set's systems with `name` in theirs its turn, so many times.
pub fn measure(set: &Set, name: &str, rounds: usize) -> Vec<Figures> {
    let systems: Vec<System> =
        set.systems.iter().copied().filter(|system| system.name().contains(name)).collect();
    let mut stages: Vec<Stage> =
        systems.iter().map(|system| Stage::new(*system, set.offloads)).collect();
    let mut all: Vec<Figures> = systems.into_iter().map(Figures::new).collect();
    for _ in 0..rounds {
        for (figures, stage) in all.iter_mut().zip(&mut stages) {
            figures.throughput.push(talk::throughput(&stage.lab));
            figures.latency.push(talk::latency(&stage.lab));
            let (per_second, failed) = talk::connections(&stage.lab);
            figures.connections.push(per_second);
            figures.failed += failed;
            still_there(&mut stage.running);
        }
    }
    all
}

impl Figures {
    fn new(system: System) -> Self {
        let (throughput, latency, connections) = Default::default();
        Self { system, throughput, latency, connections, failed: 0 }
    }
}
