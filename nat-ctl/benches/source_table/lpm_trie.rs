//! Memory of a kernel's longest-prefix map.
use std::{collections::HashSet, net::Ipv4Addr};

use ipnet::Ipv4Net;

/// A node of `BPF_MAP_TYPE_LPM_TRIE` with 8 bytes of key beside the prefix length (table and
/// address) and 8 of value. `struct lpm_trie_node` takes 40 bytes up to Linux 6.13 (two pointers to
/// halves, two to be freed later, length, flags), 24 and 8 of the allocator's since; key and value
/// follow. Allocations come in sizes of 64 and then 96 bytes at the least, so it is 64 either way,
/// without a value too (kernel/bpf/lpm_trie.c, `lpm_trie_node_alloc`).
const NODE_BYTES: usize = 64;

/// Bytes that the sorted entries of one table take: a node each, and one for every prefix of which
/// both halves contain entries.
pub fn bytes<T>(entries: &[(Ipv4Net, T)]) -> usize {
    let mut nodes: HashSet<Ipv4Net> = entries.iter().map(|(prefix, _)| *prefix).collect();
    nodes.extend(entries.windows(2).map(|pair| common(pair[0].0, pair[1].0)));
    nodes.len() * NODE_BYTES
}

/// The longest prefix that contains two.
fn common(one: Ipv4Net, other: Ipv4Net) -> Ipv4Net {
    let (one_bits, other_bits) = (one.network().to_bits(), other.network().to_bits());
    let equal = (one_bits ^ other_bits).leading_zeros() as u8;
    let len = equal.min(one.prefix_len()).min(other.prefix_len());
    Ipv4Net::new_assert(Ipv4Addr::from_bits(one_bits), len).trunc()
}
