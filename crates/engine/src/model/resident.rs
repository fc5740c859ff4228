//! Which blocks hold a given content?
//!
//! Usually one. Two requests that computed the same content side by side each keep their own block under one name; a
//! lookup answers the one stored first. The copies of a name form a list threaded through block numbers, so that storing
//! and dropping take constant time however many there are. The table itself holds block numbers only and compares names
//! where they lie, beside the links: at a hundred thousand blocks, what it costs is the memory it touches.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::{BlockHash, BlockId};

const NONE: BlockId = BlockId::MAX;

/// What a block holds. `prev` of the first copy is the last copy, `next` of the last is [`NONE`].
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
    /// The first copy of each name.
    firsts: HashTable<BlockId>,
    len: usize,
}

impl Resident {
    pub(super) fn new(num_blocks: usize) -> Self {
        // Half as much again: a full cache removes a name for each it adds, and near its limit a table of this kind
        // would spend its time cleaning up after removals.
        Self {
            contents: vec![EMPTY; num_blocks],
            firsts: HashTable::with_capacity(num_blocks + num_blocks / 2),
            len: 0,
        }
    }

    /// Blocks that hold named content.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Every name, as often as blocks have it.
    pub(super) fn names(&self) -> impl Iterator<Item = BlockHash> {
        self.contents.iter().filter_map(|content| content.hash)
    }

    /// The block stored first under this name.
    pub(super) fn get(&self, hash: &BlockHash) -> Option<BlockId> {
        let same = |&block: &BlockId| self.contents[block as usize].hash.as_ref() == Some(hash);
        self.firsts.find(hash.table_key(), same).copied()
    }

    pub(super) fn is_named(&self, block: BlockId) -> bool {
        self.contents[block as usize].hash.is_some()
    }

    /// Names a block that has no name.
    pub(super) fn store(&mut self, block: BlockId, hash: BlockHash) {
        let contents = &self.contents;
        let same = |&other: &BlockId| contents[other as usize].hash == Some(hash);
        let key = |&other: &BlockId| {
            contents[other as usize]
                .hash
                .map_or(0, |hash| hash.table_key())
        };
        let mut content = Content {
            hash: Some(hash),
            prev: block,
            next: NONE,
        };
        match self.firsts.entry(hash.table_key(), same, key) {
            Entry::Vacant(entry) => {
                entry.insert(block);
            }
            Entry::Occupied(entry) => {
                let first = *entry.get() as usize;
                let last = std::mem::replace(&mut self.contents[first].prev, block);
                self.contents[last as usize].next = block;
                content.prev = last;
            }
        }
        self.contents[block as usize] = content;
        self.len += 1;
    }

    /// Takes a block's name away and returns it, if it had one.
    pub(super) fn drop_block(&mut self, block: BlockId) -> Option<BlockHash> {
        let Content { hash, prev, next } = self.contents[block as usize];
        let hash = hash?;
        if self.contents[prev as usize].next == NONE {
            self.drop_first(block, &hash, prev, next);
        } else {
            self.drop_later(&hash, prev, next);
        }
        self.contents[block as usize] = EMPTY;
        self.len -= 1;
        Some(hash)
    }

    /// The next copy, if there is one, becomes the first.
    fn drop_first(&mut self, block: BlockId, hash: &BlockHash, last: BlockId, next: BlockId) {
        let entry = self
            .firsts
            .find_entry(hash.table_key(), |&first| first == block);
        let Ok(mut entry) = entry else { return };
        if next == NONE {
            entry.remove();
        } else {
            *entry.get_mut() = next;
            self.contents[next as usize].prev = last;
        }
    }

    fn drop_later(&mut self, hash: &BlockHash, prev: BlockId, next: BlockId) {
        self.contents[prev as usize].next = next;
        let follower = if next == NONE {
            self.get(hash)
        } else {
            Some(next)
        };
        if let Some(follower) = follower {
            self.contents[follower as usize].prev = prev;
        }
    }

    pub(super) fn clear(&mut self) {
        self.contents.fill(EMPTY);
        self.firsts.clear();
        self.len = 0;
    }
}
