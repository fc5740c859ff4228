//! What could no router beat? Two bounds; both look at the engines themselves.
//!
//! `bound:infinite-cache` serves every block that any replica has computed before to any replica, at no cost, and sends
//! each request to the replica with the least work. `bound:oracle` sees every engine's true cache and true work at the
//! moment of the pick, and takes the least expected time to this request's last token by the engine's own price list,
//! what it delays others by included. It is greedy: it does not know what comes next, so it is a bound in practice, not a
//! proof.

use std::time::Duration;

use engine::backend::{Profile, StepLoad, StepTime};
use hashbrown::HashSet;
use rand::rngs::SmallRng;

use super::{Known, Rule, Sight, lowest};
use crate::replay::replicas::{Engine, Prefill, Replicas};
use crate::replay::router::{Ask, Choice};

pub(crate) const INFINITE_SHARED_CACHE: Known = Known {
    name: "infinite-cache",
    bound: true,
    summary: "bound: one unlimited cache shared by all replicas at no cost, least work",
    make: |_, _| Box::new(Infinite::default()),
};

pub(crate) const ORACLE: Known = Known {
    name: "oracle",
    bound: true,
    summary: "bound: sees every engine's true cache and work, least expected time (greedy)",
    make: |_, _| Box::new(Oracle),
};

/// Tokens of a canonical block.
const BLOCK_TOKENS: u32 = 16;

#[derive(Default)]
struct Infinite {
    seen: HashSet<u64>,
}

impl Rule for Infinite {
    fn choose(
        &mut self,
        ask: &Ask<'_>,
        _: &Sight,
        truth: &Replicas,
        now: Duration,
        rng: &mut SmallRng,
    ) -> Choice {
        let blocks = || ask.blocks.iter().copied();
        let held = blocks()
            .take_while(|block| self.seen.contains(block))
            .count() as u32;
        let cached = (held * BLOCK_TOKENS).min(ask.prompt_tokens - 1) / BLOCK_TOKENS * BLOCK_TOKENS;
        self.seen.extend(ask.blocks_with_output);
        let costs = truth
            .engines
            .iter()
            .map(|engine| cost_s(engine, ask, cached, now));
        let replica = lowest(costs, rng);
        Choice {
            replica,
            predicted_tokens: cached,
            external_tokens: cached,
        }
    }

    fn wants_blocks(&self) -> bool {
        true
    }
}

struct Oracle;

impl Rule for Oracle {
    fn choose(
        &mut self,
        ask: &Ask<'_>,
        _: &Sight,
        truth: &Replicas,
        now: Duration,
        rng: &mut SmallRng,
    ) -> Choice {
        let cached: Vec<u32> = (0..truth.len())
            .map(|replica| truth.cached_tokens(replica, ask.names, ask.prompt_tokens))
            .collect();
        let costs = truth
            .engines
            .iter()
            .zip(&cached)
            .map(|(engine, cached)| cost_s(engine, ask, *cached, now));
        let replica = lowest(costs, rng);
        Choice {
            replica,
            predicted_tokens: cached[replica],
            external_tokens: 0,
        }
    }

    fn wants_names(&self) -> bool {
        true
    }
}

/// Expected seconds to this request's last token, and what its prefill adds to those that decode there.
fn cost_s(engine: &Engine, ask: &Ask<'_>, cached: u32, now: Duration) -> f64 {
    let work = engine.model.work();
    let profile = &engine.profile;
    let step_left = work
        .step_ends
        .map_or(0.0, |ends| ends.saturating_sub(now).as_secs_f64());
    let mut before = engine.waiting;
    before.add(Prefill {
        tokens: work.prefill_tokens as u64,
        pairs: work.prefill_pairs,
    });
    let own = Prefill::of(ask.prompt_tokens, cached);
    let budget = engine.model.config().max_num_batched_tokens as f64;
    let chunks = ((before.tokens + own.tokens) as f64 / budget).ceil();
    let batch = (work.decoding + engine.model.snapshot().waiting + 1) as f64;
    let step = decode_s(profile, batch, work.context_tokens as f64);
    let own_s = prefill_s(profile, own);
    let first_token = step_left + prefill_s(profile, before) + own_s + chunks * step;
    let delays = own_s * work.decoding as f64 / DELAYED_SHARE;
    first_token + step * f64::from(ask.max_tokens) + delays
}

/// A step that prefills delays each request that decodes by its length; one second of that weighs this many times less
/// than one of this request's own.
const DELAYED_SHARE: f64 = 8.0;

fn prefill_s(profile: &Profile, prefill: Prefill) -> f64 {
    let flops = prefill.tokens as f64 * profile.flops_per_token
        + prefill.pairs as f64 * profile.flops_per_attention_pair;
    flops / profile.flops_per_s
}

fn decode_s(profile: &Profile, batch: f64, context_tokens: f64) -> f64 {
    let load = StepLoad {
        tokens: batch as usize,
        sequences: batch as usize,
        attention_pairs: 0,
        context_tokens: context_tokens as u64,
    };
    StepTime::of(profile, load.padded(profile))
        .total()
        .as_secs_f64()
}
