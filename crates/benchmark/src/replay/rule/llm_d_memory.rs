//! What does llm-d's approximate producer believe of caches?
//!
//! Source: llm-d-router's `approx-prefix-cache-producer`. Blocks of 64 tokens (its floor), 31,250 entries a replica, as many
//! as the engine has blocks once it has told, whatever their size: its own arithmetic. Entered when a request is sent and
//! never corrected.

use super::Sight;
use super::memory::Sent;
use crate::replay::clock::Replica;
use crate::replay::router::{Ask, Choice};

/// Canonical blocks in one of llm-d's.
const STRIDE: usize = 4;
const BLOCK_TOKENS: u32 = 64;

/// Entries a replica when the engine says nothing.
const CAPACITY_BLOCKS: usize = 31_250;

pub(super) struct Believed {
    memory: Sent,
}

impl Believed {
    pub(super) fn new(replicas: usize) -> Self {
        Self {
            memory: Sent::new(replicas, CAPACITY_BLOCKS),
        }
    }

    /// Leading blocks of the prompt at each replica.
    pub(super) fn matches(&mut self, ask: &Ask<'_>, sight: &Sight) -> Vec<usize> {
        let told = sight.replicas[0].page.num_blocks as usize;
        if told > 0 {
            self.memory.set_capacity(told);
        }
        (0..sight.len())
            .map(|replica| self.memory.leading(replica, blocks(ask)))
            .collect()
    }

    /// Remembers where it goes.
    pub(super) fn sent(&mut self, ask: &Ask<'_>, replica: Replica, matched: usize) -> Choice {
        self.memory.insert(replica, blocks(ask));
        Choice {
            replica,
            predicted_tokens: tokens(ask, matched),
            external_tokens: 0,
        }
    }

    pub(super) fn size(&self) -> (u64, u64) {
        self.memory.size()
    }
}

fn blocks(ask: &Ask<'_>) -> impl Iterator<Item = u64> {
    ask.blocks.iter().skip(STRIDE - 1).step_by(STRIDE).copied()
}

/// Blocks of the prompt, at least 1.
pub(super) fn total(ask: &Ask<'_>) -> f64 {
    (ask.blocks.len() / STRIDE).max(1) as f64
}

/// Prompt tokens in so many blocks.
pub(super) fn tokens(ask: &Ask<'_>, matched: usize) -> u32 {
    (matched as u32 * BLOCK_TOKENS).min(ask.prompt_tokens)
}
