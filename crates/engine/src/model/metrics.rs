//! Which figures does an engine report of itself?

use super::FinishReason;

/// Totals since start. They move at the end of a step, never in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Prompt tokens of first admissions, whole prompts.
    pub prefix_cache_queries_tokens: u64,
    /// Prompt tokens found cached on first admissions.
    pub prefix_cache_hits_tokens: u64,
    /// Prompt tokens of requests whose prefill completed.
    pub prompt_tokens: u64,
    /// Part of `prompt_tokens` that came from the prefix cache.
    pub prompt_tokens_cached: u64,
    /// Tokens generated.
    pub generation_tokens: u64,
    /// Preemptions; counted when the preempted request next produces a token.
    pub preemptions: u64,
    /// Submissions refused for `max_num_queued_reqs`.
    pub rejected_queued_reqs: u64,
    /// Submissions refused for `max_num_queued_tokens`.
    pub rejected_queued_tokens: u64,
    /// Requests finished, in the order of [`FinishReason::ALL`].
    pub finished: [u64; 4],
    /// Steps that ended.
    pub steps: u64,
}

impl Counters {
    /// Requests finished for one reason.
    #[must_use]
    pub fn finished_by(&self, reason: FinishReason) -> u64 {
        self.finished[reason as usize]
    }
}

/// Gauges at this moment, and the totals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snapshot {
    /// Requests admitted.
    pub running: usize,
    /// Requests submitted or preempted, not admitted.
    pub waiting: usize,
    /// Share of usable blocks that running requests refer to, 0..=1. Cached blocks nobody uses count as free.
    pub kv_cache_usage: f64,
    /// Tokens per block.
    pub block_size_tokens: usize,
    /// Blocks, the null block included.
    pub num_gpu_blocks: usize,
    /// Blocks that hold findable content, used or not.
    pub cached_blocks: usize,
    /// Totals.
    pub counters: Counters,
}
