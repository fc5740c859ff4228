//! What does Triton call things, with TensorRT-LLM behind it and without?

use super::Dialect;

/// Triton with its TensorRT-LLM backend: one metric per subject, told apart by a label.
pub static TRITON_TENSORRT_LLM: Dialect = Dialect {
    name: "triton-tensorrt-llm",
    prefix: "nv_trt_llm_",
    model_label: "model",
    waiting: &["nv_trt_llm_request_metrics{request_type=waiting}"],
    running: &["nv_trt_llm_request_metrics{request_type=scheduled}"],
    kv_usage: &["nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=fraction}"],
    block_size: &["nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=tokens_per}"],
    num_blocks: &["nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=max}"],
    ..Dialect::SILENT
};

/// Triton alone.
pub static TRITON: Dialect = Dialect {
    name: "triton",
    prefix: "nv_inference_",
    model_label: "model",
    waiting: &["nv_inference_pending_request_count"],
    running: &["nv_inference_exec_count"],
    ..Dialect::SILENT
};
