//! The classic threshold rule: the deepest match, unless too little matches or the fleet is out of balance.
//!
//! Source: sglang-router 0.3.2 `cache_aware` with its command-line defaults: cache threshold 0.3, balance 64 requests
//! absolute and 1.5 relative, tree of 67,108,864 characters.
//!
//! ```text
//! out of balance   max - min > 64 and max > 1.5 min    -> fewest requests in flight
//! otherwise        matched / whole prompt > 0.3        -> the replica with the deepest match
//!                                         else         -> fewest requests in flight
//! ```
//! Load is requests in flight. The original matches characters of the whole text; here blocks of 16 tokens (64
//! characters) are matched, and its tree is a memory per replica of as many blocks as the tree has characters. Ties go to
//! the first replica, as there.

use std::time::Duration;

use rand::rngs::SmallRng;

use super::memory::Sent;
use super::{Known, Rule, Sight};
use crate::replay::replicas::Replicas;
use crate::replay::router::{Ask, Choice};

const CACHE_THRESHOLD: f64 = 0.3;
const BALANCE_ABSOLUTE: u64 = 64;
const BALANCE_RELATIVE: f64 = 1.5;
const TREE_BLOCKS: usize = 67_108_864 / kv_index::BLOCK_BYTES;

pub(crate) const KNOWN: Known = Known {
    name: "threshold",
    bound: false,
    summary: "deepest match over 0.3 of the prompt unless loads differ by 64 and 1.5 times; source: sglang-router 0.3.2 `cache_aware`",
    make: |replicas, _| {
        Box::new(Threshold {
            memory: Sent::new(replicas, TREE_BLOCKS),
        })
    },
};

struct Threshold {
    memory: Sent,
}

impl Rule for Threshold {
    fn choose(
        &mut self,
        ask: &Ask<'_>,
        sight: &Sight,
        _: &Replicas,
        _: Duration,
        _: &mut SmallRng,
    ) -> Choice {
        let load = |replica: &usize| sight.replicas[*replica].in_flight;
        let all = 0..sight.len();
        let least = all.clone().min_by_key(load).unwrap_or(0);
        let most = all.clone().map(|replica| load(&replica)).max().unwrap_or(0);
        let blocks = || ask.blocks.iter().copied();
        let matched = |replica: usize| self.memory.leading(replica, blocks());
        let unbalanced = most - load(&least) > BALANCE_ABSOLUTE
            && most as f64 > BALANCE_RELATIVE * load(&least) as f64;
        let mut chosen = least;
        if !unbalanced {
            let (mut deepest, mut depth) = (0, 0);
            for replica in all {
                let here = matched(replica);
                if here > depth {
                    (deepest, depth) = (replica, here);
                }
            }
            if depth as f64 > CACHE_THRESHOLD * ask.blocks.len().max(1) as f64 {
                chosen = deepest;
            }
        }
        let predicted_tokens = matched(chosen) as u32 * 16;
        self.memory.insert(chosen, blocks());
        Choice {
            replica: chosen,
            predicted_tokens: predicted_tokens.min(ask.prompt_tokens),
            external_tokens: 0,
        }
    }

    fn wants_blocks(&self) -> bool {
        true
    }

    fn index(&self) -> (u64, u64) {
        self.memory.size()
    }
}
