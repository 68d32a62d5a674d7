//! A laboratory with one system in its gateway, and what it costs to send packets through it.
use std::{
    fs,
    net::Ipv4Addr,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use nat_common::stats::Hook;
use nat_tests::lab::{
    BpfFs, Controller, Lab, NatCtl, NetNs, Offloads,
    process::{ip, tool, tool_with_input},
    topology::{CLIENT, EXTERNAL, SERVER},
};
use nix::net::if_::if_nametoindex;
use tempfile::TempDir;

use crate::{
    cpu::{self, Busy},
    layout::{Expectation, Floor, Hop, Outcome, Place, Plan},
    programs::{self, Programs},
    system::System,
};

/// The clients behind [`CLIENT`], and the servers behind [`SERVER`].
pub const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 0);
const CLIENT_BITS: u32 = 10;
pub const SERVERS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const SERVER_BITS: u32 = 15;

/// The generator's TTL, less one for the gateway's hop.
const TTL: u32 = 64;

/// The CPU on which packets are made and forwarded; the last, because the first one has the most of
/// everything else to do, the controllers among it.
pub fn first_cpu() -> usize {
    aya::util::nr_cpus().map_or(0, |count| count - 1)
}

/// What is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub kind: u32,
    pub flows: u32,
    /// The number of the first flow.
    pub first: u32,
    pub packets: u32,
    /// All to one server, from as many clients as it takes.
    pub one_server: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Outturn {
    pub sent: u64,
    /// At the server, and at the client what was answered.
    pub delivered: u64,
    pub answered: u64,
    pub sampled: u64,
    /// Delivered, but not as they should be.
    pub wrong: u64,
    /// CPU time.
    pub busy: Duration,
    pub elapsed: Duration,
}

pub struct Rig {
    pub system: System,
    programs: Programs,
    lab: Lab,
    running: Running,
}

impl Rig {
    /// A laboratory with a system. `reflects`: servers answer.
    pub fn new(system: System, reflects: bool, cpus: usize, rules: &str) -> Self {
        let lab = Lab::new(Offloads::Off);
        route(&lab);
        queues(&lab, cpus);
        let mut programs = Programs::load();
        expect(&mut programs, &lab, system, reflects);
        // The hosts first: their ends then take what is redirected to them.
        programs.attach("sink_client", &lab.client, "c0");
        programs.attach("sink_server", &lab.server, "s0");
        let running = install(system, &lab, &mut programs, rules);
        Self { system, programs, lab, running }
    }

    /// Sends what is wanted from one CPU after the other, all at a time.
    pub fn run(&mut self, load: Load, cpus: usize) -> Outturn {
        let before = self.counts();
        self.programs.rewind();
        let share = load.packets / cpus as u32;
        let first = first_cpu();
        for number in 0..cpus {
            let cpu = (first - number) as u32;
            let first = load.first + number as u32 * load.flows;
            self.programs.plan(cpu, plan(&self.lab, Load { first, ..load }));
        }
        let generator = self.programs.generator();
        let started = Barrier::new(cpus);
        let lab = &self.lab;
        let one = |number: usize| {
            lab.client.enter(|| {
                let cpu = first - number;
                cpu::pin(cpu);
                let ifindex = if_nametoindex("c0").expect("the client's device");
                started.wait();
                let (begun, busy) = (Instant::now(), Busy::begin(cpu));
                programs::generate(generator, ifindex, share).expect("run the generator");
                // What is left for the kernel's own thread runs before this one does again.
                thread::sleep(SETTLE);
                (busy.so_far(), begun.elapsed() - SETTLE)
            })
        };
        let took: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..cpus).map(|number| scope.spawn(move || one(number))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a generator")).collect()
        });
        still_there(&mut self.running);
        let after = self.counts();
        let gained = |place: Place, outcome: Outcome| {
            let at = index(place, outcome);
            after[at] - before[at]
        };
        let wrong = |place| {
            let wrong = [
                Outcome::WrongFrame,
                Outcome::WrongAddress,
                Outcome::WrongTtl,
                Outcome::WrongChecksum,
            ];
            wrong.into_iter().map(|outcome| gained(place, outcome)).sum::<u64>()
        };
        let there = if self.system == System::Generator { Place::Gateway } else { Place::Server };
        Outturn {
            sent: u64::from(share) * cpus as u64,
            delivered: gained(there, Outcome::Right),
            answered: gained(Place::Client, Outcome::Right),
            sampled: gained(there, Outcome::Sampled) + gained(Place::Client, Outcome::Sampled),
            wrong: wrong(there) + wrong(Place::Client),
            busy: took.iter().map(|(busy, _)| *busy).sum(),
            elapsed: took.iter().map(|(_, elapsed)| *elapsed).max().unwrap_or_default(),
        }
    }

    fn counts(&self) -> Vec<u64> {
        let places = [Place::Gateway, Place::Server, Place::Client];
        places
            .into_iter()
            .flat_map(|place| OUTCOMES.map(|outcome| self.programs.count(place, outcome)))
            .collect()
    }
}

