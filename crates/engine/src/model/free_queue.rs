//! Which free block is taken next?
//!
//! A doubly linked queue threaded through block numbers: the front is taken first, any block leaves the middle in
//! constant time. Blocks without content go in at the front, blocks whose content may be found again at the back; that
//! makes the queue both the free list and the least-recently-used order of the cache.

use super::BlockId;

const NONE: BlockId = BlockId::MAX;

#[derive(Debug, Clone, Copy)]
struct Links {
    prev: BlockId,
    next: BlockId,
}

/// Free blocks in the order they are taken.
#[derive(Debug)]
pub(super) struct FreeQueue {
    links: Vec<Links>,
    head: BlockId,
    tail: BlockId,
    len: usize,
}

impl FreeQueue {
    /// An empty queue over blocks `0..num_blocks`.
    pub(super) fn new(num_blocks: usize) -> Self {
        Self {
            links: vec![
                Links {
                    prev: NONE,
                    next: NONE
                };
                num_blocks
            ],
            head: NONE,
            tail: NONE,
            len: 0,
        }
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
        let block = self.head;
        (block != NONE).then(|| {
            self.remove(block);
            block
        })
    }

    /// Takes out a block that must be in the queue.
    pub(super) fn remove(&mut self, block: BlockId) {
        let Links { prev, next } = self.links[block as usize];
        self.set_next(prev, next);
        self.set_prev(next, prev);
        self.links[block as usize] = Links {
            prev: NONE,
            next: NONE,
        };
        self.len -= 1;
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
        std::iter::from_fn(move || {
            let block = at;
            (block != NONE).then(|| {
                at = self.links[block as usize].next;
                block
            })
        })
    }
}
