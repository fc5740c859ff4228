//! Which parameters of exact prefix matching are honoured?
//!
//! `precise-prefix-cache-producer` and the older `precise-prefix-cache-scorer` take the same ones. Where events
//! come from and who turns prompts into tokens are settings of the pool (`kv_events`, `tokenizer`): endpoints whose
//! events are complete are matched by what they hold, the others by what they were sent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ParamError;
use super::params::Params;
use super::wiring::{PrefixWiring, Wiring};

/// Parameters of the field that are not honoured, with the reason.
pub(crate) const REFUSED: &[(&str, &str)] = &[
    (
        "kvEventsConfig",
        "where cache events come from is the pool's `kv_events` in prefixgate.yaml",
    ),
    (
        "indexerConfig",
        "one index is built in, and engines report how much they hold",
    ),
    (
        "speculativeTTL",
        "what was sent counts until the engine's own word on it arrives",
    ),
];

/// Parameters of `precise-prefix-cache-producer` and `precise-prefix-cache-scorer`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Precise {
    pub(crate) token_processor_config: TokenProcessor,
    /// Count what was sent before the engine tells of it. Always so: only `true` is accepted.
    pub(crate) speculative_indexing: bool,
}

/// How prompts are cut into blocks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct TokenProcessor {
    /// Tokens a block where the endpoint reports none.
    pub(crate) block_size_tokens: u32,
    /// Blocks are known by the engines' own hashes, whatever their seed: only the empty one is accepted.
    pub(crate) hash_seed: String,
}

impl Default for TokenProcessor {
    fn default() -> Self {
        Self {
            block_size_tokens: PrefixWiring::default().block_size_tokens,
            hash_seed: String::new(),
        }
    }
}

impl Default for Precise {
    fn default() -> Self {
        Self {
            token_processor_config: TokenProcessor::default(),
            speculative_indexing: true,
        }
    }
}

impl Params for Precise {}

pub(crate) fn precise(params: &Precise, wiring: &mut Wiring) -> Result<(), ParamError> {
    let processor = &params.token_processor_config;
    if processor.block_size_tokens == 0 {
        let message = "`blockSizeTokens` must be 1 or more";
        return Err(ParamError::new("tokenProcessorConfig", message));
    }
    if !processor.hash_seed.is_empty() {
        let message = "`hashSeed` is not honoured: blocks are known by the engines' own hashes, whatever their seed; remove it";
        return Err(ParamError::new("tokenProcessorConfig", message));
    }
    if !params.speculative_indexing {
        let message = "not honoured: what was sent always counts until the engine's own word arrives; remove it";
        return Err(ParamError::new("speculativeIndexing", message));
    }
    wiring.prefix.block_size_tokens = processor.block_size_tokens;
    Ok(())
}
