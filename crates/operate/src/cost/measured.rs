//! What does a report file say a system served, and how fast?
//!
//! Understood: `bench suite`, `shared-prefix`, `situations`, `sweep`, `trace` and `compare` of this program, and any
//! JSON with the key names of `vllm bench serve`.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::Value;

/// What was read of one file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    pub source: String,
    pub points: Vec<Point>,
    /// Uncached prompt tokens per second of one replica, where a cache test shows it.
    pub prefill_tokens_per_s: Option<f64>,
}

/// One load that was offered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Point {
    pub name: String,
    /// Successful requests per second of the whole fleet.
    pub requests_per_s: f64,
    /// `None` where the report does not tell.
    pub replicas: Option<u32>,
    pub ttft_p95_ms: Option<f64>,
    pub tpot_p95_ms: Option<f64>,
    pub e2e_p95_ms: Option<f64>,
    pub input_tokens: Option<f64>,
    pub output_tokens: Option<f64>,
    pub hit_rate: Option<f64>,
    /// What one cache that holds everything would find.
    pub ideal_hit_rate: Option<f64>,
    /// Requests per second that were offered, where the load was open.
    pub offered_rps: Option<f64>,
    pub simulated: bool,
    /// The load was at or above what the system carries.
    pub saturated: Option<bool>,
}

impl Measured {
    /// Reads a report file.
    ///
    /// # Errors
    /// It cannot be read, is no JSON, or holds no throughput.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let place = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {place}"))?;
        let value: Value = serde_json::from_str(&text)
            .with_context(|| format!("{place} is no JSON report; write one with --json"))?;
        let measured = Self::of(&place.to_string(), &value);
        ensure!(
            !measured.points.is_empty(),
            "{place} holds no throughput: expected a report of `prefixgate bench … --json` or of `vllm bench serve`"
        );
        Ok(measured)
    }

    /// The points of a report that is read already; empty where it holds none.
    pub fn of(source: &str, value: &Value) -> Self {
        let replicas = value["engines"].as_array().map(Vec::len);
        let mut points = Vec::new();
        if value["request_throughput"].is_number() {
            points.push(point(value, None));
        } else if value["scenario"].is_object() {
            points.push(point(&value["scenario"], Some(value)));
        }
        for list in ["/scenarios", "/steps", "/situations", "/workloads/0/arms"] {
            let entries = value.pointer(list).and_then(Value::as_array);
            for entry in entries
                .into_iter()
                .flatten()
                .filter(|entry| is_pattern(entry))
            {
                let inner = if entry["scenario"].is_object() {
                    &entry["scenario"]
                } else {
                    entry
                };
                points.push(point(inner, Some(entry)));
            }
        }
        points.retain(|point| point.requests_per_s > 0.0);
        for point in &mut points {
            let found = replicas.filter(|count| *count > 0);
            point.replicas = point.replicas.or(found.map(|count| count as u32));
        }
        Self {
            source: source.to_owned(),
            points,
            prefill_tokens_per_s: cache_test(&value["cache_test"]),
        }
    }

    /// The point of highest throughput, of those that `accept`.
    pub fn best(&self, accept: impl Fn(&Point) -> bool) -> Option<&Point> {
        (self.points.iter())
            .filter(|point| accept(point))
            .max_by(|a, b| a.requests_per_s.total_cmp(&b.requests_per_s))
    }
}

/// Of the arms of a comparison only those that are Pattern 1 and Pattern 3; anything else is taken as it is.
fn is_pattern(entry: &Value) -> bool {
    !entry["saturation"].is_object()
        || ["1-off-rr", "3-on-ours"]
            .iter()
            .any(|name| entry["name"] == *name)
}

