//! The programs of tests/bench-ebpf, loaded once for each laboratory.
use std::{env, fs, path::PathBuf, sync::OnceLock};

use aya::{
    Ebpf, Pod,
    maps::{Array, MapData, PerCpuArray},
    programs::{ProgramError, TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode},
};
use nat_tests::lab::NetNs;

use crate::layout::{Expectation, FRAME, Floor, Outcome, Place, Plan};

/// A structure of the programs, which aya may hand to the kernel as its bytes.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Bytes<T>(T);

// SAFETY: only for the structures of layout.rs: integers without padding, see the assertions there.
unsafe impl<T: Copy + 'static> Pod for Bytes<T> {}

/// Frames that the kernel hands to the generator's program at a time.
const BATCH: u32 = 64;

/// Offsets in `struct xdp_md` of include/uapi/linux/bpf.h, and its size.
const DATA_END: usize = 4;
const INGRESS_IFINDEX: usize = 12;
const XDP_MD: usize = 24;

pub struct Programs {
    ebpf: Ebpf,
    loaded: Vec<String>,
}

fn object() -> &'static [u8] {
    static OBJECT: OnceLock<Vec<u8>> = OnceLock::new();
    OBJECT.get_or_init(|| {
        let path = env::var_os("NAT_BENCH_OBJECT")
            .map(PathBuf::from)
            .expect("NAT_BENCH_OBJECT is not set: run `cargo xtask bench`");
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    })
}

impl Programs {
    pub fn load() -> Self {
        let ebpf = Ebpf::load(object()).expect("load the benchmark's programs");
        Self { ebpf, loaded: Vec::new() }
    }

    fn program(&mut self, name: &str) -> &mut Xdp {
        let program = self.ebpf.program_mut(name).expect("a program of bench-ebpf");
        let program: &mut Xdp = program.try_into().expect("all are XDP");
        if !self.loaded.iter().any(|loaded| loaded == name) {
            program.load().unwrap_or_else(|error| panic!("load {name}: {error}"));
            self.loaded.push(name.to_owned());
        }
        program
    }

    /// Attaches a program to a device until this value is dropped.
    pub fn attach(&mut self, name: &str, namespace: &NetNs, device: &str) {
        let program = self.program(name);
        let attached = namespace.enter(|| program.attach(device, XdpMode::Driver).map(drop));
        attached.unwrap_or_else(|error| panic!("attach {name} to {device}: {error}"));
    }

    fn array<T: Copy + 'static>(&mut self, name: &str) -> Array<&mut MapData, Bytes<T>> {
        let map = self.ebpf.map_mut(name).expect("a map of bench-ebpf");
        map.try_into().unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// What the generator sends from one CPU.
    pub fn plan(&mut self, cpu: u32, plan: Plan) {
        self.array("PLAN").set(cpu, Bytes(plan), 0).expect("set a plan");
    }

    pub fn expect(&mut self, place: Place, expectation: Expectation) {
        let set = self.array("EXPECTED").set(place as u32, Bytes(expectation), 0);
        set.expect("set an expectation");
    }

    pub fn floor(&mut self, floor: Floor) {
        self.array("FLOOR").set(0, Bytes(floor), 0).expect("set the floor's hops");
    }

    /// Has the next packet of every CPU be number 0 of its plan.
    pub fn rewind(&mut self) {
        let map = self.ebpf.map_mut("SENT").expect("a map of bench-ebpf");
        let mut sent: PerCpuArray<_, u64> = map.try_into().expect("one number a CPU");
        let zero = vec![0; aya::util::nr_cpus().expect("count the CPUs")];
        let zero = aya::maps::PerCpuValues::try_from(zero).expect("one number a CPU");
        sent.set(0, zero, 0).expect("set the generator back");
    }

    /// How many packets have ended so at a sink, ever.
    pub fn count(&self, place: Place, outcome: Outcome) -> u64 {
        let map = self.ebpf.map("COUNTS").expect("a map of bench-ebpf");
        let counts: PerCpuArray<_, u64> = map.try_into().expect("numbers for each CPU");
        let index = place as u32 * Outcome::COUNT + outcome as u32;
        counts.get(&index, 0).expect("read a counter").iter().sum()
    }

    /// The generator's program, to be run by threads of their own.
    pub fn generator(&mut self) -> &Xdp {
        self.program("generate")
    }
}

/// Sends so many packets out of an interface of this thread's namespace, on this thread's CPU.
pub fn generate(generator: &Xdp, ifindex: u32, packets: u32) -> Result<(), ProgramError> {
    let frame = [0; FRAME];
    let mut context = [0; XDP_MD];
    let length = u32::try_from(FRAME).unwrap_or(0);
    context[DATA_END..DATA_END + 4].copy_from_slice(&length.to_ne_bytes());
    context[INGRESS_IFINDEX..INGRESS_IFINDEX + 4].copy_from_slice(&ifindex.to_ne_bytes());
    let options = TestRunOptions {
        data_in: Some(&frame),
        ctx_in: Some(&context),
        repeat: packets,
        attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
        ..TestRunOptions::default()
    };
    generator.test_run(options).map(drop)
}
