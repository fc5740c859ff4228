//! What does SGLang call things?

use super::{CacheInfo, Dialect};

/// SGLang; pages are its blocks.
pub static SGLANG: Dialect = Dialect {
    name: "sglang",
    prefix: "sglang:",
    rank_label: "dp_rank",
    waiting: &["sglang:num_queue_reqs"],
    running: &["sglang:num_running_reqs"],
    kv_usage: &["sglang:token_usage"],
    prefix_queries: &["sglang:prompt_tokens"],
    prefix_hits: &["sglang:cached_tokens"],
    prompt_tokens: &["sglang:prompt_tokens"],
    generation_tokens: &["sglang:generation_tokens"],
    cache_info: Some(CacheInfo {
        metric: "sglang:cache_config_info",
        block_size_label: "page_size",
        num_blocks_label: "num_pages",
        prefix_caching_label: None,
    }),
    ..Dialect::SILENT
};