/// Reads a scenario by this program's key names, else by those of `vllm bench serve`.
fn point(inner: &Value, outer: Option<&Value>) -> Point {
    let outer = outer.unwrap_or(inner);
    let number = |keys: &[&str]| {
        keys.iter().find_map(|key| {
            let pointer = format!("/{}", key.replace('.', "/"));
            (inner.pointer(&pointer))
                .or_else(|| outer.pointer(&pointer))
                .and_then(Value::as_f64)
        })
    };
    let completed = number(&["successful", "completed"]).filter(|count| *count > 0.0);
    let per_request = |keys: &[&str]| Some(number(keys)? / completed?);
    Point {
        name: inner["name"].as_str().unwrap_or("load").to_owned(),
        requests_per_s: number(&[
            "saturated_rps",
            "served_rps",
            "requests_per_s",
            "request_throughput",
        ])
        .unwrap_or(0.0),
        replicas: number(&["replicas"]).map(|count| count as u32),
        ttft_p95_ms: number(&["ttft_ms.p95", "p95_ttft_ms"]),
        tpot_p95_ms: number(&["tpot_ms.p95", "p95_tpot_ms"]),
        e2e_p95_ms: number(&["e2e_ms.p95", "p95_e2el_ms"]),
        input_tokens: per_request(&["prompt_tokens", "total_input_tokens"]),
        output_tokens: per_request(&["output_tokens", "total_output_tokens"]),
        hit_rate: number(&["engine_hit_rate", "reported_hit_rate"]),
        ideal_hit_rate: number(&["ideal_hit_rate", "achievable_hit_rate"]),
        offered_rps: number(&["rate_per_s", "request_rate"]),
        simulated: [inner, outer]
            .iter()
            .any(|value| value["simulated"] == true),
        saturated: outer["saturated"].as_bool(),
    }
}

/// Cached tokens over the time they saved.
fn cache_test(test: &Value) -> Option<f64> {
    let first_ms = test["first_latency_ms"].as_f64()?;
    let later_ms = test["avg_subsequent_ms"].as_f64()?;
    let cached: Vec<f64> = (test["cached_tokens"].as_array()?.iter())
        .skip(1)
        .filter_map(Value::as_f64)
        .collect();
    let mean = cached.iter().sum::<f64>() / cached.len().max(1) as f64;
    (first_ms > later_ms && mean > 0.0).then(|| mean / (first_ms - later_ms) * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_of_report_gives_its_throughput() {
        type Read = (f64, Option<u32>, Option<f64>, Option<f64>);
        let check = |value: Value, expected: &[Read]| {
            let seen: Vec<_> = Measured::of("x", &value)
                .points
                .iter()
                .map(|point| {
                    (
                        point.requests_per_s,
                        point.replicas,
                        point.ttft_p95_ms,
                        point.input_tokens,
                    )
                })
                .collect();
            assert_eq!(seen, expected, "{value}");
        };
        check(
            json!({"request_throughput": 12.5, "completed": 10, "total_input_tokens": 1000, "p95_ttft_ms": 40.0}),
            &[(12.5, None, Some(40.0), Some(100.0))],
        );
        check(
            json!({"scenarios": [{"name": "a", "requests_per_s": 2.0, "ttft_ms": {"p95": 9.0}}, {"requests_per_s": 0.0}]}),
            &[(2.0, None, Some(9.0), None)],
        );
        check(
            json!({"engines": [{}, {}, {}], "scenario": {"requests_per_s": 30.0, "successful": 2, "prompt_tokens": 50}}),
            &[(30.0, Some(3), None, Some(25.0))],
        );
        check(
            json!({"workloads": [{"arms": [
                {"name": "1-off-rr", "replicas": 1, "saturation": {}, "saturated_rps": 9.0},
                {"name": "1-on-ours", "replicas": 1, "saturation": {}, "saturated_rps": 12.0},
                {"name": "3-on-ours", "replicas": 3, "saturation": {}, "saturated_rps": 40.0}]}]}),
            &[(9.0, Some(1), None, None), (40.0, Some(3), None, None)],
        );
        check(json!({"nothing": 1}), &[]);
    }

    #[test]
    fn a_cache_test_measures_prefill() {
        let value = json!({"cache_test": {"first_latency_ms": 60.0, "avg_subsequent_ms": 20.0, "cached_tokens": [0, 2000, 2000]}});
        assert_eq!(
            Measured::of("x", &value).prefill_tokens_per_s,
            Some(50_000.0)
        );
        let slower = json!({"cache_test": {"first_latency_ms": 20.0, "avg_subsequent_ms": 20.0, "cached_tokens": [0, 2000]}});
        assert_eq!(Measured::of("x", &slower).prefill_tokens_per_s, None);
    }
}
