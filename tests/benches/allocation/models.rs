//! Other designs, on the host: how many look-ups a new connection costs, and how many connections are
//! refused although a port is free.
use nat_common::{
    addr::Port,
    port::{Candidates, PortRange},
    ports::Ports,
};

const DRAWS: usize = 100_000;
/// What a connection may cost with random tries.
const TRIES: u64 = 32;

/// Random numbers: splitmix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

/// Prints both designs at each fill.
pub fn print(count: usize, levels: &[usize]) {
    let ports = Ports::new(&[PortRange { min: 1024, max: 65_535 }]);
    let mut random = Random(1);
    let mut order: Vec<u16> = (1024..=65_535).collect();
    (1..count).rev().for_each(|last| order.swap(last, random.below(last + 1)));
    for &level in levels {
        let mut taken = [0_u64; 1024];
        for &port in &order[..count * level / 100] {
            taken[usize::from(port) / 64] |= 1 << (port % 64);
        }
        let free =
            |port: Port| taken[usize::from(port.number()) / 64] >> (port.number() % 64) & 1 == 0;
        let by_chance = (0..DRAWS).map(|_| {
            let mut walk = Candidates::new(&ports, random.next() as u32);
            (1..=TRIES).find(|_| free(walk.next_port(&ports)))
        });
        report("random tries", level, by_chance.collect());
        let by_bitmap = (0..DRAWS).map(|_| {
            let words = &taken[16..];
            let start = random.below(words.len());
            let found = |&turn: &usize| words[(start + turn) % words.len()] != u64::MAX;
            (0..words.len()).find(found).map(|turn| turn as u64 + 1)
        });
        report("bitmap", level, by_bitmap.collect());
    }
}

fn report(design: &str, level: usize, draws: Vec<Option<u64>>) {
    let refused = draws.iter().filter(|draw| draw.is_none()).count();
    let mut lookups: Vec<u64> = draws.into_iter().flatten().collect();
    lookups.sort_unstable();
    let at = |share: usize| lookups.get(lookups.len() * share / 100).copied().unwrap_or(0);
    println!(
        "{{\"model\":\"{design}\",\"fill\":{level},\"lookups\":[{},{}],\"refused\":{:.4}}}",
        at(50),
        at(99),
        refused as f64 / DRAWS as f64
    );
}
