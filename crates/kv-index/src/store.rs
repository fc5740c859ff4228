//! Who holds which block, for many readers beside one writer?
//!
//! Blocks are spread over shards by their hash. A reader locks one shard for one probe, some tens of
//! nanoseconds; the writer does the same for one change, so neither ever waits for a whole operation of the
//! other.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::BlockHash;
use crate::holders::{LaneIndex, Shard};

const SHARD_BITS: u32 = 10;
const SHARDS: usize = 1 << SHARD_BITS;

/// All (lane, block) pairs.
pub(crate) struct Store {
    shards: Box<[RwLock<Shard>]>,
    bytes: AtomicUsize,
}

impl Store {
    pub(crate) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::new(Shard::default())).collect();
        Self {
            shards,
            bytes: AtomicUsize::new(0),
        }
    }

    /// Upper bound of what was allocated for blocks and their holders, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Sets the bit of every lane that holds `block` in `bits`.
    #[inline]
    pub(crate) fn fill(&self, block: BlockHash, bits: &mut [u64]) {
        let (shard, key) = self.locate(block);
        shard.read().fill(key, bits);
    }

    /// Stamp under which `lane` holds `block`.
    pub(crate) fn stamp(&self, block: BlockHash, lane: LaneIndex) -> Option<u64> {
        let (shard, key) = self.locate(block);
        shard.read().stamp(key, lane)
    }

    /// Makes `lane` a holder of `block` as of `stamp`; whether it was none before. For the writer.
    pub(crate) fn hold(&self, block: BlockHash, lane: LaneIndex, stamp: u64) -> bool {
        self.change(block, |shard, key| shard.hold(key, lane, stamp))
    }

    /// `lane` no longer holds `block`; whether it did. For the writer.
    pub(crate) fn release(&self, block: BlockHash, lane: LaneIndex) -> bool {
        self.change(block, |shard, key| shard.release(key, lane))
    }

    fn change(&self, block: BlockHash, change: impl FnOnce(&mut Shard, u64) -> bool) -> bool {
        let (shard, key) = self.locate(block);
        let mut shard = shard.write();
        let before = shard.bytes();
        let changed = change(&mut shard, key);
        let after = shard.bytes();
        drop(shard);
        if after != before {
            // Wraps below zero for a moment of arithmetic only; the sum is exact.
            self.bytes
                .fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
        changed
    }

    /// The shard of a block and its key there; the bits that chose the shard are the last to choose a cell.
    fn locate(&self, block: BlockHash) -> (&RwLock<Shard>, u64) {
        let key = block
            .0
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(SHARD_BITS);
        (&self.shards[key as usize % SHARDS], key)
    }
}
