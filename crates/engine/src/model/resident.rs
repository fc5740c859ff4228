//! Which blocks hold a given content?
//!
//! Usually one. Two requests that computed the same content side by side each keep their own block under one name; a
//! lookup answers the one stored first. The copies of a name form a list threaded through block numbers, so that storing
//! and dropping take constant time however many there are. The table itself holds block numbers only and compares names
//! where they lie, beside the links: at a hundred thousand blocks, what it costs is the memory it touches. It grows with
//! the blocks that have held something.

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

/// Blocks that room is made for at first.
const LEAST_ROOM: usize = 64;

/// Where the name of a block goes in the table.
fn key(contents: &[Content], block: BlockId) -> u64 {
    let hash = contents[block as usize].hash;
    hash.map_or(0, |hash| hash.table_key())
}

/// Names of blocks and blocks of names.
#[derive(Debug)]
pub(super) struct Resident {
    /// Of the blocks up to the highest that ever held something, and some more.
    contents: Vec<Content>,
    num_blocks: usize,
    /// The first copy of each name.
    firsts: HashTable<BlockId>,
    len: usize,
}

impl Resident {
    pub(super) fn new(num_blocks: usize) -> Self {
        Self {
            contents: Vec::new(),
            num_blocks,
            firsts: HashTable::new(),
            len: 0,
        }
    }

    /// Makes room for `block`, and for as many again as there are.
    fn reach(&mut self, block: BlockId) {
        let block = block as usize;
        if block < self.contents.len() {
            return;
        }
        let twice = (self.contents.len() * 2).clamp(LEAST_ROOM, self.num_blocks.max(LEAST_ROOM));
        self.contents.resize(twice.max(block + 1), EMPTY);
        // Half as much again: a full cache removes a name for each it adds, and near its limit a table of this kind
        // would spend its time cleaning up after removals.
        let room = self.contents.len() + self.contents.len() / 2;
        let contents = &self.contents;
        self.firsts
            .reserve(room - self.firsts.len(), |&block| key(contents, block));
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
        let content = self.contents.get(block as usize);
        content.is_some_and(|content| content.hash.is_some())
    }

    /// Names a block that has no name.
    pub(super) fn store(&mut self, block: BlockId, hash: BlockHash) {
        self.reach(block);
        let contents = &self.contents;
        let same = |&other: &BlockId| contents[other as usize].hash == Some(hash);
        let key = |&other: &BlockId| key(contents, other);
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
        let Content { hash, prev, next } = *self.contents.get(block as usize)?;
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

    /// Rows that memory is kept for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.contents.capacity()
    }
}
