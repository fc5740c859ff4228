//! What do an engine's counters say about its cache and its life?

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use engine_api::metrics::EngineMetrics;
use kv_index::BLOCK_BYTES;

use crate::member::{HitSample, Member};

/// Length of the window of the published hit ratio.
pub(crate) const HIT_WINDOW: Duration = Duration::from_secs(60);

/// Spacing of the samples it is made of: 61 at most.
const HIT_SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Two start times closer than this are one process: the exposition rounds them.
const SAME_START_SECONDS: f64 = 1.0;

impl Member {
    /// A new process behind the same address: another start time, or a counter that went back.
    pub(crate) fn is_restart(&self, metrics: &EngineMetrics) -> bool {
        if let (Some(before), Some(after)) =
            (self.process_start_seconds, metrics.process_start_seconds)
        {
            return (after - before).abs() > SAME_START_SECONDS;
        }
        match (self.last_hits, metrics.prefix_queries_tokens) {
            (Some(last), Some(queries)) => queries < last.queries_tokens,
            _ => false,
        }
    }

    pub(crate) fn restarted(&mut self) {
        self.restarts += 1;
        self.hits.clear();
        self.first_hits = None;
        self.last_hits = None;
        self.process_start_seconds = None;
        self.capacity_blocks = 0;
        self.state.gauges.prefill_ms_per_token.set(0.0);
        *self.state.prefill_sums.lock() = (0.0, 0.0);
        self.state.gauges.decode_ms_per_token.set(0.0);
        self.state.gauges.unseen_prefill_until_us.store(0, Relaxed);
        self.state.forecast.restarted();
    }

    pub(crate) fn sample_hits(&mut self, metrics: &EngineMetrics, now: Duration) {
        let (Some(queries_tokens), Some(hits_tokens)) =
            (metrics.prefix_queries_tokens, metrics.prefix_hits_tokens)
        else {
            return;
        };
        let sample = HitSample {
            at: now,
            queries_tokens,
            hits_tokens,
        };
        self.first_hits.get_or_insert(sample);
        self.last_hits = Some(sample);
        if self
            .hits
            .back()
            .is_none_or(|last| now.saturating_sub(last.at) >= HIT_SAMPLE_EVERY)
        {
            self.hits.push_back(sample);
        }
        while self
            .hits
            .front()
            .is_some_and(|first| now.saturating_sub(first.at) > HIT_WINDOW)
        {
            self.hits.pop_front();
        }
    }

    /// Tokens found over tokens looked up in the last minute; `None` without look-ups.
    pub(crate) fn hit_ratio_window(&self) -> Option<f64> {
        let (first, last) = (self.hits.front()?, self.last_hits?);
        ratio(
            last.hits_tokens - first.hits_tokens,
            last.queries_tokens - first.queries_tokens,
        )
    }

    /// The same over the engine's life.
    pub(crate) fn hit_ratio_life(&self) -> Option<f64> {
        let last = self.last_hits?;
        ratio(last.hits_tokens, last.queries_tokens)
    }

    /// Tokens found since we first looked.
    pub(crate) fn counter_hit_tokens(&self) -> u64 {
        match (self.first_hits, self.last_hits) {
            (Some(first), Some(last)) => (last.hits_tokens - first.hits_tokens).max(0.0) as u64,
            _ => 0,
        }
    }

    /// Cache size in canonical blocks, when it moved by more than an eighth since the index was told.
    pub(crate) fn new_capacity(&mut self, bytes_per_token: f64) -> Option<u32> {
        let blocks = self.state.scrape.num_blocks.load(Relaxed);
        if blocks == 0 {
            return None;
        }
        let tokens = f64::from(blocks) * f64::from(self.state.block_size_tokens());
        let canonical = (tokens * bytes_per_token / BLOCK_BYTES as f64) as u32;
        let known = self.capacity_blocks;
        if known.abs_diff(canonical) <= known / 8 && known != 0 {
            return None;
        }
        self.capacity_blocks = canonical;
        Some(canonical.max(1))
    }
}

fn ratio(hits: f64, queries: f64) -> Option<f64> {
    (queries > 0.0).then(|| (hits / queries).clamp(0.0, 1.0))
}
