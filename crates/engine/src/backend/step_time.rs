//! How long does a step take on an accelerator?
//!
//! ```text
//! step = overhead
//!      + max(weights / bandwidth, tokens · flops_per_token / flops_per_s)     one pass over the weights
//!      + attention_pairs · flops_per_attention_pair / flops_per_s             the quadratic term
//!      + context_tokens · kv_bytes_per_token / bandwidth                      keys and values read
//!      + sequences · per_sequence
//!      + compile                                                             first use of a shape, cold only
//! ```
//!
//! The pass over the weights is bound by memory while few tokens share it and by arithmetic when many do, hence the
//! maximum of the two: batching decodes is nearly free until the two meet. The other terms come on top of it.
//! `attention_pairs` sums, over the sequences that prefill, new tokens times the context they see (half of the new ones
//! see the other half); a decode's attention is bound by the read of its context and priced there.
//! Where shapes are padded, `tokens` and `sequences` are the padded numbers.

use std::time::Duration;

use super::{Profile, SequenceStep};

/// What a step asks of the accelerator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepLoad {
    /// Tokens computed.
    pub tokens: usize,
    /// Sequences.
    pub sequences: usize,
    /// Pairs of new token and context token, over the sequences that prefill.
    pub attention_pairs: u64,
    /// Tokens of context, the new ones included, over all sequences.
    pub context_tokens: u64,
}

impl StepLoad {
    /// Sums up a step.
    #[must_use]
    pub fn of(sequences: &[SequenceStep<'_>]) -> Self {
        let mut load = Self {
            sequences: sequences.len(),
            ..Self::default()
        };
        for sequence in sequences {
            load.add(sequence.computed_tokens, sequence.new_tokens);
        }
        load
    }

    fn add(&mut self, computed: usize, new: usize) {
        self.tokens += new;
        self.context_tokens += (computed + new) as u64;
        if new > 1 {
            let (computed, new) = (computed as u64, new as u64);
            self.attention_pairs += new * computed + new * new / 2;
        }
    }

    /// The load the accelerator really runs: rounded up to a compiled shape, where it runs those.
    #[must_use]
    pub fn padded(mut self, profile: &Profile) -> Self {
        if let Some(padding) = &profile.padding {
            self.tokens = self.tokens.next_power_of_two().max(padding.min_tokens);
            self.sequences = self
                .sequences
                .next_power_of_two()
                .max(padding.min_sequences);
        }
        self
    }
}

/// The parts of a step's duration, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StepTime {
    /// Fixed cost.
    pub overhead_s: f64,
    /// Reading all weights once.
    pub weights_s: f64,
    /// Arithmetic of the tokens, attention aside. Only the larger of this and `weights_s` counts.
    pub compute_s: f64,
    /// Arithmetic of prefill attention.
    pub attention_s: f64,
    /// Reading keys and values.
    pub kv_s: f64,
    /// Per-sequence cost.
    pub sequences_s: f64,
}

impl StepTime {
    /// Prices a load that is padded already.
    #[must_use]
    pub fn of(profile: &Profile, load: StepLoad) -> Self {
        Self {
            overhead_s: profile.step_overhead_ms / 1e3,
            weights_s: profile.weight_bytes / profile.bandwidth_bytes_per_s,
            compute_s: load.tokens as f64 * profile.flops_per_token / profile.flops_per_s,
            attention_s: load.attention_pairs as f64 * profile.flops_per_attention_pair
                / profile.flops_per_s,
            kv_s: load.context_tokens as f64 * profile.kv_bytes_per_token
                / profile.bandwidth_bytes_per_s,
            sequences_s: load.sequences as f64 * profile.sequence_overhead_ms / 1e3,
        }
    }

    /// The whole step.
    #[must_use]
    pub fn total(&self) -> Duration {
        let seconds = self.overhead_s
            + self.weights_s.max(self.compute_s)
            + self.attention_s
            + self.kv_s
            + self.sequences_s;
        Duration::from_secs_f64(seconds)
    }
}
