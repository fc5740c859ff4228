//! What do the samples of one load level add up to?

use std::collections::BTreeMap;

use serde::Serialize;

use super::stats::Summary;
use crate::load::Sample;
use crate::load::driver::Run;

/// Distinct error sentences kept.
const MAX_ERRORS: usize = 10;
/// Client-side lateness (p95, ms) from which on a run says more about this tool than about the server.
const LATE_MS: f64 = 20.0;

/// One load level. Times in ms, of successful requests only, from the intended send time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scenario {
    pub name: String,
    pub requests: usize,
    /// Closed loop: requests kept in flight.
    pub concurrency: Option<usize>,
    /// Open loop: requests per second on average.
    pub rate_per_s: Option<f64>,
    pub successful: usize,
    pub failed: usize,
    pub success_rate: f64,
    pub duration_s: f64,
    pub requests_per_s: f64,
    pub prompt_tokens_per_s: f64,
    pub output_tokens_per_s: f64,
    pub prompt_tokens: u64,
    pub output_tokens: u64,
    /// `None` where no answer reported it.
    pub cached_tokens: Option<u64>,
    pub ttft_ms: Summary,
    pub tpot_ms: Summary,
    pub itl_ms: Summary,
    pub e2e_ms: Summary,
    pub client_queue_ms: Summary,
    /// Requests by the endpoint that the answer named.
    pub endpoints: BTreeMap<String, u64>,
    pub simulated: bool,
    pub errors: Vec<ErrorCount>,
    pub notes: Vec<String>,
}

/// One kind of failure.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorCount {
    pub count: usize,
    pub message: String,
}

impl Scenario {
    pub fn of(name: &str, run: &Run) -> Self {
        let samples: Vec<&Sample> = run.samples.iter().collect();
        Self::of_samples(name, &samples, run.duration.as_secs_f64())
    }

    /// The same over some of a run's samples, which took `duration_s`.
    pub fn of_samples(name: &str, samples: &[&Sample], duration_s: f64) -> Self {
        Self::of_scaled(name, samples, duration_s, 1.0)
    }

    /// The same of a fleet whose time is slowed `time_scale` times: every time is divided by it.
    pub fn of_scaled(name: &str, samples: &[&Sample], duration_s: f64, time_scale: f64) -> Self {
        let duration_s = duration_s / time_scale;
        let scaled = |ms: f64| ms / time_scale;
        let good: Vec<&Sample> = samples
            .iter()
            .copied()
            .filter(|sample| sample.is_ok())
            .collect();
        let usages = || good.iter().filter_map(|sample| sample.usage);
        let prompt_tokens: u64 = usages().map(|usage| usage.prompt_tokens).sum();
        let output_tokens: u64 = usages().map(|usage| usage.completion_tokens).sum();
        let cached: Vec<u64> = usages().filter_map(|usage| usage.cached_tokens).collect();
        let per_s = |count: f64| {
            if duration_s > 0.0 {
                count / duration_s
            } else {
                0.0
            }
        };
        let mut scenario = Self {
            name: name.to_owned(),
            requests: samples.len(),
            successful: good.len(),
            failed: samples.len() - good.len(),
            success_rate: good.len() as f64 / samples.len().max(1) as f64,
            duration_s,
            requests_per_s: per_s(good.len() as f64),
            prompt_tokens_per_s: per_s(prompt_tokens as f64),
            output_tokens_per_s: per_s(output_tokens as f64),
            prompt_tokens,
            output_tokens,
            cached_tokens: (!cached.is_empty()).then(|| cached.iter().sum()),
            ttft_ms: Summary::of(
                good.iter()
                    .filter_map(|sample| sample.ttft_ms())
                    .map(scaled),
            ),
            tpot_ms: Summary::of(
                good.iter()
                    .filter_map(|sample| sample.tpot_ms())
                    .map(scaled),
            ),
            itl_ms: Summary::of(good.iter().flat_map(|sample| sample.itl_ms()).map(scaled)),
            e2e_ms: Summary::of(good.iter().map(|sample| scaled(sample.e2e_ms()))),
            client_queue_ms: Summary::of(
                samples
                    .iter()
                    .map(|sample| scaled(sample.client_queue_ms())),
            ),
            endpoints: endpoints(samples),
            simulated: samples.iter().any(|sample| sample.simulated),
            errors: errors(samples),
            ..Self::default()
        };
        scenario.notes = notes(&good, &scenario);
        scenario
    }

    /// Cached over prompt tokens, of the requests whose answer reports both.
    pub fn reported_hit_rate(&self) -> Option<f64> {
        let cached = self.cached_tokens?;
        (self.prompt_tokens > 0).then(|| cached as f64 / self.prompt_tokens as f64)
    }
}

fn endpoints(samples: &[&Sample]) -> BTreeMap<String, u64> {
    let mut seen = BTreeMap::new();
    for name in samples.iter().filter_map(|sample| sample.endpoint.as_ref()) {
        *seen.entry(name.clone()).or_default() += 1;
    }
    seen
}

fn errors(samples: &[&Sample]) -> Vec<ErrorCount> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for failure in samples.iter().filter_map(|sample| sample.failure.as_ref()) {
        *seen.entry(failure.to_string()).or_default() += 1;
    }
    let mut errors: Vec<ErrorCount> = seen
        .into_iter()
        .map(|(message, count)| ErrorCount { count, message })
        .collect();
    errors.sort_by_key(|error| std::cmp::Reverse(error.count));
    errors.truncate(MAX_ERRORS);
    errors
}

fn notes(good: &[&Sample], scenario: &Scenario) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |count: usize, what: &str| {
        if count > 0 {
            notes.push(format!("{count} of {} {what}", good.len()));
        }
    };
    note(
        good.iter().filter(|sample| !sample.done).count(),
        "streams ended without [DONE]",
    );
    note(
        good.iter().filter(|sample| sample.usage.is_none()).count(),
        "streams carried no usage: their tokens are not counted, and they have no TPOT",
    );
    let several = |sample: &&&Sample| {
        sample
            .usage
            .is_some_and(|usage| usage.completion_tokens > sample.content_events())
    };
    note(
        good.iter().filter(several).count(),
        "streams carried several tokens in one event: ITL is per event, TPOT per token",
    );
    if let Some(late) = scenario.client_queue_ms.p95.filter(|late| *late > LATE_MS) {
        notes.push(format!(
            "requests left {late:.0} ms late (p95): this tool was held back, by its in-flight bound or by a busy machine"
        ));
    }
    notes
}
