//! The loaded programs, a rule table, and a clock to move.
mod show;

use std::{
    collections::BTreeMap, net::Ipv4Addr, os::fd::AsFd as _, path::PathBuf, sync::Arc,
    time::Duration,
};

use super::{frames, test_run};
use aya::{
    Ebpf,
    maps::{Array, HashMap as AyaHashMap, Map, MapData, PerCpuArray, RingBuf},
};
use ipnet::Ipv4Net;
use nat_common::{
    addr::Ipv4,
    cooldown::{Cooldown, CooldownCounters, Reason, Resting},
    flow::FlowKey,
    instance::{self, Device, HookMode, HookReason, Instance, Role, stored},
    limit::{Client, ClientLimits},
    limits::SWEEP_SESSIONS_MAX,
    refusal::Refusal,
    source::Choice,
    stats::{Effort, Hook},
    verdict::Verdict,
};
use nat_ctl::{
    cli::SessionFilter,
    compile::{Host, OutsideInterface, compile},
    config::Config,
    datapath::{
        Choices, ConfigText, State,
        kernel::{
            Pinned,
            choices::Tables,
            load::{self, LogLevel},
            maps::{Maps, Sizes},
            pins::Pins,
            table,
        },
    },
    session::{SessionView, views},
    source::TableKey,
};
use nat_tests::lab::{
    BpfFs, Lab, Offloads, process,
    topology::{Builder, EXTERNAL, INSIDE},
};

/// Tuples that can rest in a bench.
pub const MAX_COOLING: u32 = 64;

/// The gateway's second external address.
pub const EXTERNAL2: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

/// Nothing rests.
pub const NO_COOLDOWN: Cooldown =
    Cooldown { wait_ns: [0; Reason::COUNT], enabled: 0, scope: 0, pressure_reuse: 0, zero: [0; 5] };

/// The rule of most tests.
pub const INTERNET: &str = r#"
[[rules]]
name = "internet"
from = ["10.77.0.0/24"]
to = ["0.0.0.0/0"]
action = "snat"
source = { addresses = ["203.0.113.1"] }
"#;

/// The two hooks that see a packet on its way out, and on its way in.
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    pub out: Hook,
    pub inbound: Hook,
}

/// Both kinds: every test that is not about a difference runs on both.
pub const BOTH: [Hooks; 2] = [
    Hooks { out: Hook::TcEgress, inbound: Hook::TcIngress },
    Hooks { out: Hook::XdpInside, inbound: Hook::XdpOutside },
];

/// What a program did with a frame.
#[derive(Debug)]
pub struct Seen {
    pub verdict: Verdict,
    pub frame: Vec<u8>,
}

/// The link-layer address of every neighbour.
pub const NEIGHBOUR: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// See the module. Dropping it leaves nothing behind.
pub struct Bench {
    lab: Arc<Lab>,
    _bpffs: BpfFs,
    pins: Pins,
    ebpf: Ebpf,
    clock: Array<MapData, u64>,
    now_ns: u64,
    /// What rests; nothing unless a test says so. Without this, what the rules' text says.
    pub cooldown: Option<Cooldown>,
    /// Limits of a client in the next table.
    pub limits: ClientLimits,
    /// Indices of the inside and the outside interface.
    pub devices: (u32, u32),
}

/// A laboratory whose gateway has the address that frames are for.
pub fn laboratory() -> Builder {
    Lab::builder(Offloads::On).gateway_mac(frames::GATEWAY_MAC)
}

/// The same choices for every model.
struct Everywhere(Vec<(Ipv4Net, Choice)>);

impl Choices for Everywhere {
    fn entries(&self, _: &TableKey) -> Vec<(Ipv4Net, Choice)> {
        self.0.clone()
    }
}

impl Bench {
    /// The programs with these rules in force and room for 1024 sessions.
    pub fn new(rules: &str) -> Self {
        let mut bench = Self::without_rules(1024);
        bench.apply(rules);
        bench
    }

    /// The programs, with no rules yet.
    pub fn without_rules(max_sessions: u32) -> Self {
        let lab = laboratory().build();
        neighbour_at(&lab, "lan0", "10.77.0.2");
        neighbour_at(&lab, "wan0", "203.0.113.10");
        Self::in_lab(Arc::new(lab), max_sessions)
    }

    /// The programs in a laboratory that was built to order. With no rules yet.
    pub fn in_lab(lab: Arc<Lab>, max_sessions: u32) -> Self {
        Self::sized(lab, Sizes { sessions: max_sessions, cooling: MAX_COOLING })
    }

