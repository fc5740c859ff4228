//! Which blocks are free, who refers to which, and which can be found again?

use super::free_queue::FreeQueue;
use super::resident::Resident;
use super::{BlockHash, CacheEvent};

/// Number of a block. Block 0 is the null block and belongs to nobody.
pub type BlockId = u32;

/// All KV blocks of one engine.
///
/// A block is referred to by running requests, any number of them, or it is in the free queue; a free block keeps its
/// content, and can be found by it, until it is taken for something else.
#[derive(Debug)]
pub struct BlockPool {
    num_blocks: usize,
    /// Of the blocks up to the highest that was ever taken: what was not used costs no memory.
    ref_counts: Vec<u32>,
    free: FreeQueue,
    resident: Resident,
    /// Blocks freed since start; tells whether waiting for room is worth another look.
    freed_total: u64,
    record: bool,
    events: Vec<CacheEvent>,
    unhashed_scratch: Vec<BlockId>,
}

impl BlockPool {
    /// A pool of `num_blocks`, the null block included, all free; records changes of the cache if asked to.
    #[must_use]
    pub fn new(num_blocks: usize, record: bool) -> Self {
        Self {
            num_blocks,
            ref_counts: Vec::new(),
            free: FreeQueue::all_of(num_blocks),
            resident: Resident::new(num_blocks),
            freed_total: 0,
            record,
            events: Vec::new(),
            unhashed_scratch: Vec::new(),
        }
    }

    /// Blocks nobody refers to.
    #[must_use]
    pub fn num_free(&self) -> usize {
        self.free.len()
    }

    /// Share of usable blocks that somebody refers to, 0..=1.
    #[must_use]
    pub fn usage(&self) -> f64 {
        let usable = self.num_blocks.saturating_sub(1);
        if usable == 0 {
            0.0
        } else {
            1.0 - self.free.len() as f64 / usable as f64
        }
    }

    /// Blocks that can be found by their content.
    #[must_use]
    pub fn num_cached(&self) -> usize {
        self.resident.len()
    }

    /// Blocks freed since start.
    #[must_use]
    pub fn freed_total(&self) -> u64 {
        self.freed_total
    }

    /// The block with that content.
    #[must_use]
    pub fn find(&self, hash: &BlockHash) -> Option<BlockId> {
        self.resident.get(hash)
    }

    /// Whether a block is free.
    #[must_use]
    pub fn is_free(&self, block: BlockId) -> bool {
        let count = self.ref_counts.get(block as usize);
        count.is_none_or(|count| *count == 0)
    }

    /// Refers to found blocks once more; free ones leave the queue.
    pub fn take_found(&mut self, blocks: &[BlockId]) {
        for &block in blocks {
            if self.is_free(block) {
                self.free.remove(block);
            }
            self.ref_counts[block as usize] += 1;
        }
    }

    /// Takes `count` blocks from the front of the queue and appends them to `table`; their old content is lost.
    /// Returns false, and takes none, when fewer are free.
    pub fn allocate(&mut self, count: usize, table: &mut Vec<BlockId>) -> bool {
        if count > self.free.len() {
            return false;
        }
        table.reserve(count);
        for _ in 0..count {
            let Some(block) = self.free.pop_front() else {
                return false;
            };
            if let Some(hash) = self.resident.drop_block(block)
                && self.record
            {
                self.events.push(CacheEvent::Removed { hash });
            }
            let at = block as usize;
            if at >= self.ref_counts.len() {
                self.ref_counts.resize(at + 1, 0);
            }
            self.ref_counts[at] = 1;
            table.push(block);
        }
        true
    }

    /// Makes blocks findable: the i-th under the i-th hash. Blocks must be referred to and without content.
    pub fn store(&mut self, blocks: &[BlockId], hashes: &[BlockHash]) {
        for (&block, &hash) in blocks.iter().zip(hashes) {
            self.resident.store(block, hash);
        }
    }

    /// Adds an event to those of the step, if events are recorded.
    pub fn record(&mut self, event: impl FnOnce() -> CacheEvent) {
        if self.record {
            self.events.push(event());
        }
    }

    /// Gives up one reference to each block of a request's table. Those that become free queue up tail first, so that
    /// the end of a prompt is lost before its beginning; without content, before all others.
    pub fn release(&mut self, table: &[BlockId]) {
        let mut unhashed = std::mem::take(&mut self.unhashed_scratch);
        for &block in table.iter().rev() {
            let count = &mut self.ref_counts[block as usize];
            *count -= 1;
            if *count > 0 {
                continue;
            }
            self.freed_total += 1;
            if self.resident.is_named(block) {
                self.free.push_back(block);
            } else {
                unhashed.push(block);
            }
        }
        self.free.push_front_all(&unhashed);
        unhashed.clear();
        self.unhashed_scratch = unhashed;
    }

    /// Forgets all content. Returns false, and does nothing, while a block is referred to.
    pub fn reset(&mut self) -> bool {
        if self.free.len() + 1 != self.num_blocks {
            return false;
        }
        self.resident.clear();
        self.record(|| CacheEvent::Cleared);
        true
    }

    /// Name of the content of every block that has one.
    pub fn resident(&self) -> impl Iterator<Item = BlockHash> {
        self.resident.names()
    }

    /// What changed since [`take_events`](Self::take_events).
    #[must_use]
    pub fn events(&self) -> &[CacheEvent] {
        &self.events
    }

    /// What changed since the last call.
    pub fn take_events(&mut self) -> Vec<CacheEvent> {
        std::mem::take(&mut self.events)
    }
}

#[cfg(test)]
#[path = "block_pool_tests.rs"]
mod tests;