const SETTLE: Duration = Duration::from_millis(20);

const OUTCOMES: [Outcome; Outcome::COUNT as usize] = [
    Outcome::Right,
    Outcome::Sampled,
    Outcome::WrongFrame,
    Outcome::WrongAddress,
    Outcome::WrongTtl,
    Outcome::WrongChecksum,
];

fn index(place: Place, outcome: Outcome) -> usize {
    (place as u32 * Outcome::COUNT + outcome as u32) as usize
}

/// As many queues as CPUs: a veth chooses the queue of its peer by the CPU that sends.
fn queues(lab: &Lab, cpus: usize) {
    if cpus > 1 {
        let count = cpus.to_string();
        for (host, device) in [
            (&lab.gateway, "lan0"),
            (&lab.gateway, "wan0"),
            (&lab.client, "c0"),
            (&lab.server, "s0"),
        ] {
            tool(host, "ethtool", &["-L", device, "rx", &count, "tx", &count]);
        }
    }
}

/// The clients' and the servers' networks, and no question of a hardware address.
fn route(lab: &Lab) {
    let neighbours = format!(
        "neigh replace {CLIENT} lladdr {} dev lan0 nud permanent\n\
         neigh replace {SERVER} lladdr {} dev wan0 nud permanent\n",
        text(mac(&lab.client, "c0")),
        text(mac(&lab.server, "s0")),
    );
    ip(
        &lab.gateway,
        &format!("{neighbours}route add {CLIENTS}/{CLIENT_BITS} via {CLIENT} dev lan0\n"),
    );
}

fn plan(lab: &Lab, load: Load) -> Plan {
    Plan {
        client: CLIENTS.to_bits() + 1,
        server: SERVERS.to_bits() + 1,
        flows: load.flows,
        first: load.first,
        kind: load.kind,
        one_server: load.one_server.into(),
        destination_mac: mac(&lab.gateway, "lan0"),
        source_mac: mac(&lab.client, "c0"),
    }
}

fn expect(programs: &mut Programs, lab: &Lab, system: System, reflects: bool) {
    let mask = |bits| u32::MAX << (32 - bits);
    let clients = (CLIENTS.to_bits(), mask(CLIENT_BITS));
    let servers = (SERVERS.to_bits(), mask(SERVER_BITS));
    let outside = if system.translates() { (EXTERNAL.to_bits(), u32::MAX) } else { clients };
    let way =
        |from: (u32, u32), to: (u32, u32), macs: ([u8; 6], [u8; 6]), ttl, reflects| Expectation {
            source: from.0,
            source_mask: from.1,
            destination: to.0,
            destination_mask: to.1,
            destination_mac: macs.1,
            source_mac: macs.0,
            ttl,
            reflects: u32::from(reflects),
        };
    let (c0, lan0) = (mac(&lab.client, "c0"), mac(&lab.gateway, "lan0"));
    let (s0, wan0) = (mac(&lab.server, "s0"), mac(&lab.gateway, "wan0"));
    programs.expect(Place::Gateway, way(clients, servers, (c0, lan0), TTL, reflects));
    programs.expect(Place::Server, way(outside, servers, (wan0, s0), TTL - 1, reflects));
    // What is answered at once in the gateway's stead has made no hop.
    let (from, ttl) = if system == System::Generator { (lan0, TTL + 1) } else { (lan0, TTL - 1) };
    programs.expect(Place::Client, way(servers, clients, (from, c0), ttl, false));
}