    /// The same, with room for so many sessions and resting tuples.
    pub fn sized(lab: Arc<Lab>, sizes: Sizes) -> Self {
        let bpffs = BpfFs::new();
        let pins = Pins::new(&bpffs.path(), "bench").unwrap();
        let lock = pins.lock(Duration::ZERO).unwrap();
        let making = pins.make(&lock).unwrap();
        let mut loader = load::loader(&making, sizes, LogLevel::Off);
        let test_clock = 1_u8;
        loader.override_global("CLOCK_IS_TEST", &test_clock, true);
        let ebpf = load::load(&mut loader).unwrap();
        let instance = Instance {
            netns_device: 0,
            netns_inode: 0,
            attached_ns: 0,
            // Far ahead: it never has been too long ago.
            heartbeat_ns: i64::MAX as u64,
            max_sessions: sizes.sessions,
            max_cooling: sizes.cooling,
            controller_pid: 0,
            flags: 0,
            ways: 1,
            follows_ways: 1,
        };
        Maps::open_new(&making, sizes).unwrap().instance.set(0, instance, 0).unwrap();
        pins.made(&lock).unwrap();
        let index = |name: &'static str| nix::net::if_::if_nametoindex(name).unwrap();
        let devices = lab.gateway.enter(|| (index("lan0"), index("wan0")));
        let clock = clock(&ebpf);
        let mut bench = Self {
            lab,
            _bpffs: bpffs,
            pins,
            ebpf,
            clock,
            now_ns: 0,
            cooldown: Some(NO_COOLDOWN),
            limits: ClientLimits::NONE,
            devices,
        };
        bench.advance(Duration::from_secs(1000));
        let mut maps = bench.maps();
        for (name, index, role) in
            [("lan0", devices.0, Role::Inside), ("wan0", devices.1, Role::Outside)]
        {
            let interface = instance::Interface {
                name: stored(name).unwrap(),
                role: role as u8,
                hook: HookMode::Tc as u8,
                mac: frames::GATEWAY_MAC,
                because_of: 0,
                why: HookReason::Configured as u8,
                zero: [0; 3],
            };
            maps.interfaces.insert(index, interface, 0).unwrap();
            let device = Device { ifindex: index, role: role as u8, zero: 0, mac: interface.mac };
            maps.devices.set(Device::place(index), device, 0).unwrap();
        }
        bench
    }

    /// Puts rules in force.
    pub fn apply(&mut self, rules: &str) {
        self.apply_with(rules, Vec::new());
    }

    /// Puts rules in force, with the choices of every source model that they name.
    pub fn apply_with(&mut self, rules: &str, choices: Vec<(Ipv4Net, Choice)>) {
        self.apply_changed(rules, choices, |_| {});
    }

    /// The same with a configuration that differs from its text.
    pub fn apply_changed(
        &mut self,
        rules: &str,
        choices: Vec<(Ipv4Net, Choice)>,
        change: impl FnOnce(&mut Config),
    ) {
        let text = format!("[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n{rules}");
        let mut config = Config::parse(&text, "test.toml").unwrap();
        change(&mut config);
        let outside = OutsideInterface {
            index: self.devices.1,
            name: "wan0".to_owned(),
            addresses: vec![EXTERNAL, EXTERNAL2],
        };
        let (lan, wan) = self.devices;
        let host = Host {
            outside: vec![outside],
            inside: vec![("lan0".to_owned(), lan)],
            local: vec![(lan, INSIDE), (wan, EXTERNAL), (wan, EXTERNAL2)],
            mtus: [(lan, 1500), (wan, 1400)].into(),
        };
        let (mut table, _) = compile(&config, &host).unwrap();
        if let Some(cooldown) = self.cooldown {
            table.settings.cooldown = cooldown;
        }
        table.settings.clients = self.limits;
        let config = ConfigText { name: "test.toml".to_owned(), text };
        let mut tables = Tables::default();
        table::apply(&mut self.maps(), &mut tables, &table, &Everywhere(choices), &config).unwrap();
    }

    /// The maps, opened anew.
    pub fn maps(&self) -> Maps {
        Maps::open(&self.pins).unwrap()
    }

    /// Says what a controller does: that the ways of packets may have changed.
    pub fn ways_changed(&self) {
        let mut maps = self.maps();
        let mut instance = maps.instance.get(&0, 0).unwrap();
        instance.ways += 1;
        maps.instance.set(0, instance, 0).unwrap();
    }

    /// Where a map is pinned.
    pub fn pinned(&self, name: &str) -> PathBuf {
        self.pins.map(name)
    }

    /// Where the programs run.
    pub fn lab(&self) -> Arc<Lab> {
        Arc::clone(&self.lab)
    }

    /// The data path's time.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Moves the data path's clock.
    pub fn advance(&mut self, by: Duration) {
        self.now_ns += u64::try_from(by.as_nanos()).unwrap();
        self.clock.set(0, self.now_ns, 0).unwrap();
    }

    /// Another handle of the clock, for moving it while programs run. The bench's own time stays.
    pub fn clock(&self) -> Array<MapData, u64> {
        clock(&self.ebpf)
    }

    /// Everything that the command line can read.
    pub fn state(&self) -> Pinned {
        Pinned::open(&self.pins, None).unwrap()
    }

    /// The live sessions, as `sessions list` shows them.
    pub fn sessions(&self) -> Vec<SessionView> {
        let state = self.state();
        let (pairs, rules) = (state.sessions().unwrap(), state.rules().unwrap());
        views(&pairs, &rules, &SessionFilter::default(), self.now_ns)
    }

