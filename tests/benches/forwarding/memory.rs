//! What the maps take, as the kernel itself says it: `memlock` in the fdinfo of each (map_mem_usage() in
//! kernel/bpf/syscall.c).
use std::{
    fs,
    net::Ipv4Addr,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::Arc,
};

use aya::maps::MapInfo;
use nat_common::{
    cooldown::{Cooldown, Reason},
    stats::Hook,
};
use nat_ctl::{
    config,
    datapath::kernel::maps::{COOLING_MAPS, PINNED_MAPS, SESSION_MAPS, Sizes},
};
use nat_tests::lab::{Lab, Offloads};
use serde_json::{Value, json};

use crate::common::{
    bench::{Bench, INTERNET, NO_COOLDOWN, neighbour_at},
    frames::{self, SERVER},
};

pub const NAME: &str = "map memory";

/// Sessions of which it is measured what a map takes beyond what it has from the start: fewer than the
/// default limit, and than one address has ports.
const FLOWS: u32 = 20_000;
const FLOWS_OF_CLIENT: u32 = 200;

/// A map, or what others take together.
#[derive(Debug)]
pub struct Map {
    name: &'static str,
    /// Of what there is room for.
    entries: u32,
    /// Bytes that it has from the start, for all entries.
    start: u64,
    /// Bytes that it takes for each entry once it is there.
    more: f64,
}

/// The maps of an instance with the default limits.
pub fn measure() -> Vec<Map> {
    let sessions = config::Limits::default().max_sessions;
    let cooling = config::Cooldown::default().max_cooling;
    let lab = Lab::new(Offloads::On);
    neighbour_at(&lab, "wan0", "203.0.113.10");
    let mut bench = Bench::sized(Arc::new(lab), Sizes { sessions, cooling });
    bench.cooldown =
        Some(Cooldown { wait_ns: [u64::MAX >> 8; Reason::COUNT], enabled: 1, ..NO_COOLDOWN });
    bench.apply(INTERNET);
    let empty = memory(&bench);
    let frames: Vec<_> = (0..FLOWS).map(frame).collect();
    bench.send_all(Hook::TcEgress, &frames);
    assert_eq!(bench.entries(), FLOWS as usize, "some flows were refused");
    let full = memory(&bench);
    bench.flush();
    // A port that serves all destinations rests toward each and toward all.
    let resting = bench.resting();
    assert!(resting >= FLOWS as usize, "only {resting} tuples rest");
    let rested = memory(&bench);
    let mut others = Map { name: OTHERS, entries: sessions, start: 0, more: 0.0 };
    let mut maps = Vec::new();
    for (index, name) in PINNED_MAPS.into_iter().enumerate() {
        let rests = COOLING_MAPS.contains(&name);
        let (entries, last, there) = if rests {
            (cooling, &rested, resting as f64)
        } else {
            (sessions, &full, f64::from(FLOWS))
        };
        let (start, last) = (empty[index], last[index]);
        let more = last.saturating_sub(start) as f64 / there;
        if rests || SESSION_MAPS.contains(&name) || name.starts_with("HINT_") {
            maps.push(Map { name, entries, start, more });
        } else {
            others.start += start;
            others.more += more;
        }
    }
    maps.push(others);
    maps
}

const OTHERS: &str = "all others";

fn frame(number: u32) -> Vec<u8> {
    let client =
        Ipv4Addr::from_bits(Ipv4Addr::new(10, 77, 0, 2).to_bits() + number / FLOWS_OF_CLIENT);
    let port = 5000 + (number % FLOWS_OF_CLIENT) as u16;
    frames::udp((client, port), (SERVER, 53), b"x")
}

/// Bytes of each pinned map.
fn memory(bench: &Bench) -> Vec<u64> {
    let one = |name| {
        let info = MapInfo::from_pin(bench.pinned(name));
        let fd = info.and_then(|info| info.fd());
        let fd = fd.unwrap_or_else(|error| panic!("{name}: {error}"));
        let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
        let text = fs::read_to_string(path).expect("read a descriptor's information");
        let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
        line.and_then(|number| number.trim().parse().ok()).expect("the memory of a map")
    };
    PINNED_MAPS.into_iter().map(one).collect()
}

impl Map {
    fn rests(&self) -> bool {
        COOLING_MAPS.contains(&self.name)
    }

    /// Bytes of an entry where all there is room for are there.
    fn each(&self) -> f64 {
        self.start as f64 / f64::from(self.entries) + self.more
    }
}

/// Bytes of a session, and of a resting tuple.
fn totals(maps: &[Map]) -> (f64, f64) {
    let total = |rests| maps.iter().filter(|map| map.rests() == rests).map(Map::each).sum();
    (total(false), total(true))
}

pub fn print(maps: &[Map]) {
    println!("\n{NAME}, default limits: bytes for each session, or resting tuple");
    println!(
        "{:22} {:>9} {:>12} {:>14} {:>9}",
        "", "for each", "at start, MiB", "of entries", "more"
    );
    for map in maps {
        let mib = map.start as f64 / f64::from(1 << 20);
        let Map { name, entries, more, .. } = map;
        println!("{name:22} {:>9.1} {mib:>12.1} {entries:>14} {more:>9.1}", map.each());
    }
    let (session, rest) = totals(maps);
    println!("{:22} {session:>9.1}\n{:22} {rest:>9.1}", "a session", "a resting tuple");
}

pub fn json(maps: &[Map]) -> Value {
    let map = |map: &Map| json!({ "map": map.name, "entries": map.entries, "start": map.start, "more": map.more });
    let (session, rest) = totals(maps);
    json!({
        "scenario": NAME,
        "session_bytes": session,
        "resting_tuple_bytes": rest,
        "maps": maps.iter().map(map).collect::<Vec<_>>(),
    })
}
