//! How sure are the figures? The same comparison under several seeds: means, and 95 % intervals by Student's t.

use serde::Serialize;

use super::outcome::{self, Outcome, Quantiles};
use crate::report::interval;

/// One arm: means over the seeds under the names that one seed's figures have.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Mean {
    pub(crate) name: String,
    pub(crate) bound: bool,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    /// Half the width of each figure's 95 % interval.
    pub(crate) ci95: Figures,
}

/// The figures of an arm that are averaged.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) hit_ratio: f64,
    pub(crate) ttft_ms: Quantiles,
    pub(crate) tpot_ms: Quantiles,
    pub(crate) e2e_ms: Quantiles,
    pub(crate) goodput_rps: f64,
    pub(crate) max_over_mean: f64,
    pub(crate) requests: f64,
    pub(crate) good_share: f64,
    pub(crate) arrivals_per_s: f64,
    pub(crate) output_tokens_per_s: f64,
    pub(crate) ttft_by_minute_ms: Vec<Option<f64>>,
}

/// All seeds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// The first.
    pub(crate) seed: u64,
    pub(crate) seeds: Vec<u64>,
    /// Hash over the hashes of all seeds, in their order.
    pub(crate) event_hash: String,
    pub(crate) events: u64,
    pub(crate) simulated: bool,
    pub(crate) runs: Vec<Mean>,
    /// Each seed's own comparison.
    pub(crate) by_seed: Vec<outcome::Report>,
}

impl Report {
    pub(crate) fn of(by_seed: Vec<outcome::Report>) -> Self {
        let seeds: Vec<u64> = by_seed.iter().map(|report| report.seed).collect();
        let mut hash = super::clock::EventHash::new(seeds.first().copied().unwrap_or(0));
        for report in &by_seed {
            let value = u64::from_str_radix(&report.event_hash, 16).unwrap_or(0);
            hash.event(std::time::Duration::ZERO, [value, report.events, 0]);
        }
        let arms = by_seed.first().map_or(0, |report| report.runs.len());
        let runs = (0..arms).filter_map(|arm| {
            Mean::of(
                by_seed
                    .iter()
                    .filter_map(|report| report.runs.get(arm))
                    .collect(),
            )
        });
        Self {
            seed: seeds.first().copied().unwrap_or(0),
            event_hash: format!("{:016x}", hash.value()),
            events: by_seed.iter().map(|report| report.events).sum(),
            simulated: true,
            runs: runs.collect(),
            seeds,
            by_seed,
        }
    }

    /// No checker noticed anything under any seed.
    pub(crate) fn is_sound(&self) -> bool {
        self.by_seed.iter().all(outcome::Report::is_sound)
    }
}

impl Mean {
    fn of(runs: Vec<&Outcome>) -> Option<Self> {
        let first = runs.first()?;
        let (figures, ci95) = both(&runs);
        Some(Self {
            name: first.name.clone(),
            bound: first.bound,
            figures,
            ci95,
        })
    }
}

/// A mean, and half the width of its interval.
type MeanAndHalf = (Option<f64>, Option<f64>);

/// Means, and half the widths of their intervals.
fn both(runs: &[&Outcome]) -> (Figures, Figures) {
    let of = |figure: &dyn Fn(&Outcome) -> Option<f64>| {
        let values: Vec<f64> = runs.iter().filter_map(|run| figure(run)).collect();
        interval::mean_of_few(&values)
    };
    let plain = |figure: fn(&Outcome) -> f64| {
        let (mean, half) = of(&|run| Some(figure(run)));
        (mean.unwrap_or(0.0), half.unwrap_or(0.0))
    };
    let times = |kind: fn(&Outcome) -> &Quantiles| {
        let part = |part: fn(&Quantiles) -> Option<f64>| of(&|run| part(kind(run)));
        let all = [
            part(|times| times.mean),
            part(|times| times.p50),
            part(|times| times.p90),
            part(|times| times.p99),
        ];
        let side = |side: fn(&MeanAndHalf) -> Option<f64>| {
            let [mean, p50, p90, p99] =
                [side(&all[0]), side(&all[1]), side(&all[2]), side(&all[3])];
            Quantiles {
                mean,
                p50,
                p90,
                p99,
            }
        };
        (side(|pair| pair.0), side(|pair| pair.1))
    };
    let minutes = runs.first().map_or(0, |run| run.ttft_by_minute_ms.len());
    let by_minute: Vec<_> = (0..minutes)
        .map(|at| of(&|run| run.ttft_by_minute_ms[at]))
        .collect();
    let (hit, ttft) = (plain(|run| run.hit_ratio), times(|run| &run.ttft_ms));
    let (tpot, e2e) = (times(|run| &run.tpot_ms), times(|run| &run.e2e_ms));
    let (good, balance) = (plain(|run| run.goodput_rps), plain(|run| run.max_over_mean));
    let (count, share) = (
        plain(|run| run.requests as f64),
        plain(|run| run.good_share),
    );
    let (rate, output) = (
        plain(|run| run.arrivals_per_s),
        plain(|run| run.output_tokens_per_s),
    );
    let mean = Figures {
        hit_ratio: hit.0,
        ttft_ms: ttft.0,
        tpot_ms: tpot.0,
        e2e_ms: e2e.0,
        goodput_rps: good.0,
        max_over_mean: balance.0,
        requests: count.0,
        good_share: share.0,
        arrivals_per_s: rate.0,
        output_tokens_per_s: output.0,
        ttft_by_minute_ms: by_minute.iter().map(|pair| pair.0).collect(),
    };
    let half = Figures {
        hit_ratio: hit.1,
        ttft_ms: ttft.1,
        tpot_ms: tpot.1,
        e2e_ms: e2e.1,
        goodput_rps: good.1,
        max_over_mean: balance.1,
        requests: count.1,
        good_share: share.1,
        arrivals_per_s: rate.1,
        output_tokens_per_s: output.1,
        ttft_by_minute_ms: by_minute.iter().map(|pair| pair.1).collect(),
    };
    (mean, half)
}
