//! How long is an endpoint's prefill queue, in milliseconds, how long does a prompt take there, and how long a token?
//!
//! Each endpoint has a clock of its own: the moment at which all prefills sent to it are expected to be done. A pick moves
//! it on by what its prompt is expected to take; every first byte says how far off it was and sets it right. Between two
//! pieces of news it runs down by itself, so an estimate does not freeze when news is late or lost.
//!
//! What a prompt takes is fitted to observed times to first byte, `c + a * tokens + b * pairs` with `tokens` the uncached
//! tokens and `pairs` the (new token, context token) pairs that attention looks at; what a token takes is fitted to
//! observed times per output token, `c + d * context` with `context` the tokens of all requests there. The constant `c` of
//! the first is whatever comes on top of every answer (hops, late news): it is told apart so that rates are not taken for
//! slow when only news is. Fits are ridge regressions by faded normal equations, weighted to relative errors; an endpoint's
//! own fit leans on that of the whole pool until it has seen enough.

mod fit;

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;

use crate::slot_state::{AtomicF64, DEFAULT_PREFILL_MS_PER_TOKEN};
use fit::Fit;

/// Pairs cost this share of a token each until it is learned: a model of some billion parameters.
const DEFAULT_PAIR_SHARE: f64 = 4e-5;

/// Milliseconds an output token takes until it is learned.
const DEFAULT_TOKEN_MS: f64 = 10.0;

/// Units of the fitted figures, so that all are about 1 in size.
const LATENCY_UNIT_MS: f64 = 20.0;
const CONTEXT_UNIT_TOKENS: f64 = 100_000.0;

/// Errors are weighed relative to the expected time plus this.
const SLACK_MS: f64 = 20.0;

/// Observations in which the past fades by 1/e.
const MEMORY: f64 = 200.0;

/// The pool's fit counts as so many observations of an endpoint.
const POOL_OBSERVATIONS: f64 = 2.0;

/// How firmly the pool's own fit holds on to the values assumed at the beginning.
const PRIOR_OBSERVATIONS: f64 = 0.05;

/// First bytes over which their usual lateness is averaged.
const LATE_MEMORY: f64 = 64.0;

/// What prefill costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Work {
    tokens: f64,
    pairs: f64,
}

impl Work {
    /// Of a prompt of which a beginning is cached.
    pub(crate) fn of(prompt_tokens: f64, cached_tokens: f64) -> Self {
        let tokens = (prompt_tokens - cached_tokens).max(1.0);
        Self {
            tokens,
            pairs: tokens * cached_tokens + tokens * tokens / 2.0,
        }
    }

    fn features(&self) -> [f64; 3] {
        [
            1.0,
            self.tokens * DEFAULT_PREFILL_MS_PER_TOKEN,
            self.pairs * DEFAULT_PREFILL_MS_PER_TOKEN * DEFAULT_PAIR_SHARE,
        ]
    }
}

/// Fitted rates in force: multiples of the assumed ones.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rates {
    latency: f64,
    tokens: f64,
    pairs: f64,
}

impl Rates {
    const ASSUMED: Self = Self {
        latency: 0.0,
        tokens: 1.0,
        pairs: 1.0,
    };

    fn of([latency, tokens, pairs]: [f64; 3]) -> Self {
        Self {
            latency: latency.max(0.0),
            tokens,
            pairs,
        }
    }

    fn ms(&self, work: &Work) -> f64 {
        let [_, tokens, pairs] = work.features();
        self.tokens * tokens + self.pairs * pairs
    }
}

/// One endpoint's clock and fits.
#[derive(Debug)]
pub(crate) struct Forecast {
    lane: Mutex<Lane>,
}

#[derive(Debug)]
struct Lane {
    /// All prefills sent are expected to be done, microseconds since process start.
    free_us: f64,
    /// Sum of all corrections of the clock so far.
    shift_us: f64,
    /// Requests without a first byte: name and expected end of prefill, corrections before their pick taken off.
    open: VecDeque<(u64, f64)>,
    /// Context tokens of all our requests there.
    context_tokens: u64,
    next_name: u64,
    prefill: Fit<3>,
    decode: Fit<2>,
    rates: Rates,
    /// Milliseconds per output token, and what a context token adds.
    token_ms: [f64; 2],
}

