//! Which blocks hold a given content?
//!
//! Usually one. Two requests that computed the same content side by side each keep their own block under one name; a
//! lookup answers the one stored first. Each name has a chain of its blocks, threaded through block numbers, so that
//! storing and dropping take constant time however many copies there are.

use std::collections::HashMap;

use super::hash::BuildDigestHasher;
use super::{BlockHash, BlockId};

const NONE: BlockId = BlockId::MAX;

#[derive(Debug, Clone, Copy)]
struct Copies {
    first: BlockId,
    last: BlockId,
}

#[derive(Debug, Clone, Copy)]
struct Content {
    hash: Option<BlockHash>,
    prev: BlockId,
    next: BlockId,
}

const EMPTY: Content = Content {
    hash: None,
    prev: NONE,
    next: NONE,
};

/// Names of blocks and blocks of names.
#[derive(Debug)]
pub(super) struct Resident {
    contents: Vec<Content>,
    copies: HashMap<BlockHash, Copies, BuildDigestHasher>,
    len: usize,
}

impl Resident {
    pub(super) fn new(num_blocks: usize) -> Self {
        Self {
            contents: vec![EMPTY; num_blocks],
            copies: HashMap::default(),
            len: 0,
        }
    }

    /// Blocks that hold named content.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The block stored first under this name.
    pub(super) fn get(&self, hash: &BlockHash) -> Option<BlockId> {
        self.copies.get(hash).map(|copies| copies.first)
    }

    pub(super) fn hash_of(&self, block: BlockId) -> Option<BlockHash> {
        self.contents[block as usize].hash
    }

    /// Names a block that has no name.
    pub(super) fn store(&mut self, block: BlockId, hash: BlockHash) {
        let mut prev = NONE;
        self.copies
            .entry(hash)
            .and_modify(|copies| {
                prev = copies.last;
                copies.last = block;
            })
            .or_insert(Copies {
                first: block,
                last: block,
            });
        if prev != NONE {
            self.contents[prev as usize].next = block;
        }
        self.contents[block as usize] = Content {
            hash: Some(hash),
            prev,
            next: NONE,
        };
        self.len += 1;
    }

    /// Takes a block's name away and returns it, if it had one.
    pub(super) fn drop_block(&mut self, block: BlockId) -> Option<BlockHash> {
        let Content { hash, prev, next } =
            std::mem::replace(&mut self.contents[block as usize], EMPTY);
        let hash = hash?;
        self.len -= 1;
        if prev == NONE && next == NONE {
            self.copies.remove(&hash);
            return Some(hash);
        }
        if prev != NONE {
            self.contents[prev as usize].next = next;
        }
        if next != NONE {
            self.contents[next as usize].prev = prev;
        }
        if let Some(copies) = self.copies.get_mut(&hash) {
            if prev == NONE {
                copies.first = next;
            }
            if next == NONE {
                copies.last = prev;
            }
        }
        Some(hash)
    }

    pub(super) fn clear(&mut self) {
        self.contents.fill(EMPTY);
        self.copies.clear();
        self.len = 0;
    }
}
