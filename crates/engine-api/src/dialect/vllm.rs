//! What does vLLM call things?

use super::{CacheInfo, Dialect, LoraInfo};

/// vLLM, and what imitates it; names since 2024.
pub static VLLM: Dialect = Dialect {
    name: "vllm",
    prefix: "vllm:",
    waiting: &["vllm:num_requests_waiting"],
    running: &["vllm:num_requests_running"],
    kv_usage: &["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"],
    prefix_queries: &["vllm:prefix_cache_queries", "vllm:gpu_prefix_cache_queries"],
    prefix_hits: &["vllm:prefix_cache_hits", "vllm:gpu_prefix_cache_hits"],
    prompt_tokens: &["vllm:prompt_tokens"],
    generation_tokens: &["vllm:generation_tokens"],
    preemptions: &["vllm:num_preemptions"],
    awake: &["vllm:engine_sleep_state{sleep_state=awake}"],
    cache_info: Some(CacheInfo {
        metric: "vllm:cache_config_info",
        block_size_label: "block_size",
        num_blocks_label: "num_gpu_blocks",
        prefix_caching_label: Some("enable_prefix_caching"),
    }),
    lora_info: Some(LoraInfo {
        metric: "vllm:lora_requests_info",
        running_label: "running_lora_adapters",
        waiting_label: "waiting_lora_adapters",
        max_label: "max_lora",
    }),
    ..Dialect::SILENT
};
