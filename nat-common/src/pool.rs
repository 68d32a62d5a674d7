//! A rule's external addresses on one outside interface, and the choice among them.
use crate::{addr::Ipv4, limits::POOL_ADDRESSES_MAX};

/// Key of the pool map.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PoolKey {
    /// The rule table's generation ([`crate::settings::Control::generation`]).
    pub generation: u32,
    /// Position of the rule in its table.
    pub rule: u32,
    /// The outside interface.
    pub ifindex: u32,
}

/// The addresses, in configured order; entries from `count` on are unspecified.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// The choice by destination ([`crate::source`]) that takes the place of the addresses; 0 for
    /// none.
    pub table: u32,
    pub count: u32,
    pub addresses: [Ipv4; POOL_ADDRESSES_MAX as usize],
}

/// How a client's address in a pool is chosen.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pooling {
    /// One external address a client (RFC 4787 REQ-2, RFC 6888 REQ-2), by rendezvous hash: the
    /// same after a restart, and a pool that gains or loses one address moves only the clients of
    /// that address.
    Paired = 0,
    /// Any address, anew for each session.
    Random = 1,
    /// As paired, and [another](next) where the client's own has no free port (RFC 7857 section 4).
    Spilling = 2,
}

impl Pooling {
    /// The kind of a stored number.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Random,
            2 => Self::Spilling,
            _ => Self::Paired,
        }
    }
}

/// How much a client prefers an address: it gets the one of the greatest weight.
#[inline(always)]
#[must_use]
pub const fn rendezvous_weight(client: Ipv4, external: Ipv4) -> u32 {
    let pair = (client.to_be32() as u64) << 32 | external.to_be32() as u64;
    // The finaliser of SplitMix64: every input bit reaches every output bit.
    let mixed = (pair ^ (pair >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) as u32
}

/// The address of `client` in a pool, or nothing in an empty pool.
///
/// `random` decides under [`Pooling::Random`] and is not looked at otherwise.
#[inline(always)]
#[must_use]
pub fn choose(pool: &Pool, pooling: Pooling, client: Ipv4, random: u32) -> Option<Ipv4> {
    let count = pool.count.min(POOL_ADDRESSES_MAX);
    if count == 0 {
        return None;
    }
    if pooling as u8 == Pooling::Random as u8 {
        // Multiplied rather than divided: the verifier can bound the product.
        return pool.addresses.get((((random >> 16) * count) >> 16) as usize).copied();
    }
    let mut best = (Ipv4::UNSPECIFIED, 0);
    for (index, &address) in pool.addresses.iter().enumerate() {
        // `black_box` keeps the loop's bound a constant: older verifiers cannot follow LLVM's
        // count-down from the smaller of two numbers.
        if core::hint::black_box(index as u32) >= count {
            break;
        }
        let weight = rendezvous_weight(client, address);
        if index == 0 || weight > best.1 {
            best = (address, weight);
        }
    }
    Some(best.0)
}

/// The address of a pool that `client` likes best of those that it likes less than `address`. So the
/// addresses come one after another, each client's in an order of its own.
#[inline(always)]
#[must_use]
pub fn next(pool: &Pool, client: Ipv4, address: Ipv4) -> Option<Ipv4> {
    let bound = rendezvous_weight(client, address);
    let count = pool.count.min(POOL_ADDRESSES_MAX);
    // How far below the bound, and whose; all ones for none.
    let mut best = u64::MAX;
    for (index, &address) in pool.addresses.iter().enumerate() {
        if core::hint::black_box(index as u32) >= count {
            break;
        }
        // Of the same weight: beyond all others, so it is passed over.
        let distance = bound.wrapping_sub(rendezvous_weight(client, address)).wrapping_sub(1);
        best = best.min((distance as u64) << 32 | address.to_be32() as u64);
    }
    let distance = (best >> 32) as u32;
    (distance < bound).then_some(Ipv4::from_be32(best as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(last_octets: &[u8]) -> Pool {
        let mut addresses = [Ipv4::UNSPECIFIED; POOL_ADDRESSES_MAX as usize];
        for (slot, &octet) in addresses.iter_mut().zip(last_octets) {
            *slot = Ipv4::new([203, 0, 113, octet]);
        }
        Pool { table: 0, count: last_octets.len() as u32, addresses }
    }

    fn clients() -> impl Iterator<Item = Ipv4> {
        (0..2000_u32).map(|n| Ipv4::new((0x0a00_0000 + n).to_be_bytes()))
    }

    #[test]
    fn an_empty_pool_gives_nothing() {
        assert_eq!(choose(&pool(&[]), Pooling::Paired, Ipv4::new([10, 0, 0, 1]), 0), None);
        assert_eq!(choose(&pool(&[]), Pooling::Random, Ipv4::new([10, 0, 0, 1]), 0), None);
    }

    #[test]
    fn paired_spreads_clients_and_does_not_depend_on_chance_or_order() {
        let mut load = [0; 4];
        for client in clients() {
            let chosen = choose(&pool(&[1, 2, 3, 4]), Pooling::Paired, client, 0).unwrap();
            assert_eq!(choose(&pool(&[4, 2, 1, 3]), Pooling::Paired, client, 9), Some(chosen));
            load[usize::from(chosen.octets()[3] - 1)] += 1;
        }
        assert!(load.iter().all(|&n| (400..600).contains(&n)), "{load:?}");
    }

    #[test]
    fn losing_an_address_moves_only_its_own_clients() {
        for client in clients() {
            let before = choose(&pool(&[1, 2, 3, 4]), Pooling::Paired, client, 0);
            let after = choose(&pool(&[1, 2, 4]), Pooling::Paired, client, 0);
            assert!(before == after || before == Some(Ipv4::new([203, 0, 113, 3])));
        }
    }

    #[test]
    fn rfc7857_4_a_client_spills_to_every_other_address_once_in_its_own_order() {
        let (whole, mut seconds) = (pool(&[1, 2, 3, 4]), std::collections::HashSet::new());
        for client in clients() {
            let own = choose(&whole, Pooling::Spilling, client, 7).unwrap();
            assert_eq!(Some(own), choose(&whole, Pooling::Paired, client, 0));
            let order: Vec<_> =
                std::iter::successors(Some(own), |address| next(&whole, client, *address))
                    .collect();
            let different: std::collections::HashSet<_> = order.iter().collect();
            assert_eq!((order.len(), different.len()), (4, 4), "{client:?}");
            // The second one is what would be the client's own without the first.
            let others: Vec<u8> = (1..=4).filter(|octet| *octet != own.octets()[3]).collect();
            assert_eq!(choose(&pool(&others), Pooling::Paired, client, 0), Some(order[1]));
            seconds.insert((own, order[1]));
        }
        // The clients of one address do not all come to the same other one.
        assert_eq!(seconds.len(), 4 * 3);
        assert_eq!(next(&pool(&[1]), Ipv4::UNSPECIFIED, Ipv4::new([203, 0, 113, 1])), None);
        assert_eq!(next(&pool(&[]), Ipv4::UNSPECIFIED, Ipv4::new([203, 0, 113, 1])), None);
    }

    #[test]
    fn random_reaches_every_address() {
        for n in 0..4_u8 {
            let random = u32::from(n) << 30 | 0x1234;
            let chosen = choose(&pool(&[1, 2, 3, 4]), Pooling::Random, Ipv4::UNSPECIFIED, random);
            assert_eq!(chosen, Some(Ipv4::new([203, 0, 113, n + 1])));
        }
    }
}
