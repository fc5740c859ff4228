use std::collections::VecDeque;

use proptest::prelude::*;

use super::{BlockId, BlockPool};
use crate::model::{BlockHash, CacheEvent, ExtraKeys, HashAlgo, HashChain};

/// The same rules, written down plainly: every question is answered by looking through everything.
struct Naive {
    ref_counts: Vec<u32>,
    free: VecDeque<BlockId>,
    /// Named blocks, in the order they were stored.
    named: Vec<(BlockId, BlockHash)>,
    removed: Vec<BlockHash>,
}

impl Naive {
    fn new(num_blocks: usize) -> Self {
        Self {
            ref_counts: vec![0; num_blocks],
            free: (1..num_blocks as BlockId).collect(),
            named: Vec::new(),
            removed: Vec::new(),
        }
    }

    fn find(&self, hash: &BlockHash) -> Option<BlockId> {
        self.named
            .iter()
            .find(|(_, name)| name == hash)
            .map(|(block, _)| *block)
    }

    fn take_found(&mut self, blocks: &[BlockId]) {
        for &block in blocks {
            self.free.retain(|&free| free != block);
            self.ref_counts[block as usize] += 1;
        }
    }

    fn allocate(&mut self, count: usize) -> Option<Vec<BlockId>> {
        if count > self.free.len() {
            return None;
        }
        let taken: Vec<BlockId> = self.free.drain(..count).collect();
        for &block in &taken {
            self.ref_counts[block as usize] = 1;
            if let Some(at) = self.named.iter().position(|(named, _)| *named == block) {
                self.removed.push(self.named.remove(at).1);
            }
        }
        Some(taken)
    }

    fn release(&mut self, table: &[BlockId]) {
        let mut front = Vec::new();
        for &block in table.iter().rev() {
            self.ref_counts[block as usize] -= 1;
            if self.ref_counts[block as usize] > 0 {
                continue;
            }
            if self.named.iter().any(|(named, _)| *named == block) {
                self.free.push_back(block);
            } else {
                front.push(block);
            }
        }
        front.extend(self.free.drain(..));
        self.free = front.into();
    }
}

#[derive(Debug, Clone)]
enum Op {
    /// A request: so many blocks, of them the leading named ones, content from a small set of chains.
    Admit {
        blocks: usize,
        named: usize,
        chain: u8,
    },
    Release {
        which: usize,
    },
    Reset,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (1..8_usize, 0..8_usize, 0..4_u8).prop_map(|(blocks, named, chain)| Op::Admit { blocks, named, chain }),
        4 => any::<usize>().prop_map(|which| Op::Release { which }),
        1 => Just(Op::Reset),
    ]
}

fn chain_hashes(chain: u8) -> Vec<BlockHash> {
    let mut hasher = HashChain::new(HashAlgo::XxhashCbor, "test");
    let mut hashes: Vec<BlockHash> = Vec::new();
    for block in 0..8 {
        // Chains 0 and 1 share their first two blocks.
        let token = if block < 2 {
            u32::from(chain / 2)
        } else {
            100 + u32::from(chain)
        };
        let hash = hasher.block(hashes.last(), [token].into_iter(), &ExtraKeys::default());
        hashes.push(hash);
    }
    hashes
}

proptest! {
    /// Block for block and event for event the same as the plain rules, and nothing leaks.
    #[test]
    fn agrees_with_the_naive_pool(num_blocks in 2..24_usize, ops in prop::collection::vec(op(), 1..60)) {
        let mut pool = BlockPool::new(num_blocks, true);
        let mut naive = Naive::new(num_blocks);
        let mut tables: Vec<Vec<BlockId>> = Vec::new();
        for op in ops {
            match op {
                Op::Admit { blocks, named, chain } => {
                    tables.extend(admit(&mut pool, &mut naive, blocks, named.min(blocks), &chain_hashes(chain)));
                }
                Op::Release { which } if !tables.is_empty() => {
                    let table = tables.swap_remove(which % tables.len());
                    pool.release(&table);
                    naive.release(&table);
                }
                Op::Release { .. } => {}
                Op::Reset => {
                    prop_assert_eq!(pool.reset(), tables.is_empty());
                    if tables.is_empty() {
                        naive.named.clear();
                        let cleared = pool.take_events().pop();
                        prop_assert_eq!(cleared, Some(CacheEvent::Cleared));
                    }
                }
            }
            assert_same(&mut pool, &mut naive);
        }
        tables.iter().for_each(|table| pool.release(table));
        prop_assert_eq!(pool.num_free(), num_blocks - 1);
        prop_assert_eq!(pool.usage(), 0.0);
    }
}

