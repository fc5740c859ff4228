//! Dynamo's block cost: prefill and decode in one currency, blocks of work.
//!
//! Source: Dynamo KV router 1.6.1, selector and its defaults (overlap credit 1, prefill scale 1, temperature 0).
//!
//! ```text
//! adjusted prefill = max(0, (prefill tokens in flight + prompt) / block - matched blocks)
//! cost             = adjusted prefill + decode blocks
//! ```
//! Lowest cost wins, exact ties by chance. Matched blocks come from the engines' cache events; prefill tokens are booked
//! until the first token, decode blocks (whole prompts of requests in flight) until the end, both by the router itself.

use std::time::Duration;

use rand::rngs::SmallRng;

use super::memory::Told;
use super::{Known, Rule, Sight, lowest};
use crate::replay::replicas::Replicas;
use crate::replay::router::{Ask, Choice};

pub(crate) const KNOWN: Known = Known {
    name: "dynamo-cost",
    bound: false,
    summary: "least prefill blocks after overlap plus decode blocks, exact cache events; source: Dynamo KV router 1.6.1",
    make: |replicas, _| {
        Box::new(DynamoCost {
            memory: Told::new(replicas),
        })
    },
};

struct DynamoCost {
    memory: Told,
}

impl Rule for DynamoCost {
    fn choose(
        &mut self,
        ask: &Ask<'_>,
        sight: &Sight,
        _: &Replicas,
        _: Duration,
        rng: &mut SmallRng,
    ) -> Choice {
        let block = f64::from(sight.replicas[0].page.block_size_tokens.max(16));
        let matches: Vec<usize> = (0..sight.len())
            .map(|replica| self.memory.leading(replica, ask.names))
            .collect();
        let costs = sight.replicas.iter().zip(&matches).map(|(seen, matched)| {
            let tokens = seen.queued_tokens as f64 + f64::from(ask.prompt_tokens);
            let prefill = (tokens / block - *matched as f64).max(0.0);
            prefill + (seen.context_tokens as f64 / block).ceil()
        });
        let replica = lowest(costs, rng);
        let cached = matches[replica] as f64 * block;
        Choice {
            replica,
            predicted_tokens: (cached as u32).min(ask.prompt_tokens),
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
