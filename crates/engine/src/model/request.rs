//! What does a caller ask of the engine?

use std::fmt;
use std::sync::Arc;

/// Name of a request inside one engine; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One sequence to generate. A prompt list or `n > 1` is several of these.
#[derive(Debug, Clone)]
pub struct Request {
    /// Token ids of the prompt; at least one.
    pub prompt: Arc<[u32]>,
    /// Tokens to generate at most; at least one.
    pub max_tokens: usize,
    /// Keeps cached blocks apart: only equal salts share.
    pub cache_salt: Option<Arc<str>>,
    /// Adapter; only requests of the same adapter share blocks.
    pub lora: Option<Lora>,
    /// Compute the whole prompt even where it is cached (prompt log-probabilities need it).
    pub skip_cache_read: bool,
    /// Leading prompt tokens whose keys and values come from outside (a KV connector): they take blocks like any
    /// others and are not computed. Only what the engine's own cache lacks of them is taken, in whole blocks, and one
    /// token at least is always computed.
    pub external_cached_tokens: usize,
    /// How its tokens are chosen.
    pub generation: Generation,
}

impl Request {
    /// A request with nothing special: filler text, run to `max_tokens`.
    #[must_use]
    pub fn new(prompt: impl Into<Arc<[u32]>>, max_tokens: usize) -> Self {
        Self {
            prompt: prompt.into(),
            max_tokens,
            cache_salt: None,
            lora: None,
            skip_cache_read: false,
            external_cached_tokens: 0,
            generation: Generation::default(),
        }
    }
}

/// A low-rank adapter, as far as the cache is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lora {
    /// Served name.
    pub name: Arc<str>,
    /// Where it was loaded from.
    pub path: Arc<str>,
    /// Number that events carry beside the name, from 1 in order of loading.
    pub id: u32,
}

/// How the tokens of one request are chosen and when they end.
#[derive(Debug, Clone, Default)]
pub struct Generation {
    /// Which text a simulated backend writes.
    pub text: Text,
    /// Sampling seed of the request. `None`: derived from the prompt, so equal prompts give equal text.
    pub seed: Option<u64>,
    /// A sampled token out of these ends the request with `stop`, once `min_tokens` are out. Empty for `ignore_eos`.
    pub stop_token_ids: Arc<[u32]>,
    /// Tokens before which a stop token does not end the request.
    pub min_tokens: usize,
    /// Filler only: after this many tokens a simulated backend samples the first of `stop_token_ids`.
    /// `None`: it never does, and the request runs to `max_tokens`.
    pub natural_tokens: Option<usize>,
}

/// Which text a simulated backend writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Text {
    /// Deterministic filler from the backend's vocabulary.
    #[default]
    Filler,
    /// The prompt again, then the first stop token (or the prompt once more, where there is none).
    Echo,
}

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// No prompt token.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// Nothing to generate.
    #[error("max_tokens must be at least 1")]
    NoTokensAsked,
    /// The prompt leaves no room for one token of output.
    #[error(
        "the prompt has {prompt_tokens} tokens, the maximum model length is {max_model_len_tokens} with at least one output token"
    )]
    PromptTooLong {
        /// Length of the prompt.
        prompt_tokens: usize,
        /// The limit.
        max_model_len_tokens: usize,
    },
    /// `max_num_queued_reqs` requests wait already.
    #[error("{limit} requests are waiting already")]
    TooManyQueuedRequests {
        /// The limit.
        limit: usize,
    },
    /// The prompts waiting, with this one, exceed `max_num_queued_tokens`.
    #[error("more than {limit} prompt tokens would be waiting")]
    TooManyQueuedTokens {
        /// The limit.
        limit: usize,
    },
}
