//! The other two: SMG's `ChainIndex`, and Dynamo's `RadixTree` and compressed concurrent tree.
//!
//! Both compare plain content hashes along the prompt, so their hashes are not chained; both are given them ready
//! made, in events too.

use dynamo_kv_router::indexer::RadixTree;
use dynamo_kv_router::protocols::{
    ExternalSequenceBlockHash, KvCacheEvent, KvCacheEventData, KvCacheStoreData,
    KvCacheStoredBlockData, LocalBlockHash, OverlapScores, RouterEvent, WorkerWithDpRank,
};
use smg_kv_index::{ChainBlockMap, ChainIndex, ContentHash, SequenceHash, StoredBlock};

use crate::{Index, WORKERS};

fn content(block: u64) -> u64 {
    let mixed = (block + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}

pub struct Smg {
    index: ChainIndex,
    ids: [u32; WORKERS],
    maps: [ChainBlockMap; WORKERS],
    found: [u32; WORKERS],
}

impl Default for Smg {
    fn default() -> Self {
        let index = ChainIndex::new();
        let ids = std::array::from_fn(|worker| {
            let id = index.intern_worker(&format!("worker-{worker}"));
            id.unwrap_or_else(|_| panic!("room for {WORKERS} workers"))
        });
        Self {
            index,
            ids,
            maps: Default::default(),
            found: [0; WORKERS],
        }
    }
}

impl Index for Smg {
    type Asked = Vec<ContentHash>;
    type Event = (usize, Vec<StoredBlock>, Option<SequenceHash>);

    const NAME: &'static str = "smg kv-index ChainIndex";

    fn asked(&self, prompt: &[u64]) -> Vec<ContentHash> {
        prompt
            .iter()
            .map(|block| ContentHash(content(*block)))
            .collect()
    }

    fn event(&self, worker: usize, prompt: &[u64], names: &[u64], from: usize) -> Self::Event {
        let blocks = prompt[from..].iter().zip(&names[from..]);
        let blocks = blocks.map(|(block, name)| StoredBlock {
            seq_hash: SequenceHash(*name),
            content_hash: ContentHash(content(*block)),
        });
        let parent = from
            .checked_sub(1)
            .map(|before| SequenceHash(names[before]));
        (worker, blocks.collect(), parent)
    }

    fn apply(&mut self, (worker, blocks, parent): Self::Event) {
        let applied =
            self.index
                .apply_stored(self.ids[worker], &blocks, parent, &mut self.maps[worker]);
        assert!(applied.is_ok());
    }

    fn find(&mut self, asked: &Vec<ContentHash>) {
        let (ids, found) = (&self.ids, &mut self.found);
        *found = [0; WORKERS];
        self.index.score_into(
            asked,
            |content| content.0,
            false,
            |id, score| {
                if let Some(worker) = ids.iter().position(|known| *known == id) {
                    found[worker] = score;
                }
            },
        );
    }

    fn found(&self) -> [u32; WORKERS] {
        self.found
    }
}

pub struct Radix {
    tree: RadixTree,
    events: u64,
    found: OverlapScores,
}

impl Default for Radix {
    fn default() -> Self {
        Self {
            tree: RadixTree::new(),
            events: 0,
            found: OverlapScores::default(),
        }
    }
}

impl Index for Radix {
    type Asked = Vec<LocalBlockHash>;
    type Event = (usize, KvCacheStoreData);

    const NAME: &'static str = "dynamo RadixTree";

    fn asked(&self, prompt: &[u64]) -> Vec<LocalBlockHash> {
        prompt
            .iter()
            .map(|block| LocalBlockHash(content(*block)))
            .collect()
    }

    fn event(&self, worker: usize, prompt: &[u64], names: &[u64], from: usize) -> Self::Event {
        let blocks = prompt[from..].iter().zip(&names[from..]);
        let blocks = blocks.map(|(block, name)| KvCacheStoredBlockData {
            block_hash: ExternalSequenceBlockHash(*name),
            tokens_hash: LocalBlockHash(content(*block)),
            mm_extra_info: None,
        });
        let parent = from
            .checked_sub(1)
            .map(|before| ExternalSequenceBlockHash(names[before]));
        let data = KvCacheStoreData {
            parent_hash: parent,
            start_position: None,
            blocks: blocks.collect(),
        };
        (worker, data)
    }

    fn apply(&mut self, (worker, data): Self::Event) {
        self.events += 1;
        let event = KvCacheEvent {
            event_id: self.events,
            data: KvCacheEventData::Stored(data),
            dp_rank: 0,
        };
        let applied = self
            .tree
            .apply_event(RouterEvent::new(worker as u64, event));
        assert!(applied.is_ok());
    }

    fn find(&mut self, asked: &Vec<LocalBlockHash>) {
        self.found = self.tree.find_matches(asked.clone(), false);
    }

    fn found(&self) -> [u32; WORKERS] {
        std::array::from_fn(|worker| {
            let worker = WorkerWithDpRank::from_worker_id(worker as u64);
            self.found.scores.get(&worker).copied().unwrap_or(0)
        })
    }
}
