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

/// Weight of one new observation of a rate.
const RATE_WEIGHT: f64 = 0.05;

/// Shorter answers tell more of how chunks were timed than of a token's cost.
const MIN_DECODED_TOKENS: u64 = 4;

/// Shorter prompts tell more of the step's fixed cost than of a token's.
const MIN_RATE_TOKENS: f64 = 64.0;

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

/// Learns from a streamed request's time to first byte: over all the uncached tokens it stood behind and its own.
/// Sums fade, so that long waits, which tell most, weigh most, and a changed engine shows.
pub(crate) fn observe_prefill(
    state: &SlotState,
    ttft: Duration,
    uncached_tokens: u32,
    queued_before_tokens: u64,
) {
    let tokens = f64::from(uncached_tokens) + queued_before_tokens as f64;
    if tokens < MIN_RATE_TOKENS {
        return;
    }
    let mut sums = state.prefill_sums.lock();
    sums.0 = sums.0 * (1.0 - RATE_WEIGHT) + ttft.as_secs_f64() * 1_000.0;
    sums.1 = sums.1 * (1.0 - RATE_WEIGHT) + tokens;
    let rate = sums.0 / sums.1;
    state
        .gauges
        .prefill_ms_per_token
        .set(rate.max(f64::MIN_POSITIVE));
}

/// Learns from the time between a response's first and last byte, and from its length.
pub(crate) fn observe_decode(state: &SlotState, took: Duration, completion_tokens: u64) {
    if completion_tokens < MIN_DECODED_TOKENS {
        return;
    }
    let seen = took.as_secs_f64() * 1_000.0 / (completion_tokens - 1) as f64;
    state.gauges.decode_ms_per_token.set(faded(
        state.gauges.decode_ms_per_token.get(),
        seen.max(f64::MIN_POSITIVE),
    ));
}

/// `known` moved towards `seen`; `seen` where nothing is known.
pub(crate) fn faded(known: f64, seen: f64) -> f64 {
    match known {
        0.0 => seen,
        known => known + RATE_WEIGHT * (seen - known),
    }
}
