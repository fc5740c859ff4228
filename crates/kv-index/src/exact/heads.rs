//! Which run begins with this block?
//!
//! Runs are found by the hash of their first block, which names the whole path before it. Many small tables in the
//! arena, each named by one word; one writer changes a cell in place, or puts a larger table in a small one's place. A
//! reader takes whichever table is there, never waits, and looks again where the table was replaced under it: its span
//! may have been given to somebody else. A reader may see a cell between two owners: it gets a run whose first block is
//! another's, and must compare.

use std::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

use super::arena::{Arena, SPAN_WORDS_AT_MOST};
use crate::BlockHash;

const EMPTY: u64 = 0;
/// A cell whose entry was removed; probes go on behind it.
const GONE: u64 = 1;
const CELL_WORDS: usize = 2;
const SMALLEST_CELLS: usize = 4;
/// 32 KiB of cells.
const CELLS_AT_MOST: usize = SPAN_WORDS_AT_MOST / CELL_WORDS;
/// Times a reader looks again before it takes a run for absent.
const LOOKS_AT_MOST: usize = 8;

/// All tables. The arena they are in is handed to each call.
pub(crate) struct Heads {
    /// For readers: where each table is, [`Table::pack`]ed; 0 where there is none.
    tables: Box<[AtomicU64]>,
    /// For the writer, by table: cells that are not [`EMPTY`], and those of them that are not [`GONE`].
    counts: Box<[[AtomicU32; 2]]>,
    /// How many heads fall on each of some places, up to what a byte holds; where it is 0 there is none. Most blocks
    /// begin no run, and this small table says so without a look at a large one.
    filter: Box<[AtomicU8]>,
}

/// Places of the filter at most: it is to stay in the cache nearest to a core but one.
const FILTER_PLACES_AT_MOST: usize = 1 << 18;
/// Runs for which there is a place.
const RUNS_EACH_PLACE: usize = 16;

/// Where a table is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Table {
    at: u32,
    cells: usize,
}

impl Table {
    fn unpack(word: u64) -> Option<Self> {
        (word != 0).then_some(Self {
            at: word as u32,
            cells: 1 << (word >> 32 & 0xF),
        })
    }

    /// With a version one beyond that of the table before it.
    fn pack(self, before: u64) -> u64 {
        let version = (before >> 40) + 1;
        version << 40 | 1 << 36 | u64::from(self.cells.ilog2()) << 32 | u64::from(self.at)
    }

    fn words(self) -> usize {
        self.cells * CELL_WORDS
    }

    /// Where `key` is, or the first empty cell on its way; `None` in a table that is not whole any more.
    #[inline]
    fn find(self, arena: &Arena, key: u64) -> Option<Result<&[AtomicU64], &[AtomicU64]>> {
        let cells = arena.span(self.at, self.words());
        let mut at = key as usize;
        for _ in 0..self.cells {
            let from = (at & (self.cells - 1)) * CELL_WORDS;
            let cell = cells.get(from..from + CELL_WORDS)?;
            match cell[0].load(Acquire) {
                EMPTY => return Some(Err(cell)),
                found if found == key => return Some(Ok(cell)),
                _ => at += 1,
            }
        }
        None
    }
}

/// A key that no marker is mistaken for; the run's first block tells the rare two apart.
fn key_of(head: BlockHash) -> u64 {
    head.0.max(GONE + 1)
}

impl Heads {
    /// Room for about `max_runs` runs.
    pub(crate) fn new(max_runs: usize) -> Self {
        let tables = (max_runs / (CELLS_AT_MOST / 2)).next_power_of_two().max(16);
        let filter = (max_runs / RUNS_EACH_PLACE).clamp(4096, FILTER_PLACES_AT_MOST);
        let filter = filter.next_power_of_two();
        Self {
            tables: (0..tables).map(|_| AtomicU64::new(0)).collect(),
            counts: (0..tables).map(|_| Default::default()).collect(),
            filter: (0..filter).map(|_| AtomicU8::new(0)).collect(),
        }
    }

    fn filter(&self, key: u64) -> &AtomicU8 {
        &self.filter[(key >> 40) as usize & (self.filter.len() - 1)]
    }

    fn place(&self, key: u64) -> usize {
        (key >> 32) as usize & (self.tables.len() - 1)
    }

    /// What the filter says of `head`; for bringing it near before it is asked for.
    #[inline]
    pub(crate) fn peek(&self, head: BlockHash) -> u64 {
        u64::from(self.filter(key_of(head)).load(Relaxed))
    }

    /// The run that begins with `head`, to be compared.
    #[inline]
    pub(crate) fn get(&self, arena: &Arena, head: BlockHash) -> Option<u32> {
        let key = key_of(head);
        if self.filter(key).load(Relaxed) == 0 {
            return None;
        }
        let place = &self.tables[self.place(key)];
        let mut word = place.load(Acquire);
        for _ in 0..LOOKS_AT_MOST {
            let found = match Table::unpack(word)?.find(arena, key) {
                Some(Ok(cell)) => Some(cell[1].load(Acquire) as u32),
                _ => None,
            };
            fence(Acquire);
            let now = place.load(Relaxed);
            if now == word {
                return found;
            }
            word = place.load(Acquire);
        }
        None
    }

