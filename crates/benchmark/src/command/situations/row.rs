//! What does one situation come to?

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::command::shared_prefix::max_over_mean;
use crate::engines;
use crate::load::Sample;
use crate::report::Scenario;

/// One row of the table.
#[derive(Debug, Serialize)]
pub struct Situation {
    pub name: String,
    pub load_over_saturation: f64,
    /// Endpoints that served something.
    pub replicas_used: Option<usize>,
    /// Endpoints that served one prefix, on average over the prefixes.
    pub replicas_per_prefix: Option<f64>,
    pub engine_hit_rate: Option<f64>,
    pub reported_hit_rate: Option<f64>,
    /// One unbounded cache; `None` for the burst, which is part of a run.
    pub ideal_hit_rate: Option<f64>,
    pub max_over_mean: Option<f64>,
    pub scenario: Scenario,
}

/// The row of `samples`, which took `duration_s`, and of what the engines' counters gained meanwhile.
pub(super) fn situation(
    name: &str,
    load: f64,
    samples: &[&Sample],
    duration_s: f64,
    gains: &[engines::Gain],
) -> Situation {
    let scenario = Scenario::of_samples(name, samples, duration_s);
    let served = gains
        .iter()
        .filter(|gain| gain.finished_requests.is_some_and(|count| count > 0.0));
    let by_counters = (!gains.is_empty()).then(|| served.count());
    let by_headers = (!scenario.endpoints.is_empty()).then_some(scenario.endpoints.len());
    Situation {
        name: name.to_owned(),
        load_over_saturation: load,
        replicas_used: by_headers.or(by_counters),
        replicas_per_prefix: replicas_per_prefix(samples),
        engine_hit_rate: engines::hit_rate(gains),
        reported_hit_rate: scenario.reported_hit_rate(),
        ideal_hit_rate: None,
        max_over_mean: max_over_mean(&scenario, gains),
        scenario,
    }
}

fn replicas_per_prefix(samples: &[&Sample]) -> Option<f64> {
    let mut seen: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    for sample in samples {
        if let Some(endpoint) = &sample.endpoint {
            seen.entry(sample.group).or_default().insert(endpoint);
        }
    }
    let total: usize = seen.values().map(BTreeSet::len).sum();
    (!seen.is_empty()).then(|| total as f64 / seen.len() as f64)
}
