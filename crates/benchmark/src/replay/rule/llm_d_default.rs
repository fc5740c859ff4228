//! llm-d's default: prefix 3, queue 2, KV utilisation 2, highest sum wins.
//!
//! Source: llm-d-router v0.9 default configuration and its plugins (`prefix-cache-scorer`, `queue-scorer`,
//! `kv-cache-utilization-scorer`, `max-score-picker`, `approx-prefix-cache-producer`).
//!
//! ```text
//! 3 · matched / total blocks  +  2 · (max - q) / (max - min)  +  2 · (1 - kv)
//! ```
//! Queue and KV use are the gauges as last scraped, nothing of our own picks added;
//! equal sums by chance. `load-only` is the same without the prefix term: llm-d's published "load" arm.

use std::time::Duration;

use rand::rngs::SmallRng;

use super::llm_d_memory::{Believed, total};
use super::{Known, Rule, Sight, lowest, plain};
use crate::replay::replicas::Replicas;
use crate::replay::router::{Ask, Choice};

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
    memory: Believed,
    prefix_weight: f64,
}

impl LlmD {
    pub(super) fn new(replicas: usize, prefix_weight: f64) -> Self {
        Self {
            memory: Believed::new(replicas),
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
        if self.prefix_weight == 0.0 {
            return plain(lowest(load_scores(sight).map(|load| -load), rng));
        }
        let matches = self.memory.matches(ask, sight);
        let total = total(ask);
        let sums = load_scores(sight)
            .zip(&matches)
            .map(|(load, matched)| -(load + self.prefix_weight * *matched as f64 / total));
        let replica = lowest(sums, rng);
        self.memory.sent(ask, replica, matches[replica])
    }

    fn wants_blocks(&self) -> bool {
        true
    }

    fn index(&self) -> (u64, u64) {
        self.memory.size()
    }
}
