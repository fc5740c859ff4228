//! What does TensorRT-LLM's own server call things?

use super::Dialect;

/// `trtllm-serve`.
pub static TRTLLM_SERVE: Dialect = Dialect {
    name: "trtllm-serve",
    prefix: "trtllm_",
    waiting: &["trtllm_num_requests_waiting"],
    running: &["trtllm_num_requests_running"],
    kv_usage: &["trtllm_kv_cache_utilization"],
    block_size: &["trtllm_kv_cache_tokens_per_block"],
    num_blocks: &["trtllm_kv_cache_max_blocks"],
    ..Dialect::SILENT
};
