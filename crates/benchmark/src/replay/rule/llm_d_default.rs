//! llm-d's default: prefix 3, queue 2, KV utilisation 2, highest sum wins.
//!
//! Source: llm-d-router v0.9 default configuration and its plugins (`prefix-cache-scorer`, `queue-scorer`,
//! `kv-cache-utilization-scorer`, `max-score-picker`, `approx-prefix-cache-producer`).
//!
//! ```text
//! 3 · matched / total blocks  +  2 · (max - q) / (max - min)  +  2 · (1 - kv)
//! ```
//! Blocks of 64 tokens (its floor), 31,250 entries a replica resized from the engine's block count, entered when a
//! request is sent and never corrected; queue and KV use are the gauges as last scraped, nothing of our own picks added;
//! equal sums by chance. `load-only` is the same without the prefix term: llm-d's published "load" arm.

use std::time::Duration;

use rand::rngs::SmallRng;

use super::memory::Sent;
use super::{Known, Rule, Sight, lowest};
use crate::replay::replicas::Replicas;
use crate::replay::router::{Ask, Choice};

/// Canonical blocks in one of llm-d's: it never uses blocks under 64 tokens.
const STRIDE: usize = 4;
const BLOCK_TOKENS: u32 = 64;

/// Entries a replica when the engine says nothing; autotuned ones replace them.
const CAPACITY_BLOCKS: usize = 31_250;

pub(crate) const KNOWN: Known = Known {
    name: "llm-d-3-2-2",
    bound: false,
    summary: "prefix 3, queue 2, KV use 2 on gauges as scraped; source: llm-d-router v0.9 default configuration",
    make: |replicas, _| Box::new(LlmD::new(replicas, 3.0)),
};

pub(crate) const LOAD_ONLY: Known = Known {
    name: "llm-d-load",
    bound: false,
    summary: "queue 2, KV use 2 on gauges as scraped; source: the `load` arm of llm-d's kv-cache benchmarks",
    make: |replicas, _| Box::new(LlmD::new(replicas, 0.0)),
};

pub(super) struct LlmD {
    memory: Option<Sent>,
    replicas: usize,
    prefix_weight: f64,
}

impl LlmD {
    pub(super) fn new(replicas: usize, prefix_weight: f64) -> Self {
        Self {
            memory: None,
            replicas,
            prefix_weight,
        }
    }
}

/// `2 · queue score + 2 · KV score` of every replica.
pub(super) fn load_scores(sight: &Sight) -> impl Iterator<Item = f64> {
    let queues = sight
        .replicas
        .iter()
        .map(|seen| f64::from(seen.page.waiting));
    let (low, high) = queues.fold((f64::INFINITY, 0.0_f64), |(low, high), queue| {
        (low.min(queue), high.max(queue))
    });
    sight.replicas.iter().map(move |seen| {
        let queue = match high > low {
            true => (high - f64::from(seen.page.waiting)) / (high - low),
            false => 1.0,
        };
        2.0 * queue + 2.0 * (1.0 - seen.page.kv_usage)
    })
}

impl Rule for LlmD {
    fn choose(
        &mut self,
        ask: &Ask<'_>,
        sight: &Sight,
        _: &Replicas,
        _: Duration,
        rng: &mut SmallRng,
    ) -> Choice {
        // As many entries as the engine has blocks, whatever their size: its own arithmetic.
        let told = sight.replicas[0].page.num_blocks as usize;
        let capacity = if told > 0 { told } else { CAPACITY_BLOCKS };
        if told > 0 || self.memory.is_none() {
            let memory = self
                .memory
                .get_or_insert_with(|| Sent::new(self.replicas, capacity));
            memory.set_capacity(capacity);
        }
        let blocks = || ask.blocks.iter().skip(STRIDE - 1).step_by(STRIDE).copied();
        let total = (ask.blocks.len() / STRIDE).max(1) as f64;
        let memory = &self.memory;
        let matched = |replica: usize| match memory {
            Some(memory) if self.prefix_weight > 0.0 => memory.leading(replica, blocks()),
            _ => 0,
        };
        let matches: Vec<usize> = (0..sight.len()).map(matched).collect();
        let sums = load_scores(sight)
            .zip(&matches)
            .map(|(load, matched)| -(load + self.prefix_weight * *matched as f64 / total));
        let replica = lowest(sums, rng);
        if self.prefix_weight > 0.0
            && let Some(memory) = &mut self.memory
        {
            memory.insert(replica, blocks());
        }
        Choice {
            replica,
            predicted_tokens: (matches[replica] as u32 * BLOCK_TOKENS).min(ask.prompt_tokens),
            external_tokens: 0,
        }
    }

    fn wants_blocks(&self) -> bool {
        true
    }

    fn index(&self) -> (u64, u64) {
        self.memory.as_ref().map_or((0, 0), Sent::size)
    }
}
