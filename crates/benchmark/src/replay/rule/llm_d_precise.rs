//! llm-d with exact knowledge of caches from the engines' events: prefix 3, queue 2, KV utilisation 2.
//!
//! Source: llm-d's `precise-prefix-cache-producer` and the `precise` arm of its kv-cache benchmarks. Events arrive as late
//! as they do in life; queue and KV use are gauges as last scraped.

use std::time::Duration;

use rand::rngs::SmallRng;

use super::llm_d_default::load_scores;
use super::memory::Told;
use super::{Known, Rule, Sight, lowest};
use crate::replay::replicas::Replicas;
use crate::replay::router::{Ask, Choice};

pub(crate) const KNOWN: Known = Known {
    name: "llm-d-precise",
    bound: false,
    summary: "prefix 3 from the engines' cache events, queue 2, KV use 2; source: llm-d precise-prefix-cache-producer",
    make: |replicas, _| {
        Box::new(Precise {
            memory: Told::new(replicas),
        })
    },
};

struct Precise {
    memory: Told,
}

impl Rule for Precise {
    fn choose(
        &mut self,
        ask: &Ask<'_>,
        sight: &Sight,
        _: &Replicas,
        _: Duration,
        rng: &mut SmallRng,
    ) -> Choice {
        let total = ask.names.len().max(1) as f64;
        let matches: Vec<usize> = (0..sight.len())
            .map(|replica| self.memory.leading(replica, ask.names))
            .collect();
        let sums = load_scores(sight)
            .zip(&matches)
            .map(|(load, matched)| -(load + 3.0 * *matched as f64 / total));
        let replica = lowest(sums, rng);
        let share = matches[replica] as f64 / total;
        Choice {
            replica,
            predicted_tokens: (share * f64::from(ask.prompt_tokens)) as u32,
            external_tokens: 0,
        }
    }

    fn told(&self) -> Option<&Told> {
        Some(&self.memory)
    }

    fn told_mut(&mut self) -> Option<&mut Told> {
        Some(&mut self.memory)
    }
}
