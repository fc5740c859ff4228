//! What is counted live for one endpoint?

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use engine_api::metrics::EngineMetrics;

use crate::adapters::Adapters;
use crate::forecast::Forecast;

/// An `f64` behind an atomic.
#[derive(Debug, Default)]
pub(crate) struct AtomicF64(AtomicU64);

impl AtomicF64 {
    pub(crate) fn of(value: f64) -> Self {
        Self(AtomicU64::new(value.to_bits()))
    }

    pub(crate) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }

    pub(crate) fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }
}

/// Live counters and the last scrape's figures of one endpoint; shared by everyone who picks.
///
/// Ordering is relaxed throughout: each figure stands alone, and the one place where two must agree (the
/// count a pick was decided on) is a compare-and-swap.
#[derive(Debug, Default)]
pub struct SlotState {
    pub(crate) gauges: Gauges,
    /// Picks ever.
    pub(crate) picks: AtomicU64,
    /// Failures since the last success, before a first byte.
    pub(crate) consecutive_failures: AtomicU32,
    pub(crate) failures: AtomicU64,
    pub(crate) scrape: LastScrape,
    /// Faded sums of times to first byte, milliseconds, and of the tokens they were for.
    pub(crate) prefill_sums: Mutex<(f64, f64)>,
    pub(crate) forecast: Forecast,
    pub(crate) prediction: PredictionCounters,
}

/// Everything that a decision reads of an endpoint, in two cache lines: with a thousand endpoints the lines
/// touched are what a decision costs.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Gauges {
    /// Requests of ours in flight.
    pub(crate) active_requests: AtomicU64,
    /// Waiting requests of the last scrape less those of ours that were in flight when it was sent.
    pub(crate) waiting_of_others: AtomicI64,
    /// Context tokens (prompt and expected output) of our requests in flight.
    pub(crate) context_tokens: AtomicU64,
    /// The same when the last scrape was sent.
    pub(crate) scraped_context_tokens: AtomicU64,
    /// KV-cache use that the last scrape saw, 0..1.
    pub(crate) kv_usage: AtomicF64,
    /// Tokens that the KV cache holds; 0 while unknown.
    pub(crate) kv_tokens: AtomicF64,
    /// Uncached prompt tokens of requests in flight, until their end.
    pub(crate) active_tokens: AtomicU64,
    /// Uncached prompt tokens of streamed requests without a first byte.
    pub(crate) queued_tokens: AtomicU64,
    /// When the prefill of whole-body requests is expected to be over, microseconds since process start: their
    /// first byte comes only with their last token, so it cannot tell when their prefill ended.
    pub(crate) unseen_prefill_until_us: AtomicU64,
    /// Pick sequence number of the last pick; 0 for never.
    pub(crate) last_pick: AtomicU64,
    /// Learned milliseconds per uncached prompt token; 0 for not yet.
    pub(crate) prefill_ms_per_token: AtomicF64,
    /// Learned milliseconds per output token; 0 for not yet.
    pub(crate) decode_ms_per_token: AtomicF64,
    /// Running requests of the last scrape.
    pub(crate) running: AtomicU32,
    /// The engine's own; 0 while unknown.
    pub(crate) block_size_tokens: AtomicU32,
    /// 1 where the engine says that prefix caching is off.
    pub(crate) prefix_cache_off: AtomicU32,
}

/// What else the last good scrape said.
#[derive(Debug, Default)]
pub(crate) struct LastScrape {
    /// Microseconds since process start; 0 for never.
    pub(crate) at_us: AtomicU64,
    pub(crate) waiting: AtomicU32,
    pub(crate) num_blocks: AtomicU32,
    /// Adapters the engine names; empty where it names none.
    pub(crate) adapters: Mutex<Adapters>,
}

#[derive(Debug, Default)]
pub(crate) struct PredictionCounters {
    pub(crate) reported_requests: AtomicU64,
    pub(crate) predicted_tokens: AtomicU64,
    pub(crate) actual_tokens: AtomicU64,
    pub(crate) absolute_error_tokens: AtomicU64,
    pub(crate) exact_requests: AtomicU64,
    pub(crate) exact_equal_requests: AtomicU64,
    pub(crate) unreported_requests: AtomicU64,
    pub(crate) unreported_predicted_tokens: AtomicU64,
}

/// What of ours was in flight when a scrape was sent, so that what happened since can be told from what it saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrapeMark {
    pub active_requests: u64,
    pub context_tokens: u64,
}

/// Block size assumed until the engine has told its own: vLLM's default.
pub(crate) const DEFAULT_BLOCK_SIZE_TOKENS: u32 = 16;

/// Prefill cost assumed until one was measured, milliseconds per token (20,000 tokens/s).
pub(crate) const DEFAULT_PREFILL_MS_PER_TOKEN: f64 = 0.05;

impl SlotState {
    /// Requests of ours in flight.
    pub fn active_requests(&self) -> u64 {
        self.gauges.active_requests.load(Relaxed)
    }

    /// Picks ever.
    pub fn picks(&self) -> u64 {
        self.picks.load(Relaxed)
    }

    /// When the last good scrape ended; `None` before the first.
    pub fn scraped_at(&self) -> Option<Duration> {
        match self.scrape.at_us.load(Relaxed) {
            0 => None,
            us => Some(Duration::from_micros(us)),
        }
    }