impl Default for Forecast {
    fn default() -> Self {
        Self {
            lane: Mutex::new(Lane {
                free_us: 0.0,
                shift_us: 0.0,
                open: VecDeque::new(),
                context_tokens: 0,
                next_name: 0,
                prefill: Fit::default(),
                decode: Fit::default(),
                rates: Rates::ASSUMED,
                token_ms: [DEFAULT_TOKEN_MS, 0.0],
            }),
        }
    }
}

/// What one request is expected to take, from pick to first byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Booked {
    name: u64,
    work: Work,
    wait_ms: f64,
    prefill_ms: f64,
    context_tokens: u64,
    /// Context tokens there when its first byte came.
    context_at_first_byte: Option<u64>,
}

/// What is learned over all endpoints of a pool.
#[derive(Debug)]
pub(crate) struct PoolRates {
    prefill: Mutex<(Fit<3>, [f64; 3])>,
    decode: Mutex<(Fit<2>, [f64; 2])>,
    /// Usual time of a first byte beyond what was expected, microseconds; 0 for not yet.
    late_us: AtomicF64,
}

impl Default for PoolRates {
    fn default() -> Self {
        Self {
            prefill: Mutex::new((Fit::default(), [0.0, 1.0, 1.0])),
            decode: Mutex::new((Fit::default(), [1.0, 0.0])),
            late_us: AtomicF64::default(),
        }
    }
}

impl PoolRates {
    fn late_us(&self) -> f64 {
        self.late_us.get().max(0.0)
    }

    /// A first byte came so much later than expected. Two at once may lose one: it is an average.
    fn was_late(&self, us: f64) {
        let known = self.late_us.get();
        self.late_us.set(match known {
            0.0 => us,
            known => known + (us - known) / LATE_MEMORY,
        });
    }
}

impl Lane {
    /// Nothing is expected to be later than this without a first byte having been heard.
    fn overdue_us(&self, now_us: f64, late_us: f64) -> f64 {
        self.open.front().map_or(0.0, |(_, done_us)| {
            (now_us - (done_us + self.shift_us) - late_us).max(0.0)
        })
    }

    fn wait_us(&self, now_us: f64, late_us: f64) -> f64 {
        (self.free_us + self.overdue_us(now_us, late_us) - now_us).max(0.0)
    }
}

impl Forecast {
    /// What a request of this size is to expect here.
    pub(crate) fn expected(
        &self,
        pool: &PoolRates,
        work: &Work,
        context_tokens: f64,
        now: Duration,
    ) -> scheduler::Forecast {
        let lane = self.lane.lock();
        let [base, per_context] = lane.token_ms;
        scheduler::Forecast {
            wait_ms: (lane.wait_us(micros(now), pool.late_us()) / 1e3) as f32,
            prefill_ms: lane.rates.ms(work) as f32,
            token_ms: (base + per_context * (lane.context_tokens as f64 + context_tokens)) as f32,
            crowd_ms: (per_context * context_tokens) as f32,
            waiting: lane.open.len() as f32,
        }
    }

    /// A request goes there.
    pub(crate) fn picked(&self, pool: &PoolRates, work: Work, context_tokens: u64, now: Duration) -> Booked {
        let mut lane = self.lane.lock();
        let now_us = micros(now);
        let wait_us = lane.wait_us(now_us, pool.late_us());
        let prefill_ms = lane.rates.ms(&work);
        lane.free_us = now_us.max(lane.free_us) + prefill_ms * 1e3;
        lane.context_tokens += context_tokens;
        let name = lane.next_name;
        lane.next_name += 1;
        let done_us = lane.free_us - lane.shift_us;
        lane.open.push_back((name, done_us));
        Booked {
            name,
            work,
            wait_ms: wait_us / 1e3,
            prefill_ms,
            context_tokens,
            context_at_first_byte: None,
        }
    }

