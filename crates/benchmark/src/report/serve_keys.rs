//! Under which names do readers of `vllm bench serve` results look for these figures?
//!
//! The names are those of its result file; what each means here is in `docs/benchmarking.md`.

use std::time::Instant;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::scenario::Scenario;
use super::slo::Slo;
use super::stats::Summary;
use crate::load::Sample;
use crate::load::driver::Run;

/// What the run was asked to do.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub label: String,
    pub model: String,
    /// Offered requests per second; `None` for a closed loop.
    pub rate: Option<f64>,
    pub burstiness: f64,
    pub max_concurrency: Option<usize>,
    pub slo: Option<Slo>,
    /// Add one entry a request.
    pub detailed: bool,
}

/// The result, to be flattened into a report.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct ServeKeys(Map<String, Value>);

impl ServeKeys {
    /// Every figure that the samples carry; `null` where they do not.
    pub fn of(asked: &Asked, run: &Run, scenario: &Scenario) -> Self {
        let duration_s = scenario.duration_s;
        let per_s = |count: f64| {
            if duration_s > 0.0 {
                count / duration_s
            } else {
                0.0
            }
        };
        let good = asked.slo.map(|slo| {
            let met = |sample: &&Sample| slo.met(sample, 1.0);
            per_s(run.samples.iter().filter(met).count() as f64)
        });
        let rate = asked.rate.map_or_else(|| json!("inf"), |rate| json!(rate));
        let tokens = scenario.prompt_tokens + scenario.output_tokens;
        let mut keys = Map::new();
        let mut put = |name: &str, value: Value| {
            keys.insert(name.to_owned(), value);
        };
        put(
            "date",
            json!(jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string()),
        );
        put("endpoint_type", json!("openai"));
        put("backend", json!("openai"));
        put("model_id", json!(asked.model));
        put("tokenizer_id", json!(asked.model));
        put("num_prompts", json!(scenario.requests));
        put("request_rate", rate);
        put("burstiness", json!(asked.burstiness));
        put("max_concurrency", json!(asked.max_concurrency));
        put("duration", json!(duration_s));
        put("completed", json!(scenario.successful));
        put("failed", json!(scenario.failed));
        put("total_input_tokens", json!(scenario.prompt_tokens));
        put("total_output_tokens", json!(scenario.output_tokens));
        put("request_throughput", json!(scenario.requests_per_s));
        put("request_goodput", json!(good));
        put("output_throughput", json!(scenario.output_tokens_per_s));
        put("total_token_throughput", json!(per_s(tokens as f64)));
        put("max_output_tokens_per_s", json!(max_tokens_per_s(run)));
        put("max_concurrent_requests", json!(max_concurrent(run)));
        for (name, summary) in [
            ("ttft", &scenario.ttft_ms),
            ("tpot", &scenario.tpot_ms),
            ("itl", &scenario.itl_ms),
            ("e2el", &scenario.e2e_ms),
        ] {
            for (figure, value) in figures(summary) {
                put(&format!("{figure}_{name}_ms"), json!(value));
            }
        }
        if asked.detailed {
            detailed(run, &mut put);
        }
        Self(keys)
    }
}

fn figures(summary: &Summary) -> [(&'static str, Option<f64>); 7] {
    [
        ("mean", summary.mean),
        ("median", summary.p50),
        ("std", summary.stddev),
        ("p50", summary.p50),
        ("p90", summary.p90),
        ("p95", summary.p95),
        ("p99", summary.p99),
    ]
}

/// One entry a request, in order of the intended send time; times in seconds.
fn detailed(run: &Run, put: &mut impl FnMut(&str, Value)) {
    let mut samples: Vec<&Sample> = run.samples.iter().collect();
    samples.sort_by_key(|sample| sample.intended);
    let list = |of: &dyn Fn(&Sample) -> Value| -> Value {
        samples.iter().map(|sample| of(sample)).collect()
    };
    let since = |at: Instant| at.saturating_duration_since(run.begun).as_secs_f64();
    put(
        "input_lens",
        list(&|sample| json!(sample.usage.map_or(0, |usage| usage.prompt_tokens))),
    );
    put(
        "output_lens",
        list(&|sample| json!(sample.usage.map_or(0, |usage| usage.completion_tokens))),
    );
    put(
        "ttfts",
        list(&|sample| json!(sample.ttft_ms().unwrap_or(0.0) / 1e3)),
    );
    put(
        "itls",
        list(&|sample| json!(sample.itl_ms().map(|ms| ms / 1e3).collect::<Vec<f64>>())),
    );
    put("latencies", list(&|sample| json!(sample.e2e_ms() / 1e3)));
    put("start_times", list(&|sample| json!(since(sample.intended))));
    put(
        "queue_times",
        list(&|sample| json!(sample.client_queue_ms() / 1e3)),
    );
    put(
        "errors",
        list(&|sample| {
            json!(
                sample
                    .failure
                    .as_ref()
                    .map_or_else(String::new, ToString::to_string)
            )
        }),
    );
}

/// Most requests in flight at one moment.
fn max_concurrent(run: &Run) -> usize {
    let mut edges: Vec<(Instant, i64)> = (run.samples.iter())
        .flat_map(|sample| [(sample.sent(), 1), (sample.ended(), -1)])
        .collect();
    // An end frees its place before a start at the same moment takes it.
    edges.sort_unstable();
    let (mut now, mut most) = (0_i64, 0_i64);
    for (_, change) in edges {
        now += change;
        most = most.max(now);
    }
    most.unsigned_abs() as usize
}

/// Output tokens of the busiest second; tokens of one answer are spread over its events.
fn max_tokens_per_s(run: &Run) -> f64 {
    let mut seconds = std::collections::BTreeMap::<u64, f64>::new();
    for sample in run.samples.iter().filter(|sample| sample.is_ok()) {
        let events = sample.content_events().max(1) as f64;
        let tokens = sample
            .usage
            .map_or(0.0, |usage| usage.completion_tokens as f64);
        for (at, count) in sample.contents() {
            let second = at.saturating_duration_since(run.begun).as_secs();
            *seconds.entry(second).or_default() += tokens * f64::from(count) / events;
        }
    }
    seconds.values().copied().fold(0.0, f64::max)
}
