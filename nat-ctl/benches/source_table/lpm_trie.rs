//! Memory of a kernel's longest-prefix map.
use std::{collections::HashSet, net::Ipv4Addr};

use ipnet::Ipv4Net;

/// A node of `BPF_MAP_TYPE_LPM_TRIE` with 8 bytes of key beside the prefix length (table and
/// address) and 8 of value: these follow `struct lpm_trie_node` (kernel/bpf/lpm_trie.c), which
/// takes 40 bytes (two pointers to be freed later, two to children, length, flags), or without the
/// former 24 and 8 of the BPF allocator where the map uses that. kmalloc makes 64 of 56 and of 48,
/// which is a node without a value.
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