    /// Entries of the inbound map: the claimed external tuples.
    pub fn claims(&self) -> usize {
        let mut claims = 0;
        self.maps().inbound.for_each(|_, _| claims += 1).unwrap();
        claims
    }

    /// What the clients have, by address.
    pub fn clients(&self) -> BTreeMap<Ipv4Addr, Client> {
        let mut clients = BTreeMap::new();
        let keep = |address: &Ipv4, client: &Client| {
            assert_eq!(*address, client.address);
            clients.insert(Ipv4Addr::from(*address), *client);
        };
        self.maps().clients.for_each(keep).unwrap();
        clients
    }

    /// Entries of the outbound map, ended ones included.
    pub fn entries(&self) -> usize {
        self.state().sessions().unwrap().len()
    }

    /// Tuples that rest, or whose rest nobody has ended yet.
    pub fn resting(&self) -> usize {
        let mut resting = 0;
        self.maps().cooling.for_each(|_, _| resting += 1).unwrap();
        resting
    }

    /// When and why the last session of a tuple ended, if that is remembered.
    pub fn rest_of(&self, tuple: &FlowKey) -> Option<Resting> {
        let map: AyaHashMap<_, FlowKey, Resting> =
            AyaHashMap::try_from(self.ebpf.map("COOLING").unwrap()).unwrap();
        map.get(tuple, 0).ok()
    }

    /// What the controller has been told of refused sessions since the last time.
    pub fn refusals(&mut self) -> Vec<Refusal> {
        let mut ring = RingBuf::try_from(self.ebpf.map_mut("REFUSALS").unwrap()).unwrap();
        let mut refusals = Vec::new();
        while let Some(record) = ring.next() {
            assert_eq!(record.len(), size_of::<Refusal>());
            // SAFETY: a record is a `Refusal`, which is made of integers.
            refusals.push(unsafe { record.as_ptr().cast::<Refusal>().read_unaligned() });
        }
        refusals
    }

    /// What has become of them, summed over the CPUs.
    pub fn cooldown_counters(&self) -> CooldownCounters {
        let values = self.maps().cooldown_counters.get(&0, 0).unwrap();
        values.iter().fold(CooldownCounters::default(), |sum, one| CooldownCounters {
            rested: sum.rested + one.rested,
            released_early: sum.released_early + one.released_early,
            reused_early: sum.reused_early + one.reused_early,
        })
    }

    /// Runs the program that forgets what has rested long enough; returns how many.
    pub fn clear(&self) -> u32 {
        let run = || test_run::run(&self.ebpf, "clear", &[0; 14], None, &mut Vec::new());
        self.lab.gateway.enter(|| (0..64).map(|_| run()).sum())
    }

    /// Runs the sweep program over every outbound key.
    pub fn sweep(&self) -> u32 {
        self.with_all_keys("sweep")
    }

    /// Runs the flush program over every outbound key.
    pub fn flush(&self) -> u32 {
        self.with_all_keys("flush")
    }

    fn with_all_keys(&self, program: &str) -> u32 {
        let pairs = self.state().sessions().unwrap();
        let keys: Vec<FlowKey> = pairs.iter().map(|pair| pair.key).collect();
        self.lab.gateway.enter(|| self.with_keys_here(program, &keys))
    }

    /// Runs `sweep` or `flush` over these keys, for a thread in the gateway's namespace. Returns
    /// how many sessions have ended.
    pub fn with_keys_here(&self, program: &str, keys: &[FlowKey]) -> u32 {
        let mut ended = 0;
        for chunk in keys.chunks(SWEEP_SESSIONS_MAX as usize) {
            let packet: Vec<u8> = chunk.iter().flat_map(FlowKey::to_bytes).collect();
            ended += test_run::run(&self.ebpf, program, &packet, None, &mut Vec::new());
        }
        ended
    }

    /// What searches for ports have cost so far: claims tried, and chunks looked at.
    pub fn effort(&self) -> [u64; 2] {
        let map = PerCpuArray::<_, u64>::try_from(self.ebpf.map("EFFORT").unwrap()).unwrap();
        [Effort::Try, Effort::Look].map(|effort| map.get(&(effort as u32), 0).unwrap().iter().sum())
    }
}

fn clock(ebpf: &Ebpf) -> Array<MapData, u64> {
    let Some(Map::Array(data)) = ebpf.map("TEST_CLOCK") else { panic!("no test clock") };
    let fd = data.fd().as_fd().try_clone_to_owned().unwrap();
    Array::try_from(Map::Array(MapData::from_fd(fd).unwrap())).unwrap()
}

/// Makes an address a known neighbour, at [`NEIGHBOUR`].
pub fn neighbour_at(lab: &Lab, device: &str, address: &str) {
    let mac = NEIGHBOUR.map(|byte| format!("{byte:02x}")).join(":");
    let batch = format!("neigh replace {address} dev {device} lladdr {mac} nud permanent\n");
    process::ip(&lab.gateway, &batch);
}
