//! What is sent through each system.
use nat_common::stats::Hook;

use crate::{
    layout::{TCP, UDP},
    system::System,
};

/// One table of the report.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    /// What a figure is the cost of.
    pub unit: &'static str,
    pub kind: u32,
    pub flows: u32,
    /// Units in each round.
    pub units: u32,
    /// Packets that are sent for each unit.
    pub packets: u32,
    /// All to one server, from as many clients as it takes; otherwise the other way round.
    pub one_server: bool,
    /// Servers answer.
    pub reflects: bool,
    /// Flows that are there before each round: the same ones that are sent, or other ones.
    pub before: Before,
    /// What nat-ctl's rule says of mappings.
    pub mapping: &'static str,
    pub cpus: usize,
    pub systems: &'static [System],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// The flows that are sent.
    Same,
    /// So many others.
    Others(u32),
}

impl Scenario {
    /// Whether it is about what several CPUs do at a time, where CPU time says nothing.
    pub fn cpus_are_compared(&self) -> bool {
        self.name.ends_with("elapsed time")
    }
}

const XDP: System = System::Ours(Hook::XdpInside);
const TC: System = System::Ours(Hook::TcEgress);

const EVERY: [System; 8] = [
    System::Generator,
    System::Forwarding,
    System::Masquerade,
    System::SourceRange,
    System::XdpForwarder,
    System::Floor,
    XDP,
    TC,
];

const TRANSLATORS: [System; 6] =
    [System::Generator, System::Masquerade, System::SourceRange, System::Floor, XDP, TC];

const BOTH_CPUS: [System; 5] = [System::Generator, System::Masquerade, System::Floor, XDP, TC];

const INDEPENDENT: &str = "endpoint-independent";
const DEPENDENT: &str = "address-and-port-dependent";

/// Enough for a figure: a third of a second of the cheapest system.
const STEADY: u32 = 1_000_000;
const NEW: u32 = 30_000;
/// Of the 64,512 ports toward one server.
const NEARLY_ALL: u32 = 63_000;
const FEW: u32 = 1_400;

/// All of them, in the order of the report.
pub fn all(cpus: usize) -> Vec<Scenario> {
    let steady = |name, flows| Scenario {
        name,
        unit: "packet",
        kind: UDP,
        flows,
        units: STEADY,
        packets: 1,
        one_server: false,
        reflects: false,
        before: Before::Same,
        mapping: INDEPENDENT,
        cpus: 1,
        systems: &EVERY,
    };
    let new = |name, mapping| Scenario {
        unit: "flow",
        flows: NEW,
        units: NEW,
        before: Before::Others(0),
        mapping,
        systems: &TRANSLATORS,
        ..steady(name, NEW)
    };
    let filling = |name, before| Scenario {
        flows: FEW,
        units: FEW,
        one_server: true,
        before: Before::Others(before),
        ..new(name, DEPENDENT)
    };
    let mut all = vec![
        steady("established, 1 flow", 1),
        steady("established, 1k flows", 1 << 10),
        steady("established, 64k flows", 1 << 16),
        steady("established, 512k flows", 1 << 19),
        Scenario { reflects: true, ..steady("established both ways, 1k flows", 1 << 10) },
        Scenario { reflects: true, ..steady("established both ways, 64k flows", 1 << 16) },
        new("new UDP flows, endpoint-independent", INDEPENDENT),
        new("new UDP flows, address-and-port-dependent", DEPENDENT),
        Scenario {
            unit: "connection",
            kind: TCP,
            packets: 3,
            reflects: true,
            ..new("TCP connections of five packets", DEPENDENT)
        },
        filling("new UDP flows to one server, no port in use", 0),
        filling("new UDP flows to one server, 98 % of ports in use", NEARLY_ALL),
    ];
    if cpus > 1 {
        let two = |name, cpus| Scenario { cpus, systems: &BOTH_CPUS, ..steady(name, 1 << 10) };
        all.push(two("one CPU, elapsed time", 1));
        all.push(two("two CPUs, elapsed time", 2));
    }
    all
}
