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
use crate::replay::replicas::{Engine, Replicas};
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
        self.seen.extend(blocks());
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
    let step_left = work
        .step_ends
        .map_or(0.0, |ends| ends.saturating_sub(now).as_secs_f64());
    let ahead = work.prefill_tokens as f64 + engine.waiting_uncached_tokens as f64;
    let own = prefill_s(
        &engine.profile,
        u64::from(cached),
        u64::from(ask.prompt_tokens - cached),
    );
    let wait = step_left + ahead * per_token_s(&engine.profile);
    let batch = work.decoding as f64 + engine.model.snapshot().waiting as f64 + 1.0;
    let decode =
        decode_s(&engine.profile, batch, work.context_tokens as f64) * f64::from(ask.max_tokens);
    wait + own + decode + own * work.decoding as f64 / DELAYED_SHARE
}

/// A step that prefills delays each request that decodes by its length; one second of that weighs this many times less
/// than one of this request's own.
const DELAYED_SHARE: f64 = 8.0;

fn per_token_s(profile: &Profile) -> f64 {
    profile.flops_per_token / profile.flops_per_s
}

fn prefill_s(profile: &Profile, cached: u64, new: u64) -> f64 {
    let load = StepLoad {
        tokens: new as usize,
        sequences: 1,
        attention_pairs: new * cached + new * new / 2,
        context_tokens: cached + new,
    };
    StepTime::of(profile, load).total().as_secs_f64()
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
