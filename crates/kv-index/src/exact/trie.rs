//! How does a map of millions grow without ever copying all of them?
//!
//! A tree over the low bits of the key, whose leaves are small open-addressed tables. A leaf that has grown to its
//! limit becomes a node of 32 smaller ones; no step touches more than one leaf of 32 KiB.

use crate::table::Table;

/// Entries beyond which a leaf is divided: four fifths of 2,048 cells of 16 bytes.
const LEAF_ENTRIES: usize = 1638;
const FANOUT_BITS: u32 = 5;
const FANOUT: usize = 1 << FANOUT_BITS;
/// Below this depth leaves are never divided; keys that share as many bits do not occur by chance.
const DEPTH_AT_MOST: u32 = 10;

/// A map from well-spread 64-bit keys to non-zero words.
#[derive(Default)]
pub(crate) struct Trie {
    root: Node,
    len: usize,
    bytes: usize,
}

enum Node {
    Leaf(Table),
    Inner(Box<[Node]>),
}

impl Default for Node {
    fn default() -> Self {
        Self::Leaf(Table::default())
    }
}

fn child(key: u64, depth: u32) -> usize {
    (key >> (depth * FANOUT_BITS)) as usize % FANOUT
}

impl Trie {
    /// Entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes allocated.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The word of `key`.
    pub(crate) fn get(&self, key: u64) -> Option<u64> {
        self.leaf_at(key).get(key)
    }

    /// What lies where `key` would be; for bringing it near before it is asked for.
    #[inline]
    pub(crate) fn peek(&self, key: u64) -> u64 {
        self.leaf_at(key).peek(key)
    }

    #[inline]
    fn leaf_at(&self, key: u64) -> &Table {
        let (mut node, mut depth) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(table) => return table,
                Node::Inner(children) => node = &children[child(key, depth)],
            }
            depth += 1;
        }
    }

    /// A place to change the word of `key`; it must not become zero.
    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut u64> {
        self.leaf(key).0.get_mut(key)
    }

    /// Adds `key`, which must be absent, with a non-zero `word`.
    pub(crate) fn insert_new(&mut self, key: u64, word: u64) {
        let (table, depth) = self.leaf(key);
        if table.len() < LEAF_ENTRIES || depth >= DEPTH_AT_MOST {
            let before = table.allocated_bytes();
            table.insert_new(key, word);
            let grown = table.allocated_bytes() - before;
            self.bytes += grown;
            self.len += 1;
            return;
        }
        self.divide(key);
        self.insert_new(key, word);
    }

    /// Removes `key` if present.
    pub(crate) fn remove(&mut self, key: u64) {
        let (table, _) = self.leaf(key);
        let (bytes, entries) = (table.allocated_bytes(), table.len());
        table.remove(key);
        let (freed, gone) = (bytes - table.allocated_bytes(), entries - table.len());
        self.bytes -= freed;
        self.len -= gone;
    }

    /// Takes out the entries of some leaf; `None` when all are gone.
    pub(crate) fn take_leaf(&mut self) -> Option<Table> {
        let table = take_leaf(&mut self.root)?;
        self.len -= table.len();
        self.bytes -= table.allocated_bytes();
        if self.len == 0 {
            *self = Self::default();
        }
        Some(table)
    }

    /// The leaf of `key`, and its depth.
    fn leaf(&mut self, key: u64) -> (&mut Table, u32) {
        let (mut node, mut depth) = (&mut self.root, 0);
        loop {
            match node {
                Node::Leaf(table) => return (table, depth),
                Node::Inner(children) => node = &mut children[child(key, depth)],
            }
            depth += 1;
        }
    }

    /// Divides the leaf of `key`.
    fn divide(&mut self, key: u64) {
        let (table, depth) = self.leaf(key);
        let table = std::mem::take(table);
        let mut parts: Box<[Node]> = (0..FANOUT).map(|_| Node::default()).collect();
        for (key, word) in table.entries() {
            if let Node::Leaf(part) = &mut parts[child(key, depth)] {
                part.insert_new(key, word);
            }
        }
        let allocated: usize = parts.iter().map(Node::leaf_bytes).sum();
        self.bytes = self.bytes + allocated + size_of_val(&*parts) - table.allocated_bytes();
        let (mut node, mut at) = (&mut self.root, 0);
        while let Node::Inner(children) = node {
            node = &mut children[child(key, at)];
            at += 1;
        }
        *node = Node::Inner(parts);
    }
}

impl Node {
    fn leaf_bytes(&self) -> usize {
        match self {
            Self::Leaf(table) => table.allocated_bytes(),
            Self::Inner(_) => 0,
        }
    }
}

fn take_leaf(node: &mut Node) -> Option<Table> {
    match node {
        Node::Leaf(table) if table.len() > 0 => Some(std::mem::take(table)),
        Node::Leaf(_) => None,
        Node::Inner(children) => children.iter_mut().rev().find_map(take_leaf),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn spread(number: u64) -> u64 {
        let mixed = (number ^ (number >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    }

    #[test]
    fn holds_what_a_plain_map_holds() {
        let (mut trie, mut plain) = (Trie::default(), HashMap::new());
        for number in 0..60_000_u64 {
            let key = spread(number % 40_000);
            match trie.get_mut(key) {
                Some(word) => *word += 1,
                None => trie.insert_new(key, 1),
            }
            *plain.entry(key).or_insert(0) += 1;
            if number % 3 == 0 {
                let gone = spread(number / 2);
                trie.remove(gone);
                plain.remove(&gone);
            }
        }
        assert_eq!(trie.len(), plain.len());
        for number in 0..40_000 {
            let key = spread(number);
            assert_eq!(trie.get(key), plain.get(&key).copied());
        }
        let mut left = plain.len();
        while let Some(table) = trie.take_leaf() {
            assert!(table.allocated_bytes() <= 32 << 10);
            for (key, word) in table.entries() {
                assert_eq!(plain.get(&key), Some(&word));
                left -= 1;
            }
        }
        assert_eq!((left, trie.len(), trie.bytes()), (0, 0, 0));
    }

    #[test]
    fn stays_below_twenty_eight_bytes_an_entry() {
        let mut trie = Trie::default();
        let mut worst = 0;
        for number in 0..500_000 {
            trie.insert_new(spread(number), 1);
            if number > 100_000 && number % 1000 == 0 {
                worst = worst.max(trie.bytes() / trie.len());
            }
        }
        assert!(worst <= 28, "{worst}");
    }
}
