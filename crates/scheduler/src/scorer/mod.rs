//! How good is each candidate, by one measure?

pub(crate) mod active_request;
pub(crate) mod context_length;
pub(crate) mod endpoint_attribute;
pub(crate) mod header_label;
pub(crate) mod kv_cache;
pub(crate) mod latency;
pub(crate) mod latency_cost;
pub(crate) mod load_aware;
pub(crate) mod lora_affinity;
pub(crate) mod no_hit_lru;
pub(crate) mod prefix_cache;
pub(crate) mod queue;
pub(crate) mod running_requests;
pub(crate) mod session_affinity;
mod sessions;
pub(crate) mod token_load;

use crate::numbers::{kept_range, load, unit};

/// Units of raw figures, as reasons show them.
pub(crate) mod units {
    pub(crate) const CACHED_TOKENS: &str = "cached tokens";
    pub(crate) const WAITING: &str = "waiting requests";
    pub(crate) const RUNNING: &str = "running requests";
    pub(crate) const KV_SHARE: &str = "of the KV cache";
    pub(crate) const IN_FLIGHT: &str = "requests in flight";
    pub(crate) const LOAD_TOKENS: &str = "tokens to prefill";
    pub(crate) const LAST_COLD: &str = "th cold request ago";
    pub(crate) const COST_MS: &str = "ms expected";
    pub(crate) const TTFT_MS: &str = "ms to the first token expected";
    pub(crate) const ADAPTER: &str = "adapter here";
    pub(crate) const ATTRIBUTE: &str = "as measured";
    pub(crate) const CONTEXT: &str = "context length fits";
    pub(crate) const LABEL: &str = "label fits";
    pub(crate) const SESSION: &str = "session here";
}

/// 1 for the smallest load among kept rows, 0 for the largest, linear between; all equal gives 1.
fn lowest_is_best(column: &[f32], keep: &[bool], out: &mut [f32]) {
    let (low, high) = kept_range(column, keep);
    let spread = high - low;
    // Also false when no row is kept and the range is inverted.
    if spread > 0.0 {
        let per_unit = 1.0 / spread;
        for (score, value) in out.iter_mut().zip(column) {
            *score = unit((high - load(*value)) * per_unit);
        }
    } else {
        out.fill(1.0);
    }
}
