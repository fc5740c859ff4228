//! What does each engine call things?
//!
//! One file per engine, data only. A metric is named as `name` or `name{label=value}`; the `_total` that counters
//! end in is left out.

mod sglang;
mod triton;
mod trtllm;
mod vllm;

pub use sglang::SGLANG;
pub use triton::{TRITON, TRITON_TENSORRT_LLM};
pub use trtllm::TRTLLM_SERVE;
pub use vllm::VLLM;

/// An engine's wire habits, as data.
#[derive(Debug)]
pub struct Dialect {
    pub name: &'static str,
    /// How the names of this engine's own metrics begin.
    pub prefix: &'static str,
    /// Labels naming the data-parallel rank and the model of a series.
    pub rank_label: &'static str,
    pub model_label: &'static str,
    /// Candidate metric names, first present wins.
    pub waiting: &'static [&'static str],
    pub running: &'static [&'static str],
    pub kv_usage: &'static [&'static str],
    pub prefix_queries: &'static [&'static str],
    pub prefix_hits: &'static [&'static str],
    pub prompt_tokens: &'static [&'static str],
    pub generation_tokens: &'static [&'static str],
    pub preemptions: &'static [&'static str],
    /// Gauges whose value is the block size in tokens, the number of blocks.
    pub block_size: &'static [&'static str],
    pub num_blocks: &'static [&'static str],
    /// Gauge that is 1 while the engine is awake.
    pub awake: &'static [&'static str],
    /// Info gauge and its labels for block size and block count.
    pub cache_info: Option<CacheInfo>,
    /// Info gauge of LoRA adapters; of several series the one with the newest value counts.
    pub lora_info: Option<LoraInfo>,
}

/// An info gauge that describes the KV cache in its labels.
#[derive(Debug)]
pub struct CacheInfo {
    pub metric: &'static str,
    pub block_size_label: &'static str,
    pub num_blocks_label: &'static str,
    /// Label that says whether prefixes are cached, where there is one.
    pub prefix_caching_label: Option<&'static str>,
}

/// An info gauge that lists LoRA adapters in its labels; its value is the time it was written.
#[derive(Debug)]
pub struct LoraInfo {
    pub metric: &'static str,
    pub running_label: &'static str,
    pub waiting_label: &'static str,
    pub max_label: &'static str,
}

impl Dialect {
    /// A dialect that says nothing, to fill in from.
    pub const SILENT: Self = Self {
        name: "",
        prefix: "",
        rank_label: "engine",
        model_label: "model_name",
        waiting: &[],
        running: &[],
        kv_usage: &[],
        prefix_queries: &[],
        prefix_hits: &[],
        prompt_tokens: &[],
        generation_tokens: &[],
        preemptions: &[],
        block_size: &[],
        num_blocks: &[],
        awake: &[],
        cache_info: None,
        lora_info: None,
    };
}

/// All known dialects; where the metrics of one page fit two, the earlier is the more telling.
pub static ALL: &[&Dialect] = &[&VLLM, &SGLANG, &TRTLLM_SERVE, &TRITON_TENSORRT_LLM, &TRITON];

/// The dialect called `name`.
pub fn by_name(name: &str) -> Option<&'static Dialect> {
    ALL.iter().copied().find(|dialect| dialect.name == name)
}
