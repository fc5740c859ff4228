//! llm-d's newer pair: a prefix affinity filter, then the least token load.
//!
//! Source: llm-d's "optimized baseline" guide: `prefix-cache-affinity-filter` (threshold 0.8, penalty 18,000 ms, 15,928
//! prompt tokens a second) and `token-load-scorer` (threshold 4,194,304).
//!
//! ```text
//! sticky   = replicas that match at least 0.8 of the prompt's blocks; all when none does
//! broken   when (least tokens in flight among sticky - among others) / 15,928 tokens/s > 18 s: all compete
//! score    = 1 - min(t, T) / T,  t = tokens in flight + this request's uncached tokens there
//! ```
//! Tokens in flight are uncached prompt tokens of our requests, let go at their first token.

use std::time::Duration;

use rand::rngs::SmallRng;

use super::llm_d_memory::{Believed, tokens, total};
use super::{Known, Rule, Sight, lowest};
use crate::replay::replicas::Replicas;
use crate::replay::router::{Ask, Choice};

const THRESHOLD: f64 = 0.8;
const MAX_PENALTY_MS: f64 = 18_000.0;
const PEAK_TOKENS_PER_S: f64 = 15_928.0;
const LOAD_THRESHOLD_TOKENS: f64 = 4_194_304.0;

pub(crate) const KNOWN: Known = Known {
    name: "llm-d-affinity",
    bound: false,
    summary: "affinity filter 0.8 / 18 s, then least token load; source: llm-d optimized baseline",
    make: |replicas, _| {
        Box::new(AffinityLoad {
            memory: Believed::new(replicas),
        })
    },
};

struct AffinityLoad {
    memory: Believed,
}

impl Rule for AffinityLoad {
    fn choose(
        &mut self,
        ask: &Ask<'_>,
        sight: &Sight,
        _: &Replicas,
        _: Duration,
        rng: &mut SmallRng,
    ) -> Choice {
        let matches = self.memory.matches(ask, sight);
        let total = total(ask);
        let sticky: Vec<bool> = matches
            .iter()
            .map(|matched| *matched as f64 / total >= THRESHOLD)
            .collect();
        let keep = kept(&sticky, sight);
        let costs = (0..sight.len()).map(|replica| {
            if !keep[replica] {
                return f64::INFINITY;
            }
            let own = ask.prompt_tokens - tokens(ask, matches[replica]);
            let load = sight.replicas[replica].queued_tokens as f64 + f64::from(own);
            load.min(LOAD_THRESHOLD_TOKENS) / LOAD_THRESHOLD_TOKENS
        });
        let replica = lowest(costs, rng);
        self.memory.sent(ask, replica, matches[replica])
    }

    fn wants_blocks(&self) -> bool {
        true
    }

    fn index(&self) -> (u64, u64) {
        self.memory.size()
    }
}

/// Sticky replicas, or all where there is none or the best of them is too far behind.
fn kept(sticky: &[bool], sight: &Sight) -> Vec<bool> {
    let least = |wanted: bool| {
        let loads = sight.replicas.iter().zip(sticky);
        loads
            .filter(|(_, sticky)| **sticky == wanted)
            .map(|(seen, _)| seen.queued_tokens as f64 / PEAK_TOKENS_PER_S * 1e3)
            .fold(f64::INFINITY, f64::min)
    };
    if !sticky.contains(&true) || least(true) - least(false) > MAX_PENALTY_MS {
        return vec![true; sticky.len()];
    }
    sticky.to_vec()
}
