//! How many bytes of prompt make a token, and how long does a token of prefill take?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use crate::SlotState;

/// Assumed before any answer has told: English text under a current byte-pair vocabulary.
pub(crate) const DEFAULT_BYTES_PER_TOKEN: f64 = 4.0;

/// Models remembered at most; a fleet serves a handful, a misuse of names must not grow without end.
const MAX_MODELS: usize = 1024;

/// Old observations fade once this many tokens were seen, so that a changed mix of languages shows.
const MEMORY_TOKENS: f64 = 1_000_000.0;

/// Weight of one new observation of prefill cost.
const RATE_WEIGHT: f64 = 0.1;

/// Shorter prompts tell more of the step's fixed cost than of a token's.
const MIN_RATE_TOKENS: u32 = 64;

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    bytes: f64,
    tokens: f64,
}

/// Bytes of canonical prompt stream per token, learned per model from the engines' own `usage`.
#[derive(Debug, Default)]
pub(crate) struct Ratios {
    models: RwLock<BTreeMap<Arc<str>, Sums>>,
}

impl Ratios {
    pub(crate) fn bytes_per_token(&self, model: &str) -> f64 {
        let models = self.models.read();
        match models.get(model) {
            Some(sums) if sums.tokens > 0.0 => sums.bytes / sums.tokens,
            _ => DEFAULT_BYTES_PER_TOKEN,
        }
    }

    pub(crate) fn observe(&self, model: &Arc<str>, stream_bytes: u64, prompt_tokens: u64) {
        if stream_bytes == 0 || prompt_tokens == 0 {
            return;
        }
        let mut models = self.models.write();
        if models.len() >= MAX_MODELS && !models.contains_key(model) {
            return;
        }
        let sums = models.entry(Arc::clone(model)).or_default();
        if sums.tokens > MEMORY_TOKENS {
            sums.bytes /= 2.0;
            sums.tokens /= 2.0;
        }
        sums.bytes += stream_bytes as f64;
        sums.tokens += prompt_tokens as f64;
    }

    pub(crate) fn report(&self) -> Vec<(String, f64)> {
        let models = self.models.read();
        models
            .iter()
            .map(|(model, sums)| (model.to_string(), sums.bytes / sums.tokens))
            .collect()
    }
}

/// Learns from a streamed request that found nobody before it: its time to first byte over its uncached tokens.
pub(crate) fn observe_prefill(
    state: &SlotState,
    ttft: Duration,
    uncached_tokens: u32,
    queued_before: u64,
) {
    if queued_before > 0 || uncached_tokens < MIN_RATE_TOKENS {
        return;
    }
    let seen = ttft.as_secs_f64() * 1_000.0 / f64::from(uncached_tokens);
    let known = state.prefill_ms_per_token.get();
    let next = if known == 0.0 {
        seen
    } else {
        known + RATE_WEIGHT * (seen - known)
    };
    state.prefill_ms_per_token.set(next.max(f64::MIN_POSITIVE));
}
