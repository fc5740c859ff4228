//! Which limits does one engine run under?

use std::sync::Arc;

use super::HashAlgo;
use crate::backend::Profile;

/// Seed text that all engines share unless told otherwise, so that equal prompts hash alike on every replica.
pub const DEFAULT_HASH_SEED: &str = "vllm-none-hash";

/// Limits of one engine. Fixed for its lifetime.
#[derive(Debug, Clone)]
pub struct BatchConfig {
    /// Tokens per KV block.
    pub block_size_tokens: usize,
    /// Blocks in the pool, the reserved null block included: `num_gpu_blocks - 1` are usable.
    pub num_gpu_blocks: usize,
    /// Requests that may run at once.
    pub max_num_seqs: usize,
    /// Tokens that one step may compute over all its requests.
    pub max_num_batched_tokens: usize,
    /// Prompt plus output of one request, at most.
    pub max_model_len_tokens: usize,
    /// Whether prompts are looked up in, and added to, the prefix cache.
    pub enable_prefix_caching: bool,
    /// How block contents are named.
    pub hash_algo: HashAlgo,
    /// Seed of the first parent hash.
    pub hash_seed: Arc<str>,
    /// Waiting requests beyond which a submission is rejected. `None`: no bound.
    pub max_num_queued_reqs: Option<usize>,
    /// Prompt tokens waiting beyond which a submission is rejected. `None`: no bound.
    pub max_num_queued_tokens: Option<usize>,
    /// Whether [`Event::Cache`](super::Event::Cache) is emitted.
    pub record_cache_events: bool,
}

impl BatchConfig {
    /// The limits a server on this accelerator starts with when no flag says otherwise.
    #[must_use]
    pub fn for_profile(profile: &Profile) -> Self {
        let block_size_tokens = profile.default_block_size_tokens;
        Self {
            block_size_tokens,
            num_gpu_blocks: profile.num_gpu_blocks(block_size_tokens),
            max_num_seqs: profile.max_num_seqs,
            max_num_batched_tokens: profile.max_num_batched_tokens,
            max_model_len_tokens: profile.max_model_len_tokens,
            enable_prefix_caching: true,
            hash_algo: HashAlgo::Sha256Cbor,
            hash_seed: Arc::from(DEFAULT_HASH_SEED),
            max_num_queued_reqs: None,
            max_num_queued_tokens: None,
            record_cache_events: false,
        }
    }

    /// Blocks that requests can hold.
    #[must_use]
    pub fn usable_blocks(&self) -> usize {
        self.num_gpu_blocks.saturating_sub(1)
    }

    /// Tokens of KV cache as a server reports them: null block included.
    #[must_use]
    pub fn kv_cache_size_tokens(&self) -> usize {
        self.num_gpu_blocks * self.block_size_tokens
    }

    /// # Errors
    /// A limit of zero, or a pool too small to hold one request of full length (it could never finish).
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (name, value) in [
            ("block size", self.block_size_tokens),
            ("max-num-seqs", self.max_num_seqs),
            ("max-num-batched-tokens", self.max_num_batched_tokens),
            ("max-model-len", self.max_model_len_tokens),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero { name });
            }
        }
        let needed = self.max_model_len_tokens.div_ceil(self.block_size_tokens);
        if needed > self.usable_blocks() || self.num_gpu_blocks > u32::MAX as usize - 1 {
            return Err(ConfigError::PoolSize {
                num_gpu_blocks: self.num_gpu_blocks,
                needed_blocks: needed + 1,
                max_model_len_tokens: self.max_model_len_tokens,
            });
        }
        Ok(())
    }
}

/// Why an engine cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A limit that must be positive is zero.
    #[error("{name} must be at least 1")]
    Zero {
        /// The limit, by its flag.
        name: &'static str,
    },
    /// One request of the longest allowed length does not fit the pool.
    #[error(
        "a request of max-model-len {max_model_len_tokens} needs {needed_blocks} KV blocks with the null block, the pool has {num_gpu_blocks}; lower --max-model-len or raise --num-gpu-blocks-override"
    )]
    PoolSize {
        /// Blocks in the pool.
        num_gpu_blocks: usize,
        /// Blocks that would be enough.
        needed_blocks: usize,
        /// The configured length.
        max_model_len_tokens: usize,
    },
}
