//! Which run begins with this block?
//!
//! Runs are found by the hash of their first block, which names the whole path before it. Many small tables of
//! atomic cells: one writer changes a cell in place or puts a larger table in a small one's place; a reader takes
//! whichever table is there and never waits. A reader may see a cell between two owners: it gets a run whose first
//! block is another's, and must compare.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use arc_swap::ArcSwap;

use crate::BlockHash;

const EMPTY: u64 = 0;
/// A cell whose entry was removed; probes go on behind it.
const GONE: u64 = 1;
const SMALLEST_CELLS: usize = 4;
/// 64 KiB of cells.
const CELLS_AT_MOST: usize = 4096;

type Cell = [AtomicU64; 2];

/// All tables.
pub(crate) struct Heads {
    shards: Box<[ArcSwap<Shard>]>,
    bytes: AtomicUsize,
}

struct Shard {
    cells: Box<[Cell]>,
    /// Cells that are not [`EMPTY`], and those of them that are not [`GONE`]; the writer's.
    used: AtomicUsize,
    live: AtomicUsize,
}

impl Shard {
    fn new(cells: usize) -> Self {
        Self {
            cells: (0..cells).map(|_| Cell::default()).collect(),
            used: AtomicUsize::new(0),
            live: AtomicUsize::new(0),
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + 16 + self.cells.len() * size_of::<Cell>()
    }

    /// Where `key` is, or the first empty cell on its way.
    fn find(&self, key: u64) -> Result<&Cell, &Cell> {
        let mask = self.cells.len() - 1;
        let mut at = key as usize & mask;
        loop {
            let cell = &self.cells[at];
            match cell[0].load(Acquire) {
                EMPTY => return Err(cell),
                found if found == key => return Ok(cell),
                _ => at = (at + 1) & mask,
            }
        }
    }
}

/// A key that no marker is mistaken for; the run's first block tells the rare two apart.
fn key_of(head: BlockHash) -> u64 {
    head.0.max(GONE + 1)
}

impl Heads {
    /// Room for about `max_runs` runs.
    pub(crate) fn new(max_runs: usize) -> Self {
        let shards = (max_runs / (CELLS_AT_MOST / 2)).next_power_of_two().max(16);
        let empty = Arc::new(Shard::new(SMALLEST_CELLS));
        Self {
            shards: (0..shards)
                .map(|_| ArcSwap::new(Arc::clone(&empty)))
                .collect(),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Bytes of all tables.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    fn shard(&self, key: u64) -> &ArcSwap<Shard> {
        &self.shards[(key >> 32) as usize & (self.shards.len() - 1)]
    }

    /// The run that begins with `head`, to be compared.
    #[inline]
    pub(crate) fn get(&self, head: BlockHash) -> Option<u32> {
        let key = key_of(head);
        let shard = self.shard(key).load();
        let cell = shard.find(key).ok()?;
        Some(cell[1].load(Acquire) as u32)
    }

    /// Enters a run under a head that has none; whether there was room. For the writer.
    pub(crate) fn insert(&self, head: BlockHash, run: u32) -> bool {
        let key = key_of(head);
        let place = self.shard(key);
        let mut shard = place.load_full();
        let (cells, used) = (shard.cells.len(), shard.used.load(Relaxed));
        // The first table is everyone's, so it is never written to.
        if (used + 1) * 4 > cells * 3 || shard.live.load(Relaxed) == 0 {
            let Some(larger) = self.rebuilt(&shard) else {
                return false;
            };
            shard = Arc::new(larger);
            put(&shard, key, run);
            place.store(shard);
            return true;
        }
        put(&shard, key, run);
        true
    }

    /// Takes out a run. For the writer.
    pub(crate) fn remove(&self, head: BlockHash) {
        let key = key_of(head);
        let shard = self.shard(key).load();
        if let Ok(cell) = shard.find(key) {
            cell[0].store(GONE, Release);
            shard.live.fetch_sub(1, Relaxed);
        }
    }

    /// The live entries in a table with room for more; `None` beyond the largest.
    fn rebuilt(&self, old: &Shard) -> Option<Shard> {
        let live = old.live.load(Relaxed);
        let cells = ((live + 1) * 2).next_power_of_two().max(SMALLEST_CELLS);
        if cells > CELLS_AT_MOST * 2 || (live + 1) * 4 > CELLS_AT_MOST * 3 {
            return None;
        }
        let new = Shard::new(cells.min(CELLS_AT_MOST));
        for cell in &old.cells {
            let key = cell[0].load(Relaxed);
            if key > GONE {
                put(&new, key, cell[1].load(Relaxed) as u32);
            }
        }
        // Wraps below zero for a moment of arithmetic only; the sum is exact but for the first, shared table.
        let grown = new.bytes().wrapping_sub(match old.used.load(Relaxed) {
            0 => 0,
            _ => old.bytes(),
        });
        self.bytes.fetch_add(grown, Relaxed);
        Some(new)
    }
}

/// Enters an absent key.
fn put(shard: &Shard, key: u64, run: u32) {
    if let Err(cell) = shard.find(key) {
        cell[1].store(u64::from(run), Release);
        cell[0].store(key, Release);
        shard.used.fetch_add(1, Relaxed);
        shard.live.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(number: u64) -> BlockHash {
        BlockHash((number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    #[test]
    fn finds_what_was_entered_and_not_removed() {
        let heads = Heads::new(50_000);
        for number in 0..20_000 {
            assert!(heads.insert(head(number), number as u32));
            if number % 2 == 1 {
                heads.remove(head(number - 1));
            }
        }
        for number in 0..20_000 {
            let expected = (number % 2 == 1).then_some(number as u32);
            assert_eq!(heads.get(head(number)), expected);
        }
        for number in (1..20_000).step_by(2) {
            heads.remove(head(number));
            assert_eq!(heads.get(head(number)), None);
        }
    }

    #[test]
    fn is_full_some_day() {
        let heads = Heads::new(1);
        let entered = (0..100_000)
            .take_while(|n| heads.insert(head(*n), 1))
            .count();
        assert!(
            (16 * 2048..16 * CELLS_AT_MOST).contains(&entered),
            "{entered}"
        );
    }
}