/// What has to stay for a system to go on.
pub type Running = Option<(Controller, NatCtl, BpfFs, TempDir)>;

/// Fails if a controller has ended: without it a system is another one.
pub fn still_there(running: &mut Running) {
    if let Some((controller, ..)) = running {
        let ended = controller.wait_end(Duration::ZERO);
        assert!(ended.is_none(), "nat-ctl has ended: {ended:?}\n{}", controller.log());
    }
}

/// Puts the system into the gateway.
pub fn install(system: System, lab: &Lab, programs: &mut Programs, rules: &str) -> Running {
    if !matches!(system, System::Ours(Hook::XdpInside)) {
        // The kernel's interfaces take frames from the hosts' XDP only so.
        for device in ["lan0", "wan0"] {
            tool(&lab.gateway, "ethtool", &["-K", device, "gro", "on"]);
        }
    }
    match system {
        System::Generator => programs.attach("sink_gateway", &lab.gateway, "lan0"),
        System::Forwarding => {}
        System::Masquerade => translate(lab, "masquerade"),
        System::SourceRange => translate(
            lab,
            &format!("meta l4proto {{ tcp, udp }} snat to {EXTERNAL}:1024-65535 random"),
        ),
        System::XdpForwarder => {
            for device in ["lan0", "wan0"] {
                programs.attach("forward", &lab.gateway, device);
            }
        }
        System::Floor => {
            let hop = |device, host, peer| Hop {
                ifindex: lab
                    .gateway
                    .enter(|| if_nametoindex(device))
                    .expect("the gateway's device"),
                destination_mac: mac(host, peer),
                source_mac: mac(&lab.gateway, device),
            };
            programs.floor(Floor {
                external: EXTERNAL.to_bits(),
                outside: hop("wan0", &lab.server, "s0"),
                inside: hop("lan0", &lab.client, "c0"),
            });
            programs.attach("floor_inside", &lab.gateway, "lan0");
            programs.attach("floor_outside", &lab.gateway, "wan0");
        }
        System::Ours(hook) => return Some(start(lab, hook, rules)),
    }
    None
}

fn translate(lab: &Lab, action: &str) {
    let rules = format!(
        "table ip bench {{\nchain nat {{ type nat hook postrouting priority srcnat;\n\
         ip saddr 10.0.0.0/8 oifname \"wan0\" {action}\n}}\n}}\n"
    );
    tool_with_input(&lab.gateway, "nft", &["-f", "-"], &rules);
    // A steady flow of one direction is not to end between two rounds.
    for timeout in ["udp_timeout", "udp_timeout_stream"] {
        lab.gateway.sysctl(&format!("net/netfilter/nf_conntrack_{timeout}"), "3600");
    }
}

fn start(lab: &Lab, hook: Hook, rules: &str) -> (Controller, NatCtl, BpfFs, TempDir) {
    let hook = if hook == Hook::XdpInside { "xdp" } else { "tc" };
    let folder = tempfile::tempdir().expect("make a folder");
    let config = folder.path().join("bench.toml");
    let text = format!(
        "[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\nhook = \"{hook}\"\n\
         [timeouts]\nudp = \"1h\"\n\
         [limits]\nmax_sessions = {SESSIONS}\nsessions_per_client = 0\nnew_per_second_per_client = 0\n{rules}"
    );
    fs::write(&config, text).expect("write a config");
    let bpffs = BpfFs::new();
    let nat = NatCtl::new(&lab.gateway, &bpffs);
    // Not by a thread of its own, with which it would end.
    let controller = cpu::on(0, || nat.start(&config));
    (controller, nat, bpffs, folder)
}

/// As many as the floor's tables take.
const SESSIONS: u32 = crate::layout::FLOOR_SESSIONS;

fn mac(namespace: &NetNs, device: &str) -> [u8; 6] {
    let shown = tool(namespace, "ip", &["-j", "link", "show", device]);
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("ip prints JSON");
    let text = shown[0]["address"].as_str().expect("a hardware address");
    let mut bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a byte"));
    std::array::from_fn(|_| bytes.next().expect("six bytes"))
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