    /// Its first byte is here: sets the clock right and learns. `streamed` is false where the first byte comes with the
    /// last: it tells nothing of prefill then.
    pub(crate) fn first_byte(
        &self,
        pool: &PoolRates,
        booked: &mut Booked,
        streamed: bool,
        ttft: Duration,
        now: Duration,
    ) {
        let mut lane = self.lane.lock();
        booked.context_at_first_byte = Some(lane.context_tokens);
        let Some(done_us) = lane.close(booked.name) else {
            return;
        };
        if !streamed {
            return;
        }
        let late_us = micros(now) - (done_us + lane.shift_us);
        pool.was_late(late_us);
        // Prefills are done one after the other: those behind this one are as late as it is.
        let surprise_us = late_us - pool.late_us();
        lane.shift_us += surprise_us;
        lane.free_us += surprise_us;
        if lane.open.is_empty() {
            lane.free_us = lane.free_us.min(micros(now));
        }
        let took_ms = ttft.as_secs_f64() * 1e3 - booked.wait_ms;
        // A long wait says more of others than of this one.
        let alone = booked.prefill_ms / (booked.prefill_ms + booked.wait_ms).max(1e-3);
        let weight = alone / (booked.prefill_ms + SLACK_MS).powi(2);
        let mut features = booked.work.features();
        features[0] = LATENCY_UNIT_MS;
        lane.prefill.add(features, took_ms, weight, MEMORY);
        let pooled = {
            let mut both = pool.prefill.lock();
            both.0.add(features, took_ms, weight, MEMORY * 4.0);
            both.1 = both.0.solve([0.0, 1.0, 1.0], [PRIOR_OBSERVATIONS / 1e3, PRIOR_OBSERVATIONS, PRIOR_OBSERVATIONS * 10.0]);
            both.1
        };
        let lean = [POOL_OBSERVATIONS / 1e3, POOL_OBSERVATIONS, POOL_OBSERVATIONS];
        lane.rates = Rates::of(lane.prefill.solve(pooled, lean));
    }

    /// The request is over; `answer` where all of it came: its time between first and last byte and its tokens.
    pub(crate) fn finished(&self, pool: &PoolRates, booked: &Booked, answer: Option<(Duration, u64)>) {
        let mut lane = self.lane.lock();
        lane.context_tokens = lane.context_tokens.saturating_sub(booked.context_tokens);
        if lane.close(booked.name).is_some() {
            // Its prefill is not done any more.
            let us = booked.prefill_ms * 1e3;
            lane.free_us -= us;
            lane.shift_us -= us;
        }
        let (Some((took, tokens)), Some(context)) = (answer, booked.context_at_first_byte) else {
            return;
        };
        if tokens < 4 {
            return;
        }
        let seen_ms = took.as_secs_f64() * 1e3 / (tokens - 1) as f64;
        let features = [DEFAULT_TOKEN_MS, context as f64 / CONTEXT_UNIT_TOKENS];
        let weight = 1.0 / (DEFAULT_TOKEN_MS * DEFAULT_TOKEN_MS);
        lane.decode.add(features, seen_ms, weight, MEMORY);
        let pooled = {
            let mut both = pool.decode.lock();
            both.0.add(features, seen_ms, weight, MEMORY * 4.0);
            both.1 = both.0.solve([1.0, 0.0], [PRIOR_OBSERVATIONS, PRIOR_OBSERVATIONS]);
            both.1
        };
        let [base, per_context] = lane.decode.solve(pooled, [POOL_OBSERVATIONS, POOL_OBSERVATIONS]);
        lane.token_ms = [base * DEFAULT_TOKEN_MS, per_context.max(0.0) / CONTEXT_UNIT_TOKENS];
    }

    /// Another process is behind the same address: what was learned is not true of it.
    pub(crate) fn restarted(&self) {
        let mut lane = self.lane.lock();
        lane.prefill = Fit::default();
        lane.decode = Fit::default();
        lane.rates = Rates::ASSUMED;
        lane.token_ms = [DEFAULT_TOKEN_MS, 0.0];
        lane.free_us = 0.0;
    }
}

impl Lane {
    fn close(&mut self, name: u64) -> Option<f64> {
        let at = self.open.iter().position(|(open, _)| *open == name)?;
        self.open.remove(at).map(|(_, done_us)| done_us)
    }
}

fn micros(at: Duration) -> f64 {
    at.as_secs_f64() * 1e6
}
