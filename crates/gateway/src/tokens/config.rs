//! Who turns a pool's prompts into tokens?

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const DEFAULT_CACHE_MAX_BYTES: usize = 64 << 20;
const DEFAULT_TIMEOUT_MS: u64 = 2_000;
const DEFAULT_MAX_CONCURRENT: usize = 4;
const DEFAULT_MAX_WAITING: usize = 256;

/// The tokenizer of a pool's model. Tokens are needed where engines tell what they hold (`kv_events`); a prompt whose
/// tokens are not known is routed by history. Of `dir`, `hub` and `builtin` at most one is set; with none, engines are
/// asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TokenizerConfig {
    /// Directory with `tokenizer.json`, `tokenizer_config.json` and, where the model has one, `chat_template.jinja`.
    pub dir: Option<PathBuf>,
    /// Model name whose files are in the hub's cache (`HF_HUB_CACHE`, or `hub` below `HF_HOME`, or
    /// `~/.cache/huggingface/hub`). Nothing is fetched.
    pub hub: Option<String>,
    /// Branch or commit of the model in the hub's cache.
    pub revision: String,
    /// The tokenizer of `prefixgate engine`, for pools of such engines.
    pub builtin: bool,
    /// Whether one engine is asked for a prompt's tokens (`/v1/…/render`, else `/tokenize`) where none of the above is
    /// set.
    pub ask_engine: bool,
    /// Memory for tokens that are remembered, bytes.
    pub cache_max_bytes: usize,
    /// Longest that a request waits for its tokens, milliseconds; then it is routed by history.
    pub timeout_ms: u64,
    /// Prompts tokenized at once.
    pub max_concurrent: usize,
    /// Prompts that may wait for it; further ones are routed by history.
    pub max_waiting: usize,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self {
            dir: None,
            hub: None,
            revision: "main".to_owned(),
            builtin: false,
            ask_engine: true,
            cache_max_bytes: DEFAULT_CACHE_MAX_BYTES,
            timeout_ms: DEFAULT_TIMEOUT_MS,
            max_concurrent: DEFAULT_MAX_CONCURRENT,
            max_waiting: DEFAULT_MAX_WAITING,
        }
    }
}

/// Why a tokenizer cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    #[error("`tokenizer`: only one of `dir`, `hub` and `builtin` may be set")]
    Several,
    #[error("`tokenizer.{0}` must be at least 1")]
    Zero(&'static str),
    #[error("`tokenizer.hub`: {0}")]
    Hub(#[from] tokenize::hub::HubError),
    #[error("`tokenizer`: {0}")]
    Load(#[from] tokenize::LoadError),
}

impl TokenizerConfig {
    /// Finds every mistake that can be found without reading files.
    ///
    /// # Errors
    /// The first one, naming the key.
    pub fn check(&self) -> Result<(), TokenizerError> {
        let sources = [self.dir.is_some(), self.hub.is_some(), self.builtin];
        if sources.iter().filter(|set| **set).count() > 1 {
            return Err(TokenizerError::Several);
        }
        for (key, value) in [
            ("timeout_ms", self.timeout_ms),
            ("max_concurrent", self.max_concurrent as u64),
        ] {
            if value == 0 {
                return Err(TokenizerError::Zero(key));
            }
        }
        Ok(())
    }
}