/// Takes the leading run of found blocks and allocates the rest, in both pools.
fn admit(
    pool: &mut BlockPool,
    naive: &mut Naive,
    blocks: usize,
    named: usize,
    hashes: &[BlockHash],
) -> Option<Vec<BlockId>> {
    let found: Vec<BlockId> = hashes[..named]
        .iter()
        .map_while(|hash| naive.find(hash))
        .collect();
    let found_too: Vec<BlockId> = hashes[..named]
        .iter()
        .map_while(|hash| pool.find(hash))
        .collect();
    assert_eq!(found, found_too);
    pool.take_found(&found);
    naive.take_found(&found);
    let mut table = found.clone();
    let allocated = pool.allocate(blocks - found.len(), &mut table);
    let rest = naive.allocate(blocks - found.len());
    assert_eq!(allocated, rest.is_some());
    let Some(rest) = rest else {
        pool.release(&found);
        naive.release(&found);
        return None;
    };
    assert_eq!(table[found.len()..], rest);
    pool.store(
        &table[found.len()..named.max(found.len())],
        &hashes[found.len()..],
    );
    naive.named.extend(
        rest.into_iter()
            .zip(hashes[found.len()..named].iter().copied()),
    );
    Some(table)
}

fn assert_same(pool: &mut BlockPool, naive: &mut Naive) {
    assert!(
        pool.free.iter().eq(naive.free.iter().copied()),
        "free queue"
    );
    assert_eq!(pool.num_free(), naive.free.len());
    let (seen, never_taken) = naive.ref_counts.split_at(pool.ref_counts.len());
    assert_eq!(pool.ref_counts, seen);
    assert!(never_taken.iter().all(|count| *count == 0));
    assert_eq!(pool.num_cached(), naive.named.len());
    let removed: Vec<BlockHash> = pool
        .take_events()
        .into_iter()
        .map(|event| match event {
            CacheEvent::Removed { hash } => hash,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(removed, std::mem::take(&mut naive.removed));
    for block in 1..naive.ref_counts.len() as BlockId {
        assert_eq!(
            pool.is_free(block),
            naive.free.contains(&block),
            "block {block}"
        );
    }
}

#[test]
fn copies_outlive_each_other() {
    let hash = chain_hashes(0)[0];
    let mut pool = BlockPool::new(4, true);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    assert!(pool.allocate(1, &mut first));
    pool.store(&first, &[hash]);
    assert!(pool.allocate(1, &mut second));
    pool.store(&second, &[hash]);
    assert_eq!(
        pool.find(&hash),
        Some(first[0]),
        "stored first, found first"
    );
    pool.release(&first);
    pool.release(&second);
    // The third block was never used and is taken first, then the copy freed first.
    assert!(pool.allocate(2, &mut Vec::new()));
    assert_eq!(pool.take_events(), [CacheEvent::Removed { hash }]);
    assert_eq!(
        pool.find(&hash),
        Some(second[0]),
        "the other copy is still there"
    );
}

#[test]
fn a_pool_that_is_hardly_used_takes_hardly_any_memory() {
    let mut pool = BlockPool::new(1_000_000, false);
    let mut table = Vec::new();
    assert!(pool.allocate(100, &mut table));
    pool.store(&table[..8], &chain_hashes(0));
    pool.release(&table);
    assert_eq!(pool.num_free(), 999_999);
    let rows = pool.ref_counts.capacity() + pool.free.capacity() + pool.resident.capacity();
    assert!(rows < 2_000, "{rows} rows for 100 blocks");
}