    /// Enters a run under a head that has none; whether there was room. For the writer.
    pub(crate) fn insert(&self, arena: &Arena, head: BlockHash, run: u32) -> bool {
        let key = key_of(head);
        let entered = self.enter(arena, key, run);
        if entered {
            let filter = self.filter(key);
            // A full byte stays full.
            filter.store(filter.load(Relaxed).saturating_add(1), Relaxed);
        }
        entered
    }

    fn enter(&self, arena: &Arena, key: u64, run: u32) -> bool {
        let place = self.place(key);
        let word = self.tables[place].load(Relaxed);
        let [used, live] = &self.counts[place];
        let old = Table::unpack(word);
        let cells = old.map_or(0, |table| table.cells);
        if (used.load(Relaxed) as usize + 1) * 4 <= cells * 3
            && let Some(table) = old
        {
            used.fetch_add(1, Relaxed);
            live.fetch_add(1, Relaxed);
            return put(arena, table, key, run);
        }
        let Some(new) = rebuilt(arena, old, live.load(Relaxed) as usize) else {
            return false;
        };
        let entered = put(arena, new, key, run);
        live.fetch_add(1, Relaxed);
        used.store(live.load(Relaxed), Relaxed);
        self.tables[place].store(new.pack(word), Release);
        fence(Release);
        if let Some(old) = old {
            arena.free(old.at, old.words());
        }
        entered
    }

    /// Takes out a run. For the writer.
    pub(crate) fn remove(&self, arena: &Arena, head: BlockHash) {
        let key = key_of(head);
        let place = self.place(key);
        let Some(table) = Table::unpack(self.tables[place].load(Relaxed)) else {
            return;
        };
        if let Some(Ok(cell)) = table.find(arena, key) {
            cell[0].store(GONE, Release);
            self.counts[place][1].fetch_sub(1, Relaxed);
            let filter = self.filter(key);
            let heads = filter.load(Relaxed);
            if heads < u8::MAX {
                filter.store(heads - 1, Relaxed);
            }
        }
    }
}

/// The `live` entries of `old` in a table with room for more; `None` beyond the largest, or where the arena is full.
fn rebuilt(arena: &Arena, old: Option<Table>, live: usize) -> Option<Table> {
    if (live + 1) * 4 > CELLS_AT_MOST * 3 {
        return None;
    }
    let cells = ((live + 1) * 2).next_power_of_two();
    let cells = cells.clamp(SMALLEST_CELLS, CELLS_AT_MOST);
    let new = Table {
        at: arena.allocate(cells * CELL_WORDS)?,
        cells,
    };
    // Whoever still reads what was here before has to look again.
    fence(Release);
    let blank = arena.span(new.at, new.words());
    blank.iter().for_each(|word| word.store(EMPTY, Relaxed));
    if let Some(old) = old {
        for cell in arena.span(old.at, old.words()).chunks_exact(CELL_WORDS) {
            let key = cell[0].load(Relaxed);
            if key > GONE {
                put(arena, new, key, cell[1].load(Relaxed) as u32);
            }
        }
    }
    Some(new)
}

/// Enters an absent key.
fn put(arena: &Arena, table: Table, key: u64, run: u32) -> bool {
    let Some(Err(cell)) = table.find(arena, key) else {
        return false;
    };
    cell[1].store(u64::from(run), Release);
    cell[0].store(key, Release);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(number: u64) -> BlockHash {
        BlockHash((number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    #[test]
    fn finds_what_was_entered_and_not_removed() {
        let (heads, arena) = (Heads::new(50_000), Arena::new(8 << 20));
        for number in 0..20_000 {
            assert!(heads.insert(&arena, head(number), number as u32));
            if number % 2 == 1 {
                heads.remove(&arena, head(number - 1));
            }
        }
        for number in 0..20_000 {
            let expected = (number % 2 == 1).then_some(number as u32);
            assert_eq!(heads.get(&arena, head(number)), expected);
        }
        for number in (1..20_000).step_by(2) {
            heads.remove(&arena, head(number));
            assert_eq!(heads.get(&arena, head(number)), None);
        }
    }

    #[test]
    fn is_full_some_day() {
        let (heads, arena) = (Heads::new(1), Arena::new(64 << 20));
        let entered = (0..100_000)
            .take_while(|n| heads.insert(&arena, head(*n), 1))
            .count();
        assert!(
            (16 * CELLS_AT_MOST / 2..16 * CELLS_AT_MOST).contains(&entered),
            "{entered}"
        );
        // And so is the arena.
        let (heads, arena) = (Heads::new(100_000), Arena::new(1 << 16));
        let entered = (0..100_000)
            .take_while(|n| heads.insert(&arena, head(*n), 1))
            .count();
        assert!((500..4096).contains(&entered), "{entered}");
    }
}