    pub fn block_size_tokens(&self) -> u32 {
        self.gauges.block_size_tokens()
    }

    pub(crate) fn mark(&self) -> ScrapeMark {
        ScrapeMark {
            active_requests: self.gauges.active_requests.load(Relaxed),
            context_tokens: self.gauges.context_tokens.load(Relaxed),
        }
    }

    pub(crate) fn store_scrape(&self, mark: ScrapeMark, metrics: &EngineMetrics, now: Duration) {
        let (gauges, last) = (&self.gauges, &self.scrape);
        let waiting = metrics.waiting.unwrap_or(0);
        last.waiting.store(waiting, Relaxed);
        let ours = i64::try_from(mark.active_requests).unwrap_or(i64::MAX);
        gauges
            .waiting_of_others
            .store(i64::from(waiting) - ours, Relaxed);
        gauges
            .scraped_context_tokens
            .store(mark.context_tokens, Relaxed);
        gauges.running.store(metrics.running.unwrap_or(0), Relaxed);
        gauges
            .kv_usage
            .set(metrics.kv_usage.unwrap_or(0.0).clamp(0.0, 1.0));
        if let Some(size) = metrics.block_size_tokens {
            gauges.block_size_tokens.store(size, Relaxed);
        }
        if let Some(blocks) = metrics.num_blocks {
            last.num_blocks.store(blocks, Relaxed);
        }
        let blocks = f64::from(last.num_blocks.load(Relaxed));
        let block_tokens = f64::from(gauges.block_size_tokens());
        gauges.kv_tokens.set(blocks * block_tokens);
        if let Some(on) = metrics.prefix_caching_enabled {
            gauges.prefix_cache_off.store(u32::from(!on), Relaxed);
        }
        last.adapters.lock().set(metrics);
        last.at_us.store(micros(now).max(1), Relaxed);
    }

    /// Uncached prompt tokens that are expected to be computed before a new request's; `now_us` is [`micros`] of now.
    /// What is queued, less what is done already of the first: one long prompt that is nearly over is no long queue.
    pub(crate) fn tokens_ahead(&self, now_us: u64) -> f64 {
        let queued = self.gauges.queued_tokens(now_us);
        if queued == 0.0 {
            return 0.0;
        }
        (queued - self.forecast.done_tokens(now_us)).max(0.0)
    }

    /// Adds a whole-body request's expected prefill to the time at which the engine has worked them all off.
    pub(crate) fn add_unseen_prefill(&self, uncached_tokens: u32, now: Duration) {
        let ms = f64::from(uncached_tokens) * self.gauges.prefill_ms_per_token();
        let cost_us = (ms * 1_000.0) as u64;
        // The closure always returns a value, so the update cannot fail.
        let _ = self
            .gauges
            .unseen_prefill_until_us
            .fetch_update(Relaxed, Relaxed, |until| {
                Some(until.max(micros(now)) + cost_us)
            });
    }

    /// Takes from a counter without ever wrapping below zero.
    pub(crate) fn give_back(counter: &AtomicU64, amount: u64) {
        // The closure always returns a value, so the update cannot fail.
        let _ = counter.fetch_update(Relaxed, Relaxed, |held| Some(held.saturating_sub(amount)));
    }
}

impl Gauges {
    pub(crate) fn block_size_tokens(&self) -> u32 {
        match self.block_size_tokens.load(Relaxed) {
            0 => DEFAULT_BLOCK_SIZE_TOKENS,
            size => size,
        }
    }

    /// Waiting requests now: what the last scrape said, plus our picks and minus our ends since it was sent.
    pub(crate) fn queue_requests(&self) -> f64 {
        let ours = self.active_requests.load(Relaxed) as i64;
        let waiting = self.waiting_of_others.load(Relaxed).saturating_add(ours);
        waiting.max(0) as f64
    }

    /// KV-cache use now, 0..1: the scrape's, corrected by the context tokens that we started and ended since.
    pub(crate) fn kv_usage(&self) -> f64 {
        let scraped = self.kv_usage.get();
        let kv_tokens = self.kv_tokens.get();
        if kv_tokens <= 0.0 {
            return scraped;
        }
        let now = self.context_tokens.load(Relaxed) as f64;
        let then = self.scraped_context_tokens.load(Relaxed) as f64;
        (scraped + (now - then) / kv_tokens).clamp(0.0, 1.0)
    }

    /// Learned or assumed; never 0.
    pub(crate) fn prefill_ms_per_token(&self) -> f64 {
        match self.prefill_ms_per_token.get() {
            0.0 => DEFAULT_PREFILL_MS_PER_TOKEN,
            learned => learned,
        }
    }

    /// Uncached prompt tokens of requests without a first byte; `now_us` is [`micros`] of now.
    pub(crate) fn queued_tokens(&self, now_us: u64) -> f64 {
        let seen_tokens = self.queued_tokens.load(Relaxed) as f64;
        let until_us = self.unseen_prefill_until_us.load(Relaxed);
        let unseen_us = until_us.saturating_sub(now_us);
        if unseen_us == 0 {
            return seen_tokens;
        }
        seen_tokens + unseen_us as f64 / 1_000.0 / self.prefill_ms_per_token()
    }
}

pub(crate) fn micros(at: Duration) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(u64::MAX)
}
