//! What does a rule believe is cached where?

use std::collections::VecDeque;

use engine::model::{BlockHash, CacheEvent};
use hashbrown::HashMap;

/// Blocks by what was sent where, least recently used first out, per replica. Never corrected by what engines evict.
#[derive(Debug)]
pub(crate) struct Sent {
    lanes: Vec<Lane>,
    capacity_blocks: usize,
}

#[derive(Debug, Default)]
struct Lane {
    used: HashMap<u64, u64>,
    /// Uses in order; one that is not the latest of its block is skipped.
    order: VecDeque<(u64, u64)>,
    clock: u64,
}

impl Sent {
    pub(crate) fn new(replicas: usize, capacity_blocks: usize) -> Self {
        Self {
            lanes: (0..replicas).map(|_| Lane::default()).collect(),
            capacity_blocks,
        }
    }

    /// Changes how many blocks a replica may hold; takes effect with the next insertion.
    pub(crate) fn set_capacity(&mut self, capacity_blocks: usize) {
        self.capacity_blocks = capacity_blocks;
    }

    /// Leading blocks that `replica` was sent.
    pub(crate) fn leading(&self, replica: usize, blocks: impl Iterator<Item = u64>) -> usize {
        let used = &self.lanes[replica].used;
        blocks.take_while(|block| used.contains_key(block)).count()
    }

    /// Remembers what goes to `replica`.
    pub(crate) fn insert(&mut self, replica: usize, blocks: impl Iterator<Item = u64>) {
        let lane = &mut self.lanes[replica];
        for block in blocks {
            lane.clock += 1;
            lane.used.insert(block, lane.clock);
            lane.order.push_back((lane.clock, block));
        }
        while lane.used.len() > self.capacity_blocks {
            let Some((at, block)) = lane.order.pop_front() else {
                break;
            };
            if lane.used.get(&block) == Some(&at) {
                lane.used.remove(&block);
            }
        }
        if lane.order.len() > 2 * lane.used.len() + 64 {
            let used = &lane.used;
            lane.order.retain(|(at, block)| used.get(block) == Some(at));
        }
    }

    /// Blocks remembered, and how many may be.
    pub(crate) fn size(&self) -> (u64, u64) {
        let held = self.lanes.iter().map(|lane| lane.used.len() as u64).sum();
        (held, (self.capacity_blocks * self.lanes.len()) as u64)
    }
}

/// Blocks by what engines say they store and drop.
#[derive(Debug)]
pub(crate) struct Told {
    /// Copies of each block, per replica.
    lanes: Vec<HashMap<BlockHash, u32>>,
}

impl Told {
    pub(crate) fn new(replicas: usize) -> Self {
        Self {
            lanes: (0..replicas).map(|_| HashMap::new()).collect(),
        }
    }

    pub(crate) fn events(&mut self, replica: usize, events: &[CacheEvent]) {
        let lane = &mut self.lanes[replica];
        for event in events {
            match event {
                CacheEvent::Stored { hashes, .. } => {
                    for hash in hashes {
                        *lane.entry(*hash).or_insert(0) += 1;
                    }
                }
                CacheEvent::Removed { hash } => {
                    if let hashbrown::hash_map::Entry::Occupied(mut entry) = lane.entry(*hash) {
                        *entry.get_mut() -= 1;
                        if *entry.get() == 0 {
                            entry.remove();
                        }
                    }
                }
                CacheEvent::Cleared => lane.clear(),
            }
        }
    }

    /// Leading blocks that `replica` holds, as far as it told.
    pub(crate) fn leading(&self, replica: usize, names: &[BlockHash]) -> usize {
        let lane = &self.lanes[replica];
        names
            .iter()
            .take_while(|name| lane.contains_key(*name))
            .count()
    }

    /// Blocks known; it holds what engines hold, so there is no bound of its own.
    pub(crate) fn size(&self) -> (u64, u64) {
        (
            self.lanes.iter().map(|lane| lane.len() as u64).sum(),
            u64::MAX,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut sent = Sent::new(2, 4);
        sent.insert(0, [1, 2, 3, 4].into_iter());
        sent.insert(0, [1].into_iter());
        sent.insert(0, [5].into_iter());
        assert_eq!(sent.leading(0, [1, 3, 4, 5].into_iter()), 4);
        assert_eq!(sent.leading(0, [2].into_iter()), 0);
        assert_eq!(sent.leading(1, [1].into_iter()), 0);
        assert_eq!(sent.size(), (4, 8));
    }

    #[test]
    fn repeated_use_takes_no_memory() {
        let mut sent = Sent::new(1, 100);
        sent.insert(0, 0..50);
        for _ in 0..10_000 {
            sent.insert(0, 25..50);
        }
        assert!(
            sent.lanes[0].order.len() < 20_000,
            "{}",
            sent.lanes[0].order.len()
        );
    }
}
