//! A made-up IPv4 routing table that is like the global one.
use std::{collections::HashSet, net::Ipv4Addr};

use ipnet::Ipv4Net;
use nat_ctl::source::table::Route;

/// Prefix lengths and their weights, about as in the global table: some 60 % of its routes are /24,
/// and hardly any are shorter than /16.
const LENGTHS: [(u8, u64); 17] = [
    (24, 6020),
    (23, 930),
    (22, 1080),
    (21, 500),
    (20, 430),
    (19, 260),
    (18, 140),
    (17, 85),
    (16, 135),
    (15, 20),
    (14, 12),
    (13, 6),
    (12, 3),
    (11, 1),
    (10, 1),
    (9, 1),
    (8, 1),
];

/// The share of next hops in percent: most routes of a site come from one upstream; what is left is
/// shared by the rest.
const SHARES: [u64; 2] = [80, 15];

/// Of 100 prefixes of one holder, those that its other routes' next hop is used for.
const HOME: u64 = 90;

const PREFIXES_PER_HOLDER: usize = 20;

/// Enough that prefixes never run out.
const HOLDERS_MIN: usize = 1000;

/// Random numbers (SplitMix64, Steele, Lea and Flood 2014): the same for the same seed anywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Routes without end, no prefix twice. Prefixes lie in the blocks of holders, and a holder's
/// prefixes mostly have one next hop, so that neighbours agree.
pub struct FullTable<'a> {
    random: Random,
    /// The first one is used most.
    gateways: &'a [Ipv4Addr],
    holders: Vec<(Ipv4Net, Ipv4Addr)>,
    seen: HashSet<Ipv4Net>,
}

impl<'a> FullTable<'a> {
    /// For about `count` routes.
    pub fn new(seed: u64, count: usize, gateways: &'a [Ipv4Addr]) -> Self {
        let mut random = Random(seed);
        let holders = (0..HOLDERS_MIN.max(count / PREFIXES_PER_HOLDER))
            .map(|_| holder(&mut random, gateways))
            .collect();
        Self { random, gateways, holders, seen: HashSet::new() }
    }

    /// The next route.
    pub fn route(&mut self) -> Route {
        loop {
            let (block, home) = self.holders[self.random.below(self.holders.len())];
            let host = self.random.next() as u32 & block.hostmask().to_bits();
            let address = Ipv4Addr::from_bits(block.network().to_bits() | host);
            let dst = Ipv4Net::new_assert(address, length(&mut self.random)).trunc();
            if self.seen.insert(dst) {
                let stays = self.random.next() % 100 < HOME;
                let via = if stays { home } else { gateway(&mut self.random, self.gateways) };
                return Route { dst, via: Some(via), metric: 0, table: 0 };
            }
        }
    }
}

/// A block of addresses, from /11 to /20, and the next hop of most of its prefixes.
fn holder(random: &mut Random, gateways: &[Ipv4Addr]) -> (Ipv4Net, Ipv4Addr) {
    let len = 11 + random.below(10) as u8;
    let first = [1 + random.below(9), 11 + random.below(116), 128 + random.below(96)];
    let first = first[random.below(3)] as u32;
    let address = Ipv4Addr::from_bits(first << 24 | random.next() as u32 >> 8);
    (Ipv4Net::new_assert(address, len).trunc(), gateway(random, gateways))
}

fn gateway(random: &mut Random, gateways: &[Ipv4Addr]) -> Ipv4Addr {
    let mut left = random.next() % 100;
    for (gateway, share) in gateways.iter().zip(SHARES) {
        if left < share {
            return *gateway;
        }
        left -= share;
    }
    let rest = &gateways[SHARES.len().min(gateways.len() - 1)..];
    rest[random.below(rest.len())]
}

fn length(random: &mut Random) -> u8 {
    let total: u64 = LENGTHS.iter().map(|(_, share)| share).sum();
    let mut left = random.next() % total;
    for (len, share) in LENGTHS {
        if left < share {
            return len;
        }
        left -= share;
    }
    24
}
