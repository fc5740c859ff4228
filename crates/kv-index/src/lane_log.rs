//! What did one lane use, in which order, and so what goes first?
//!
//! One record per use of a chain. A use stamps every block it covers, so a block's stamp names the latest
//! record that covers it, and no block is older than one below it in the tree. Taking the oldest record from
//! its end is then least-recently-used order with tails before heads, and what remains is always closed
//! under prefixes. Blocks of a record that a later use stamped again are stale there; records are trimmed of
//! them when they outgrow what is held.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashSet;

use crate::BlockHash;
use crate::holders::LaneIndex;
use crate::marks::weight_blocks;
use crate::store::Store;

/// Bytes of a record beside its blocks, reference counts and growth of the queue included.
const RECORD_BYTES: usize = size_of::<Record>() + 32;
/// Bytes by which records may outgrow half as much again as the last trim left, before the next.
const UNTRIMMED_BYTES: usize = 1024;

/// One use of a chain.
struct Record {
    stamp: u64,
    /// The chain from depth `base`; where `base > 0`, the first is only the parent of what follows.
    blocks: Arc<[BlockHash]>,
    base: usize,
    /// Where in `blocks` live ones may begin, and end.
    from: usize,
    to: usize,
}

impl Record {
    fn bytes(&self) -> usize {
        RECORD_BYTES + self.blocks.len() * size_of::<BlockHash>()
    }

    /// Where in `blocks` depth `depth` is, if it is there.
    fn at_depth(&self, depth: usize) -> Option<usize> {
        depth.checked_sub(self.base).filter(|at| *at < self.to)
    }
}

/// Uses of one lane, oldest first, and what it holds.
#[derive(Default)]
pub(crate) struct LaneLog {
    records: VecDeque<Record>,
    held: u32,
    bytes: usize,
    bytes_after_trim: usize,
}

/// A lane's log together with where its blocks are.
pub(crate) struct LaneView<'a> {
    pub(crate) store: &'a Store,
    pub(crate) lane: LaneIndex,
    pub(crate) log: &'a mut LaneLog,
}

impl LaneLog {
    /// Blocks held.
    pub(crate) fn held(&self) -> u32 {
        self.held
    }

    /// Bytes of the records.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Stamp of the oldest record.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.records.front().map(|record| record.stamp)
    }
}

impl LaneView<'_> {
    /// The lane used the first `len` marks of a chain at `stamp`, later than all stamps before.
    pub(crate) fn hold(&mut self, blocks: &Arc<[BlockHash]>, len: usize, stamp: u64) {
        // Heads first, so that the held set is closed at every moment a reader may look.
        for (at, block) in blocks[..len].iter().enumerate() {
            if self.store.hold(*block, self.lane, stamp) {
                self.log.held += weight_blocks(at);
            }
        }
        let record = Record {
            stamp,
            blocks: Arc::clone(blocks),
            base: 0,
            from: 0,
            to: len,
        };
        self.log.bytes += record.bytes();
        self.log.records.push_back(record);
        if self.log.bytes > self.log.bytes_after_trim * 3 / 2 + UNTRIMMED_BYTES {
            self.trim();
        }
    }

    /// Evicts until at most `blocks` are held; returns how many went.
    pub(crate) fn evict_to(&mut self, blocks: u32) -> u32 {
        let before = self.log.held;
        while self.log.held > blocks && self.evict_oldest(|log| log.held > blocks) {}
        before - self.log.held
    }

    /// Evicts blocks of the oldest record, last first, while `more`; whether there was a record.
    pub(crate) fn evict_oldest(&mut self, more: impl Fn(&LaneLog) -> bool) -> bool {
        let Some(mut record) = self.log.records.pop_front() else {
            return false;
        };
        while record.from < record.to && more(self.log) {
            let block = record.blocks[record.to - 1];
            match self.store.stamp(block, self.lane) {
                Some(stamp) if stamp == record.stamp => {
                    self.release(block, record.base + record.to - 1);
                }
                // Used again later, and everything above it too.
                Some(_) => record.to = record.from + 1,
                None => {}
            }
            record.to -= 1;
        }
        if record.from < record.to {
            self.log.records.push_front(record);
        } else {
            self.log.bytes -= record.bytes();
        }
        true
    }

    /// Drops `first_gone`, at depth `depth`, and everything below it in the tree; returns how many blocks.
    pub(crate) fn cut(&mut self, first_gone: BlockHash, depth: usize) -> u32 {
        if self.store.stamp(first_gone, self.lane).is_none() {
            return 0;
        }
        let before = self.log.held;
        let mut gone: HashSet<BlockHash> = HashSet::new();
        let mut ends = Vec::new();
        // Youngest first: a record that lost its upper part hangs on a block that is live in a younger one.
        for (index, record) in self.log.records.iter().enumerate().rev() {
            let at = match record.at_depth(depth) {
                Some(at) if record.blocks[at] == first_gone => at.max(record.from),
                None if record.base > depth && gone.contains(&record.blocks[0]) => record.from,
                _ => continue,
            };
            gone.extend(self.live(record, at));
            ends.push((index, at));
        }
        // Oldest first and last first: what is below goes before what is above.
        for (index, at) in ends.into_iter().rev() {
            for position in (at..self.log.records[index].to).rev() {
                let record = &self.log.records[index];
                let (block, stamp) = (record.blocks[position], record.stamp);
                let depth = record.base + position;
                if self.store.stamp(block, self.lane) == Some(stamp) {
                    self.release(block, depth);
                }
            }
            self.log.records[index].to = at;
        }
        before - self.log.held
    }

    /// Blocks of `record` from `at` on that no younger record covers.
    fn live(&self, record: &Record, at: usize) -> Vec<BlockHash> {
        let blocks = record
            .blocks
            .get(at..record.to)
            .unwrap_or_default()
            .iter()
            .copied();
        blocks
            .filter(|block| self.store.stamp(*block, self.lane) == Some(record.stamp))
            .collect()
    }

    fn release(&mut self, block: BlockHash, depth: usize) {
        if self.store.release(block, self.lane) {
            self.log.held -= weight_blocks(depth);
        }
    }

    /// Drops what is stale from all records.
    fn trim(&mut self) {
        let records = std::mem::take(&mut self.log.records);
        self.log.records = records
            .into_iter()
            .filter_map(|record| self.trimmed(record))
            .collect();
        self.log.bytes = self.log.records.iter().map(Record::bytes).sum();
        self.log.bytes_after_trim = self.log.bytes;
    }

    /// `record` without its stale beginning and its evicted end; `None` if nothing is left.
    fn trimmed(&self, record: Record) -> Option<Record> {
        let candidates = &record.blocks[record.from..record.to];
        // Stale blocks, stamped later, come before the live ones; removed ones after are beyond `to`.
        let stale = |block: &BlockHash| {
            self.store
                .stamp(*block, self.lane)
                .is_some_and(|s| s != record.stamp)
        };
        let from = record.from + candidates.partition_point(stale);
        if from == record.to {
            return None;
        }
        let kept = from.saturating_sub(1);
        if kept == 0 && record.to == record.blocks.len() {
            return Some(Record { from, ..record });
        }
        Some(Record {
            stamp: record.stamp,
            blocks: Arc::from(&record.blocks[kept..record.to]),
            base: record.base + kept,
            from: from - kept,
            to: record.to - kept,
        })
    }
}
