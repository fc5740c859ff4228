//! What was seen of a run, in memory that does not grow with it?

mod timeline;

use std::time::Duration;

use hdrhistogram::Histogram;

use super::clock::{Replica, RequestNumber};
use super::settings::Settings;
pub(crate) use timeline::Timeline;

/// Longest time kept apart, microseconds: four hours.
const MOST_US: u64 = 4 * 3_600 * 1_000_000;

/// Times of one kind: exact mean, percentiles to a thousandth.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    histogram: Histogram<u64>,
    sum_us: f64,
}

impl Times {
    fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, MOST_US, 3);
        Self {
            histogram: histogram
                .unwrap_or_else(|error| unreachable!("the bounds are constants: {error}")),
            sum_us: 0.0,
        }
    }

    fn add_us(&mut self, us: f64) {
        self.sum_us += us;
        self.histogram.saturating_record((us.round() as u64).max(1));
    }

    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// `None` without a sample.
    pub(crate) fn mean_ms(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum_us / count as f64 / 1e3)
    }

    /// The value at or below which this share lies; `None` without a sample.
    pub(crate) fn quantile_ms(&self, share: f64) -> Option<f64> {
        (self.count() > 0).then(|| self.histogram.value_at_quantile(share) as f64 / 1e3)
    }
}

/// A request that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    /// Its place in order of arrival.
    pub(crate) number: RequestNumber,
    pub(crate) replica: Replica,
    pub(crate) arrived: Duration,
    pub(crate) first_token: Duration,
    pub(crate) ended: Duration,
    pub(crate) prompt_tokens: u64,
    pub(crate) cached_tokens: u64,
    pub(crate) predicted_tokens: u64,
    pub(crate) output_tokens: u64,
}

/// Sums of one replica.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(crate) struct Share {
    pub(crate) requests: u64,
    pub(crate) prompt_tokens: u64,
    pub(crate) cached_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) busy_s: f64,
}

impl Share {
    /// Tokens it computed: uncached prompt and output.
    pub(crate) fn work_tokens(&self) -> u64 {
        self.prompt_tokens - self.cached_tokens + self.output_tokens
    }
}

/// Minutes after the first arrival that are kept apart; what arrives later counts in the last.
pub(crate) const MINUTES: usize = 10;

/// Everything kept of a run.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) ttft: Times,
    pub(crate) tpot: Times,
    pub(crate) e2e: Times,
    pub(crate) arrived: u64,
    pub(crate) refused: u64,
    pub(crate) served: u64,
    pub(crate) good: u64,
    pub(crate) preemptions: u64,
    pub(crate) predicted_tokens: u64,
    pub(crate) prediction_error_tokens: u64,
    pub(crate) shares: Vec<Share>,
    pub(crate) timeline: Timeline,
    /// Times to first token by the minute of arrival: how many, and their sum.
    minutes: [(u64, f64); MINUTES],
    /// Every request, where a caller wants them all: this grows with the run.
    pub(crate) kept: Option<Vec<Served>>,
    first_arrival: Option<Duration>,
    last_arrival: Duration,
    last_end: Duration,
    slo_ttft_us: f64,
    slo_tpot_us: f64,
}

impl Figures {
    pub(crate) fn new(settings: &Settings) -> Self {
        let replicas = settings.hardware.profiles.len();
        Self {
            ttft: Times::new(),
            tpot: Times::new(),
            e2e: Times::new(),
            arrived: 0,
            refused: 0,
            served: 0,
            good: 0,
            preemptions: 0,
            predicted_tokens: 0,
            prediction_error_tokens: 0,
            shares: vec![Share::default(); replicas],
            timeline: Timeline::new(replicas),
            minutes: [(0, 0.0); MINUTES],
            kept: settings.keep_requests.then(Vec::new),
            first_arrival: None,
            last_arrival: Duration::ZERO,
            last_end: Duration::ZERO,
            slo_ttft_us: settings.slo_ttft_ms * 1e3,
            slo_tpot_us: settings.slo_tpot_ms * 1e3,
        }
    }

    pub(crate) fn arrived(&mut self, now: Duration) {
        self.arrived += 1;
        self.first_arrival.get_or_insert(now);
        self.last_arrival = now;
    }

    pub(crate) fn refused(&mut self) {
        self.refused += 1;
    }

