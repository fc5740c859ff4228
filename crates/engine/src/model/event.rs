//! What happened to a request, and when?

use std::sync::Arc;
use std::time::Duration;

use super::{BlockHash, Lora, RequestId};

/// One thing that happened. Times are on the caller's clock; events of one `advance` are in order of time.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A request was admitted for the first time. `cached_tokens` is final: a later preemption does not change it.
    Scheduled {
        /// The request.
        id: RequestId,
        /// Start of the step that admitted it.
        at: Duration,
        /// Prompt tokens found in the prefix cache.
        cached_tokens: usize,
    },
    /// A request lost its blocks and waits again, before everyone else.
    Preempted {
        /// The request.
        id: RequestId,
        /// Start of the step that needed the blocks.
        at: Duration,
    },
    /// A request got one token. The last one comes right before its [`Event::Finished`].
    Token {
        /// The request.
        id: RequestId,
        /// End of the step.
        at: Duration,
        /// The token.
        token: u32,
        /// Since the previous token of this request; `None` on the first.
        gap: Option<Duration>,
    },
    /// A request is over and its blocks are free. Not sent after [`abort`](super::BatchModel::abort).
    Finished {
        /// The request.
        id: RequestId,
        /// End of its last step.
        at: Duration,
        /// Why.
        reason: FinishReason,
        /// The stop token that ended it.
        stop_token: Option<u32>,
        /// Its times, for histograms.
        timings: RequestTimings,
    },
    /// A step ended. Comes after the events of its requests.
    Step {
        /// When it began.
        started: Duration,
        /// When it ended.
        at: Duration,
        /// Tokens computed, prompt and output.
        scheduled_tokens: usize,
        /// What `vllm:iteration_tokens_total` observes: prompts completed, whole, plus tokens generated.
        iteration_tokens: usize,
        /// Requests that were in it.
        num_requests: usize,
    },
    /// What the step changed in the prefix cache, in order; only when it changed something and recording is on.
    Cache {
        /// End of the step.
        at: Duration,
        /// The changes.
        events: Vec<CacheEvent>,
    },
}

/// Why a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// A stop token was sampled.
    Stop,
    /// `max_tokens` or the model length was reached.
    Length,
    /// The caller ended it; used by shells, never emitted by the model.
    Abort,
    /// The backend failed.
    Error,
}

impl FinishReason {
    /// All reasons, in the order of [`Counters::finished`](super::Counters::finished).
    pub const ALL: [Self; 4] = [Self::Stop, Self::Length, Self::Abort, Self::Error];

    /// The word used on the wire and as the `finished_reason` label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Abort => "abort",
            Self::Error => "error",
        }
    }
}

/// When a request passed which point, on the caller's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestTimings {
    /// Submission.
    pub arrival: Duration,
    /// Start of the step that first admitted it.
    pub scheduled: Duration,
    /// End of the step that gave its first token; equal to `finished` when there was none.
    pub first_token: Duration,
    /// End of its last step.
    pub finished: Duration,
    /// Prompt length.
    pub prompt_tokens: usize,
    /// Prompt tokens found in the prefix cache on first admission.
    pub cached_tokens: usize,
    /// Tokens generated.
    pub output_tokens: usize,
    /// Times it was preempted.
    pub preemptions: u32,
}

impl RequestTimings {
    /// Arrival to first admission.
    #[must_use]
    pub fn queue(&self) -> Duration {
        self.scheduled.saturating_sub(self.arrival)
    }
    /// First admission to first token.
    #[must_use]
    pub fn prefill(&self) -> Duration {
        self.first_token.saturating_sub(self.scheduled)
    }
    /// First token to last.
    #[must_use]
    pub fn decode(&self) -> Duration {
        self.finished.saturating_sub(self.first_token)
    }
    /// First admission to last token.
    #[must_use]
    pub fn inference(&self) -> Duration {
        self.finished.saturating_sub(self.scheduled)
    }
    /// Arrival to first token.
    #[must_use]
    pub fn ttft(&self) -> Duration {
        self.first_token.saturating_sub(self.arrival)
    }
    /// Arrival to last token.
    #[must_use]
    pub fn e2e(&self) -> Duration {
        self.finished.saturating_sub(self.arrival)
    }
    /// Mean time per output token after the first; `None` with fewer than two tokens.
    #[must_use]
    pub fn time_per_output_token(&self) -> Option<Duration> {
        let gaps = u32::try_from(self.output_tokens.checked_sub(1)?).ok()?;
        self.decode().checked_div(gaps)
    }
}

/// One change of the prefix cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheEvent {
    /// Blocks of one request became findable, in prompt order.
    Stored {
        /// Their hashes.
        hashes: Vec<BlockHash>,
        /// Hash of the block before the first; `None` at the beginning of a prompt.
        parent: Option<BlockHash>,
        /// Their tokens: block size times number of hashes.
        token_ids: Vec<u32>,
        /// Adapter of the request.
        lora: Option<Lora>,
        /// Salt of the request, when the first of the blocks is the first of the prompt (only that block carries it).
        cache_salt: Option<Arc<str>>,
    },
    /// One block was taken for other content. Another block may still hold the same content.
    Removed {
        /// Its hash.
        hash: BlockHash,
    },
    /// The whole cache was dropped.
    Cleared,
}
