//! What does `/metrics` say?
//!
//! [`Stats`] is what is counted, beside the batch model's own counters; [`page`] writes it as text. The names,
//! labels and buckets are vLLM's.

mod histogram;
mod http;
mod page;

pub(crate) use histogram::Histogram;
pub(crate) use http::{HttpStats, Served};
pub(crate) use page::write_page;

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{FinishReason, RequestTimings, Snapshot};

const TTFT_S: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
];
const TOKEN_S: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
    40.0, 80.0,
];
const REQUEST_S: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
];
const ITERATION_TOKENS: &[f64] = &[
    1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0,
];
const STEP_LAG_S: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0];
const PARAMS_N: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0];
const PREEMPTIONS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0];

/// Requests over which the logged hit rate is taken.
const HIT_RATE_REQUESTS: usize = 1000;

/// What the shell counts. One lock, taken once per step and once per scrape.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) snapshot: Snapshot,
    pub(crate) asleep: bool,
    /// Requests that a stop string ended; the model does not know of them.
    pub(crate) stopped: u64,
    pub(crate) ttft: Histogram,
    pub(crate) inter_token: Histogram,
    pub(crate) per_output_token: Histogram,
    pub(crate) e2e: Histogram,
    pub(crate) queue: Histogram,
    pub(crate) inference: Histogram,
    pub(crate) prefill: Histogram,
    pub(crate) decode: Histogram,
    pub(crate) iteration_tokens: Histogram,
    /// From the end of a step in the model to its delivery here: how late this machine is.
    pub(crate) step_lag: Histogram,
    pub(crate) prompt_tokens: Histogram,
    pub(crate) generation_tokens: Histogram,
    pub(crate) max_generation_tokens: Histogram,
    pub(crate) params_max_tokens: Histogram,
    pub(crate) computed_tokens: Histogram,
    pub(crate) params_n: Histogram,
    pub(crate) preemptions: Histogram,
    /// Adapter names of running and of waiting requests, each once.
    pub(crate) running_loras: Vec<String>,
    pub(crate) waiting_loras: Vec<String>,
    recent_lookups: VecDeque<(usize, usize)>,
}

/// What one finished request asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) max_tokens: usize,
    pub(crate) n: usize,
}

impl Stats {
    pub(crate) fn new(snapshot: Snapshot, max_model_len: usize) -> Self {
        let lengths = || Histogram::new(histogram::one_two_five(max_model_len));
        let of = |bounds: &[f64]| Histogram::new(bounds.to_vec());
        Self {
            snapshot,
            asleep: false,
            stopped: 0,
            ttft: of(TTFT_S),
            inter_token: of(TOKEN_S),
            per_output_token: of(TOKEN_S),
            e2e: of(REQUEST_S),
            queue: of(REQUEST_S),
            inference: of(REQUEST_S),
            prefill: of(REQUEST_S),
            decode: of(REQUEST_S),
            iteration_tokens: of(ITERATION_TOKENS),
            step_lag: of(STEP_LAG_S),
            prompt_tokens: lengths(),
            generation_tokens: lengths(),
            max_generation_tokens: lengths(),
            params_max_tokens: lengths(),
            computed_tokens: lengths(),
            params_n: of(PARAMS_N),
            preemptions: of(PREEMPTIONS),
            running_loras: Vec::new(),
            waiting_loras: Vec::new(),
            recent_lookups: VecDeque::new(),
        }
    }

    /// A request was admitted for the first time.
    pub(crate) fn looked_up(&mut self, prompt_tokens: usize, cached_tokens: usize) {
        if self.recent_lookups.len() >= HIT_RATE_REQUESTS {
            self.recent_lookups.pop_front();
        }
        self.recent_lookups
            .push_back((prompt_tokens, cached_tokens));
    }

    /// Cached share of the prompt tokens of the last 1,000 requests, percent.
    pub(crate) fn hit_rate_percent(&self) -> f64 {
        let (queries, hits) = self
            .recent_lookups
            .iter()
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        if queries == 0 {
            0.0
        } else {
            100.0 * hits as f64 / queries as f64
        }
    }

    /// One token, `gap` after the one before; on the first one `since_arrival` counts.
    pub(crate) fn token(&mut self, gap: Option<Duration>, since_arrival: Duration) {
        match gap {
            Some(gap) => self.inter_token.observe(gap.as_secs_f64()),
            None => self.ttft.observe(since_arrival.as_secs_f64()),
        }
    }

    /// A request ended with an answer.
    pub(crate) fn finished(&mut self, timings: &RequestTimings, asked: Asked) {
        self.e2e.observe(timings.e2e().as_secs_f64());
        self.queue.observe(timings.queue().as_secs_f64());
        self.inference.observe(timings.inference().as_secs_f64());
        self.prefill.observe(timings.prefill().as_secs_f64());
        self.decode.observe(timings.decode().as_secs_f64());
        if let Some(mean) = timings.time_per_output_token() {
            self.per_output_token.observe(mean.as_secs_f64());
        }
        self.prompt_tokens.observe(timings.prompt_tokens as f64);
        self.generation_tokens.observe(timings.output_tokens as f64);
        self.max_generation_tokens
            .observe(timings.output_tokens as f64);
        self.params_max_tokens.observe(asked.max_tokens as f64);
        self.computed_tokens
            .observe(timings.prompt_tokens.saturating_sub(timings.cached_tokens) as f64);
        self.params_n.observe(asked.n as f64);
        self.preemptions.observe(f64::from(timings.preemptions));
    }

    pub(crate) fn succeeded(&self, reason: FinishReason) -> u64 {
        let by_shell = if reason == FinishReason::Stop {
            self.stopped
        } else {
            0
        };
        self.snapshot.counters.finished_by(reason) + by_shell
    }
}
