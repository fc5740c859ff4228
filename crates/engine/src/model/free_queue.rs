//! Which free block is taken next?
//!
//! A doubly linked queue threaded through block numbers: the front is taken first, any block leaves the middle in
//! constant time. Blocks without content go in at the front, blocks whose content may be found again at the back; that
//! makes the queue both the free list and the least-recently-used order of the cache.
//!
//! Blocks that were never taken stand in it as one entry, under the number of the null block, and get links when their
//! turn comes: a pool costs what of it was used.

use super::BlockId;

const NONE: BlockId = BlockId::MAX;

/// Stands for all blocks that were never taken, in order of their numbers.
const NEVER_TAKEN: BlockId = 0;

#[derive(Debug, Clone, Copy)]
struct Links {
    prev: BlockId,
    next: BlockId,
}

const ALONE: Links = Links {
    prev: NONE,
    next: NONE,
};

/// Free blocks in the order they are taken.
#[derive(Debug)]
pub(super) struct FreeQueue {
    /// Of [`NEVER_TAKEN`], then of every block that was taken before.
    links: Vec<Links>,
    num_blocks: usize,
    head: BlockId,
    tail: BlockId,
    len: usize,
}

impl FreeQueue {
    /// All blocks but the null block, in order of their numbers.
    pub(super) fn all_of(num_blocks: usize) -> Self {
        let mut queue = Self {
            links: vec![ALONE],
            num_blocks,
            head: NONE,
            tail: NONE,
            len: num_blocks.saturating_sub(1),
        };
        if queue.len > 0 {
            (queue.head, queue.tail) = (NEVER_TAKEN, NEVER_TAKEN);
        }
        queue
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push_back(&mut self, block: BlockId) {
        self.links[block as usize] = Links {
            prev: self.tail,
            next: NONE,
        };
        self.set_next(self.tail, block);
        self.tail = block;
        self.len += 1;
    }

    /// Puts blocks before all others, the first of them foremost.
    pub(super) fn push_front_all(&mut self, blocks: &[BlockId]) {
        for &block in blocks.iter().rev() {
            self.links[block as usize] = Links {
                prev: NONE,
                next: self.head,
            };
            self.set_prev(self.head, block);
            self.head = block;
        }
        self.len += blocks.len();
    }

    pub(super) fn pop_front(&mut self) -> Option<BlockId> {
        match self.head {
            NONE => None,
            NEVER_TAKEN => Some(self.take_next_new()),
            block => {
                self.remove(block);
                Some(block)
            }
        }
    }

    /// The first block that was never taken; there must be one.
    fn take_next_new(&mut self) -> BlockId {
        let block = self.links.len() as BlockId;
        self.links.push(ALONE);
        self.len -= 1;
        if self.links.len() >= self.num_blocks {
            self.unlink(NEVER_TAKEN);
        }
        block
    }

    /// Takes out a block that must be in the queue and was taken before.
    pub(super) fn remove(&mut self, block: BlockId) {
        self.unlink(block);
        self.len -= 1;
    }

    fn unlink(&mut self, block: BlockId) {
        let Links { prev, next } = std::mem::replace(&mut self.links[block as usize], ALONE);
        self.set_next(prev, next);
        self.set_prev(next, prev);
    }

    /// Sets what follows `block`; the head of the queue follows nothing.
    fn set_next(&mut self, block: BlockId, next: BlockId) {
        if block == NONE {
            self.head = next;
        } else {
            self.links[block as usize].next = next;
        }
    }

    /// Sets what precedes `block`; the tail of the queue precedes nothing.
    fn set_prev(&mut self, block: BlockId, prev: BlockId) {
        if block == NONE {
            self.tail = prev;
        } else {
            self.links[block as usize].prev = prev;
        }
    }

    /// Front to back.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = BlockId> + '_ {
        let mut at = self.head;
        let linked = std::iter::from_fn(move || {
            let block = at;
            (block != NONE).then(|| {
                at = self.links[block as usize].next;
                block
            })
        });
        linked.flat_map(|block| match block {
            NEVER_TAKEN => self.links.len() as BlockId..self.num_blocks as BlockId,
            block => block..block + 1,
        })
    }

    /// Rows that memory is kept for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.links.capacity()
    }
}
