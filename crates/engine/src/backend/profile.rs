//! Which accelerators can be simulated, and where does each figure come from?

use std::sync::OnceLock;

use serde::Deserialize;

const PROFILES_JSON: &str = include_str!("profiles.json");

/// One accelerator with one model: capacities and the coefficients of the step-time formula
/// (see [`StepTime`](super::StepTime)).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name on the command line.
    pub name: String,
    /// Accelerators that form one engine.
    pub chips: u32,
    /// Model the figures are for.
    pub model: String,
    /// Where the figures come from.
    pub source: String,
    /// Figures that were measured on the real thing.
    pub measured: String,
    /// Figures that are estimates.
    pub estimated: String,
    /// Blocks are this long unless a flag says otherwise.
    pub default_block_size_tokens: usize,
    /// Tokens of KV cache.
    pub kv_cache_tokens: usize,
    /// Default of `--max-num-seqs`.
    pub max_num_seqs: usize,
    /// Default of `--max-num-batched-tokens`.
    pub max_num_batched_tokens: usize,
    /// Default of `--max-model-len`.
    pub max_model_len_tokens: usize,
    /// Bytes of weights that every step reads.
    pub weight_bytes: f64,
    /// Bytes of keys and values read per token of context.
    pub kv_bytes_per_token: f64,
    /// Bytes per second that reads achieve, all chips together.
    pub bandwidth_bytes_per_s: f64,
    /// Floating-point operations to compute one token, attention aside.
    pub flops_per_token: f64,
    /// Floating-point operations of attention per pair of a new token and a token of its context.
    pub flops_per_attention_pair: f64,
    /// Floating-point operations per second that prefill achieves, all chips together.
    pub flops_per_s: f64,
    /// Fixed cost of a step.
    pub step_overhead_ms: f64,
    /// Cost of a step per sequence in it.
    pub sequence_overhead_ms: f64,
    /// Present where shapes are padded and compiled.
    pub padding: Option<Padding>,
}

/// How an accelerator that runs compiled shapes rounds a step up.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Padding {
    /// Tokens of a step are rounded up to a power of two, at least this.
    pub min_tokens: usize,
    /// Sequences of a step are rounded up to a power of two, at least this.
    pub min_sequences: usize,
    /// Time to compile a shape that was not seen before.
    pub compile_ms: f64,
}

/// No such accelerator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown accelerator {name:?}; known: {known}")]
pub struct ProfileError {
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: String,
}

impl Profile {
    /// All profiles.
    #[must_use]
    pub fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<Profile>> = OnceLock::new();
        ALL.get_or_init(|| {
            serde_json::from_str(PROFILES_JSON)
                .expect("the embedded profiles are valid; a test reads them")
        })
    }

    /// The profile of that name.
    ///
    /// # Errors
    /// There is none; the error names those there are.
    pub fn named(name: &str) -> Result<Self, ProfileError> {
        Self::all()
            .iter()
            .find(|profile| profile.name == name)
            .cloned()
            .ok_or_else(|| ProfileError {
                name: name.to_owned(),
                known: Self::all()
                    .iter()
                    .map(|profile| profile.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    /// Blocks of this size that the KV cache holds, the null block included.
    #[must_use]
    pub fn num_gpu_blocks(&self, block_size_tokens: usize) -> usize {
        self.kv_cache_tokens / block_size_tokens.max(1)
    }
}
