//! What is reported of a run and of a comparison?

use std::time::Duration;

use serde::Serialize;

use super::arms::{Arm, Plan};
use super::figures::{Figures, Share, Timeline, Times};
use super::ledger::Violation;
use super::settings::Settings;
use super::source::Source;
use super::sweep::Curve;
use super::world::Done;

/// Times of one kind, milliseconds; `null` without a sample.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) mean: Option<f64>,
    pub(crate) p50: Option<f64>,
    pub(crate) p90: Option<f64>,
    pub(crate) p99: Option<f64>,
}

impl Quantiles {
    fn of(times: &Times) -> Self {
        Self {
            mean: times.mean_ms(),
            p50: times.quantile_ms(0.5),
            p90: times.quantile_ms(0.9),
            p99: times.quantile_ms(0.99),
        }
    }
}

/// Predicted against actual hits.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Prediction {
    /// Tokens predicted to be cached over tokens asked.
    pub(crate) predicted_hit_ratio: f64,
    pub(crate) actual_hit_ratio: f64,
    /// Mean over requests of the difference, tokens.
    pub(crate) mean_absolute_error_tokens: f64,
}

/// One arm.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    /// It looks at what no router can know.
    pub(crate) bound: bool,
    pub(crate) hit_ratio: f64,
    pub(crate) ttft_ms: Quantiles,
    pub(crate) tpot_ms: Quantiles,
    pub(crate) e2e_ms: Quantiles,
    /// Requests that met both limits, a second.
    pub(crate) goodput_rps: f64,
    /// Computed tokens of the busiest replica over the mean.
    pub(crate) max_over_mean: f64,
    /// Requests that ended.
    pub(crate) requests: u64,
    /// Requests that no engine could take.
    pub(crate) refused: u64,
    pub(crate) good_share: f64,
    pub(crate) arrivals_per_s: f64,
    pub(crate) duration_s: f64,
    pub(crate) output_tokens_per_s: f64,
    pub(crate) prompt_tokens: u64,
    pub(crate) cached_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) preemptions: u64,
    pub(crate) prediction: Prediction,
    /// Mean TTFT by the minute of arrival; the last of ten holds all later ones.
    pub(crate) ttft_by_minute_ms: Vec<Option<f64>>,
    /// Hash over every event of this arm, 16 hexadecimal digits.
    pub(crate) event_hash: String,
    pub(crate) events: u64,
    pub(crate) replicas: Vec<Share>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) violation_count: u64,
    /// Real time it took.
    pub(crate) wall_s: f64,
    #[serde(skip)]
    pub(crate) timeline: Timeline,
}

impl Outcome {
    pub(crate) fn of(arm: &Arm, _settings: &Settings, done: Done, wall: Duration) -> Self {
        let figures: &Figures = &done.figures;
        let (violations, violation_count) = done.ledger.close();
        let duration_s = figures.duration_s().max(1e-9);
        Self {
            name: arm.name.clone(),
            bound: arm.is_bound(),
            hit_ratio: figures.hit_ratio(),
            ttft_ms: Quantiles::of(&figures.ttft),
            tpot_ms: Quantiles::of(&figures.tpot),
            e2e_ms: Quantiles::of(&figures.e2e),
            goodput_rps: figures.good as f64 / duration_s,
            max_over_mean: figures.max_over_mean(),
            requests: figures.served,
            refused: figures.refused,
            good_share: figures.good_share(),
            arrivals_per_s: figures.arrived as f64 / figures.arrivals_s().max(1e-9),
            duration_s,
            output_tokens_per_s: figures.output_tokens() as f64 / duration_s,
            prompt_tokens: figures.prompt_tokens(),
            cached_tokens: figures.cached_tokens(),
            output_tokens: figures.output_tokens(),
            preemptions: figures.preemptions,
            prediction: Prediction {
                predicted_hit_ratio: figures.predicted_hit_ratio(),
                actual_hit_ratio: figures.hit_ratio(),
                mean_absolute_error_tokens: figures.prediction_error_tokens as f64
                    / figures.served.max(1) as f64,
            },
            ttft_by_minute_ms: figures.ttft_by_minute_ms(),
            event_hash: format!("{:016x}", done.hash.value()),
            events: done.hash.count,
            replicas: figures.shares.clone(),
            violations,
            violation_count,
            wall_s: wall.as_secs_f64(),
            timeline: figures.timeline.clone(),
        }
    }
}

/// The whole comparison.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    /// Hash over the arms' hashes, in their order.
    pub(crate) event_hash: String,
    pub(crate) events: u64,
    pub(crate) simulated: bool,
    pub(crate) source: String,
    pub(crate) replicas: usize,
    pub(crate) accelerators: Vec<String>,
    pub(crate) gateways: usize,
    pub(crate) slo_ttft_ms: f64,
    pub(crate) slo_tpot_ms: f64,
    /// Share of round robin's capacity, where it was asked for.
    pub(crate) load: Option<f64>,
    pub(crate) round_robin_capacity: Option<super::arms::Capacity>,
    pub(crate) runs: Vec<Outcome>,
    /// Each arm over the loads of `--sweep`.
    pub(crate) curves: Vec<Curve>,
}

impl Report {
    pub(crate) fn of(
        plan: &Plan,
        source: &Source,
        capacity: Option<super::arms::Capacity>,
        runs: Vec<Outcome>,
        curves: Vec<Curve>,
    ) -> Self {
        let profiles = &plan.settings.hardware.profiles;
        let mut accelerators: Vec<String> = profiles
            .iter()
            .map(|profile| profile.name.clone())
            .collect();
        accelerators.sort();
        accelerators.dedup();
        let mut hash = super::clock::EventHash::new(plan.settings.seed);
        for run in &runs {
            let value = u64::from_str_radix(&run.event_hash, 16).unwrap_or(0);
            hash.event(Duration::ZERO, [value, run.events, 0]);
        }
        Self {
            seed: plan.settings.seed,
            event_hash: format!("{:016x}", hash.value()),
            events: runs.iter().map(|run| run.events).sum(),
            simulated: true,
            source: source.describe(),
            replicas: profiles.len(),
            accelerators,
            gateways: plan.settings.gateways,
            slo_ttft_ms: plan.settings.slo_ttft_ms,
            slo_tpot_ms: plan.settings.slo_tpot_ms,
            load: plan.load,
            round_robin_capacity: capacity,
            runs,
            curves,
        }
    }

    /// No checker noticed anything.
    pub(crate) fn is_sound(&self) -> bool {
        let mut points = self.curves.iter().flat_map(|curve| &curve.points);
        self.runs.iter().all(|run| run.violation_count == 0)
            && points.all(|point| point.violation_count == 0)
    }
}
