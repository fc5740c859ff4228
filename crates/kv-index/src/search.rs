//! How deep does each lane hold a chain, without asking for every block?
//!
//! What a lane holds is closed under prefixes, so the lanes that hold block `j` also hold every `i < j` of the
//! chain: sets of holders only shrink with depth. Equal sets at two depths thus settle all depths between,
//! and the search divides only where they differ: about `log2(blocks)` probes for each depth at which some
//! lane's run ends, two for a chain held whole.

use crate::BlockHash;
use crate::store::Store;

/// Working memory of a lookup, kept with the caller's result so that lookups need no allocation.
#[derive(Debug, Default, Clone)]
pub(crate) struct Scratch {
    /// Leading run per lane, blocks.
    pub(crate) runs: Vec<u32>,
    /// Holder sets: the one at the lower end, then those of the upper ends still to be reached.
    sets: Vec<u64>,
    /// Depths of the upper ends.
    highs: Vec<usize>,
}

impl Scratch {
    /// Zero runs for `lanes` lanes.
    pub(crate) fn reset(&mut self, lanes: usize) {
        self.runs.clear();
        self.runs.resize(lanes, 0);
    }
}

/// Raises the run of every lane to the leading blocks of `blocks` it holds in `store`.
pub(crate) fn raise_runs(store: &Store, blocks: &[BlockHash], scratch: &mut Scratch) {
    let words = scratch.runs.len().div_ceil(64);
    if blocks.is_empty() || words == 0 {
        return;
    }
    let Scratch { runs, sets, highs } = scratch;
    sets.clear();
    sets.resize(2 * words, 0);
    store.fill(blocks[0], &mut sets[..words]);
    if is_empty(&sets[..words]) {
        return;
    }
    store.fill(blocks[blocks.len() - 1], &mut sets[words..]);
    narrow(sets, words, words);
    highs.clear();
    highs.push(blocks.len());
    let mut low = 1;
    while let Some(high) = highs.last().copied() {
        let top = highs.len() * words;
        let (bottom, above) = (&sets[..words], &sets[top..top + words]);
        if high - low > 1 && bottom != above {
            let middle = low + (high - low) / 2;
            sets.resize(top + 2 * words, 0);
            store.fill(blocks[middle - 1], &mut sets[top + words..]);
            narrow(sets, words, top + words);
            widen(sets, words, top);
            highs.push(middle);
            continue;
        }
        settle(runs, bottom, above, low as u32);
        sets.copy_within(top..top + words, 0);
        sets.truncate(top);
        highs.pop();
        low = high;
        if is_empty(&sets[..words]) {
            return;
        }
    }

    settle(runs, &sets[..words], &[], low as u32);
}

fn is_empty(set: &[u64]) -> bool {
    set.iter().all(|word| *word == 0)
}

/// Drops from the set at `at` what the bottom set lacks: a lane that gained blocks meanwhile counts next time.
fn narrow(sets: &mut [u64], words: usize, at: usize) {
    let (bottom, rest) = sets.split_at_mut(words);
    rest[at - words..at]
        .iter_mut()
        .zip(bottom)
        .for_each(|(word, below)| *word &= *below);
}

/// Adds to the last set what the one at `at` has: a lane that lost blocks meanwhile is still reported once.
fn widen(sets: &mut [u64], words: usize, at: usize) {
    let (upper, middle) = sets.split_at_mut(at + words);
    middle
        .iter_mut()
        .zip(&upper[at..])
        .for_each(|(word, above)| *word |= above);
}

/// Lanes in `below` but not in `above` have runs of `depth` blocks.
fn settle(runs: &mut [u32], below: &[u64], above: &[u64], depth: u32) {
    for (at, word) in below.iter().enumerate() {
        let mut ends = word & !above.get(at).copied().unwrap_or(0);
        while ends != 0 {
            if let Some(run) = runs.get_mut(at * 64 + ends.trailing_zeros() as usize) {
                *run = depth.max(*run);
            }
            ends &= ends - 1;
        }
    }
}

/// Leading blocks of `blocks` that one lane holds.
pub(crate) fn run_of(store: &Store, blocks: &[BlockHash], lane: u16) -> u32 {
    blocks.partition_point(|block| store.stamp(*block, lane).is_some()) as u32
}
