//! How does latency grow with load?

use serde::Serialize;

use super::arms::{Plan, all, run};
use super::outcome::Outcome;
use super::show::progress::Progress;
use super::source::Source;

/// One arm at one load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Point {
    /// Times the load of the comparison itself.
    pub(crate) factor: f64,
    pub(crate) arrivals_per_s: f64,
    pub(crate) output_tokens_per_s: f64,
    pub(crate) goodput_rps: f64,
    pub(crate) good_share: f64,
    pub(crate) hit_ratio: f64,
    pub(crate) ttft_mean_ms: Option<f64>,
    pub(crate) ttft_p99_ms: Option<f64>,
    pub(crate) tpot_p99_ms: Option<f64>,
    pub(crate) event_hash: String,
    pub(crate) violation_count: u64,
}

/// One arm over loads.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
}

/// Every arm at every factor.
///
/// # Errors
/// As any run.
pub(crate) fn curves(
    plan: &Plan,
    source: &Source,
    factors: &[f64],
    progress: &Progress,
) -> anyhow::Result<Vec<Curve>> {
    let mut runs = Vec::new();
    for arm in &plan.arms {
        runs.extend(factors.iter().map(|factor| (arm, *factor)));
    }
    let points = all(&runs, plan.threads, |(arm, factor)| {
        let outcome = run(arm, &plan.settings, &source.sped_up(*factor), progress)?;
        Ok(point(*factor, &outcome))
    })?;
    let chunks = points.chunks(factors.len().max(1));
    Ok(plan
        .arms
        .iter()
        .zip(chunks)
        .map(|(arm, points)| Curve {
            name: arm.name.clone(),
            points: points.to_vec(),
        })
        .collect())
}

fn point(factor: f64, outcome: &Outcome) -> Point {
    Point {
        factor,
        arrivals_per_s: outcome.arrivals_per_s,
        output_tokens_per_s: outcome.output_tokens_per_s,
        goodput_rps: outcome.goodput_rps,
        good_share: outcome.good_share,
        hit_ratio: outcome.hit_ratio,
        ttft_mean_ms: outcome.ttft_ms.mean,
        ttft_p99_ms: outcome.ttft_ms.p99,
        tpot_p99_ms: outcome.tpot_ms.p99,
        event_hash: outcome.event_hash.clone(),
        violation_count: outcome.violation_count,
    }
}