    pub(crate) fn preempted(&mut self) {
        self.preemptions += 1;
    }

    pub(crate) fn step(
        &mut self,
        replica: Replica,
        started: Duration,
        at: Duration,
        tokens: usize,
        requests: usize,
    ) {
        let busy_s = at.saturating_sub(started).as_secs_f64();
        self.shares[replica].busy_s += busy_s;
        self.timeline.step(replica, at, busy_s, tokens, requests);
    }

    pub(crate) fn served(&mut self, served: &Served) {
        let us = |duration: Duration| duration.as_secs_f64() * 1e6;
        let ttft = us(served.first_token.saturating_sub(served.arrived));
        let e2e = us(served.ended.saturating_sub(served.arrived));
        self.ttft.add_us(ttft);
        let since = (served.arrived).saturating_sub(self.first_arrival.unwrap_or_default());
        let minute = &mut self.minutes[((since.as_secs() / 60) as usize).min(MINUTES - 1)];
        *minute = (minute.0 + 1, minute.1 + ttft);
        if let Some(kept) = &mut self.kept {
            kept.push(*served);
        }
        self.e2e.add_us(e2e);
        let mut good = ttft <= self.slo_ttft_us;
        if served.output_tokens > 1 {
            let tpot = (e2e - ttft) / (served.output_tokens - 1) as f64;
            self.tpot.add_us(tpot);
            good &= tpot <= self.slo_tpot_us;
        }
        self.served += 1;
        self.good += u64::from(good);
        self.last_end = self.last_end.max(served.ended);
        self.predicted_tokens += served.predicted_tokens;
        self.prediction_error_tokens += served.predicted_tokens.abs_diff(served.cached_tokens);
        let share = &mut self.shares[served.replica];
        share.requests += 1;
        share.prompt_tokens += served.prompt_tokens;
        share.cached_tokens += served.cached_tokens;
        share.output_tokens += served.output_tokens;
    }

    /// First arrival to last end, seconds.
    pub(crate) fn duration_s(&self) -> f64 {
        let first = self.first_arrival.unwrap_or_default();
        self.last_end.saturating_sub(first).as_secs_f64()
    }

    /// First arrival to last arrival, seconds.
    pub(crate) fn arrivals_s(&self) -> f64 {
        let first = self.first_arrival.unwrap_or_default();
        self.last_arrival.saturating_sub(first).as_secs_f64()
    }

    /// Mean time to first token of the requests that arrived in each minute, ms; the last holds all later ones.
    pub(crate) fn ttft_by_minute_ms(&self) -> Vec<Option<f64>> {
        let mean =
            |(count, sum_us): &(u64, f64)| (*count > 0).then(|| sum_us / *count as f64 / 1e3);
        self.minutes.iter().map(mean).collect()
    }

    fn sum(&self, of: impl Fn(&Share) -> u64) -> u64 {
        self.shares.iter().map(of).sum()
    }

    pub(crate) fn prompt_tokens(&self) -> u64 {
        self.sum(|share| share.prompt_tokens)
    }

    pub(crate) fn cached_tokens(&self) -> u64 {
        self.sum(|share| share.cached_tokens)
    }

    pub(crate) fn output_tokens(&self) -> u64 {
        self.sum(|share| share.output_tokens)
    }

    /// Tokens found cached over tokens asked.
    pub(crate) fn hit_ratio(&self) -> f64 {
        self.cached_tokens() as f64 / self.prompt_tokens().max(1) as f64
    }

    /// Tokens predicted to be found over tokens asked.
    pub(crate) fn predicted_hit_ratio(&self) -> f64 {
        self.predicted_tokens as f64 / self.prompt_tokens().max(1) as f64
    }

    /// Share of arrived requests that met both limits.
    pub(crate) fn good_share(&self) -> f64 {
        self.good as f64 / self.arrived.max(1) as f64
    }

    /// Computed tokens (uncached prompt and output) of the busiest replica over the mean; 1 is even.
    pub(crate) fn max_over_mean(&self) -> f64 {
        let total = self.sum(Share::work_tokens);
        let most = self.shares.iter().map(Share::work_tokens).max();
        match total {
            0 => 1.0,
            total => most.unwrap_or(0) as f64 * self.shares.len() as f64 / total as f64,
        }
    }
}
