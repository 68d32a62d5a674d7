//! A complete binary trie: every node is a leaf or has two halves.
use super::{choices::Id, prefix::Prefix, routes::Slot, sets::Set};

/// A position in [`Trie`].
pub type Index = u32;

pub const ROOT: Index = 0;

/// A prefix.
#[derive(Clone, Copy)]
pub struct Node {
    /// Position of the lower half, the upper one follows; 0 in a leaf.
    halves: Index,
    pub routes: Slot,
    /// In a leaf the answer; above, the answers with which the prefix could begin its part of a
    /// smallest assignment.
    pub set: Set,
    /// The answer assigned to this very prefix, and [`Node::STALE`].
    entry: u32,
}

impl Node {
    const NO_ENTRY: u32 = u32::MAX >> 1;
    const STALE: u32 = 1 << 31;

    const fn leaf(set: Set) -> Self {
        Self { halves: 0, routes: Slot::EMPTY, set, entry: Self::NO_ENTRY }
    }

    /// The two halves, unless it is a leaf.
    pub const fn halves(&self) -> Option<[Index; 2]> {
        if self.halves == 0 { None } else { Some([self.halves, self.halves + 1]) }
    }

    pub const fn entry(&self) -> Option<Id> {
        match self.entry & !Self::STALE {
            Self::NO_ENTRY => None,
            number => Some(Id::from_number(number)),
        }
    }

    /// Also says that the entry is right again for the set.
    pub const fn set_entry(&mut self, entry: Option<Id>) {
        self.entry = match entry {
            None => Self::NO_ENTRY,
            Some(id) => id.number(),
        };
    }

    /// Whether a set here or below changed since the entry was set.
    pub const fn is_stale(&self) -> bool {
        self.entry & Self::STALE != 0
    }

    pub const fn set_stale(&mut self) {
        self.entry |= Self::STALE;
    }
}

/// See the module.
pub struct Trie {
    /// The root, one that is not used, and pairs of halves.
    nodes: Vec<Node>,
    /// Pairs that are not used.
    unused: Vec<Index>,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::leaf(Set::one(Id::NO_ROUTE)); 2], unused: Vec::new() }
    }
}

impl Trie {
    pub fn get(&self, index: Index) -> &Node {
        &self.nodes[index as usize]
    }

    pub fn get_mut(&mut self, index: Index) -> &mut Node {
        &mut self.nodes[index as usize]
    }

    /// Marks every node: no entry is known to be right.
    pub fn set_stale(&mut self) {
        self.nodes.iter_mut().for_each(Node::set_stale);
    }

    pub fn nodes_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.nodes.iter_mut()
    }

    /// The nodes from the root to the longest prefix that contains a given one.
    pub fn path(&self, prefix: Prefix) -> Vec<Index> {
        let mut path = Vec::with_capacity(33);
        let mut index = ROOT;
        path.push(index);
        for len in 0..prefix.len {
            let Some(halves) = self.get(index).halves() else { break };
            index = halves[prefix.side(len) as usize];
            path.push(index);
        }
        path
    }

    /// The nodes from the root to a prefix, made if need be.
    pub fn make_path(&mut self, prefix: Prefix) -> Vec<Index> {
        let mut path = self.path(prefix);
        while let (len, Some(&last)) = (path.len() as u8 - 1, path.last())
            && len < prefix.len
        {
            path.push(self.halve(last)[prefix.side(len) as usize]);
        }
        path
    }

    /// The two halves of a node, made if need be.
    pub fn halve(&mut self, index: Index) -> [Index; 2] {
        let node = *self.get(index);
        if let Some(halves) = node.halves() {
            return halves;
        }
        // The halves answer as before, but with a changed answer they have yet to be looked at.
        let mut leaf = Node::leaf(node.set);
        if node.is_stale() {
            leaf.set_stale();
        }
        let halves = if let Some(halves) = self.unused.pop() {
            self.nodes[halves as usize..][..2].fill(leaf);
            halves
        } else {
            self.nodes.extend([leaf; 2]);
            self.nodes.len() as Index - 2
        };
        self.get_mut(index).halves = halves;
        [halves, halves + 1]
    }

    /// Makes a leaf of a node whose halves are leaves with one answer and no routes.
    pub fn merge(&mut self, index: Index) -> bool {
        let Some([low, high]) = self.get(index).halves() else { return false };
        let (low_node, high_node) = (self.get(low), self.get(high));
        let plain = |node: &Node| node.halves == 0 && node.routes == Slot::EMPTY;
        if !plain(low_node) || !plain(high_node) || low_node.set != high_node.set {
            return false;
        }
        self.get_mut(index).halves = 0;
        self.unused.push(low);
        true
    }

    /// Number of prefixes.
    pub const fn len(&self) -> usize {
        self.nodes.len() - 1 - 2 * self.unused.len()
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>() + self.unused.capacity() * size_of::<Index>()
    }
}
