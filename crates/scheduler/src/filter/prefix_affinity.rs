//! Should only the endpoints that hold the prompt compete?

use rand::Rng as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ParamError, params};
use crate::numbers::{load, unit};
use crate::{Ask, Candidates, Filter, Rng};

/// Parameters of `prefix-cache-affinity-filter`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Share of the prompt's blocks, 0..=1, from which an endpoint is sticky.
    pub(crate) affinity_threshold: f64,
    /// Share of requests, 0..=1, for which the filter does nothing, so that others warm up.
    pub(crate) exploration_probability: f64,
    /// Milliseconds by which the best sticky endpoint may be slower than the best other one; 0 sticks always.
    #[serde(rename = "maxTTFTPenaltyMs")]
    pub(crate) max_ttft_penalty_ms: f64,
    /// Where the time to first token comes from: `prefillThroughput` (uncached tokens in flight there, over
    /// `peakPrefillThroughput`), or `latencyPredictor` (expected by what was learned from answers).
    pub(crate) ttft_source: String,
    /// Prompt tokens an endpoint prefills per second.
    pub(crate) peak_prefill_throughput: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            affinity_threshold: 0.8,
            exploration_probability: 0.0,
            max_ttft_penalty_ms: 18_000.0,
            ttft_source: "prefillThroughput".to_owned(),
            peak_prefill_throughput: 15_928.0,
        }
    }
}

impl params::Params for Params {}

pub(crate) struct PrefixAffinity {
    threshold: f32,
    exploration: f64,
    max_penalty_ms: f32,
    /// `None` where times are learned.
    ms_per_token: Option<f32>,
}

impl PrefixAffinity {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        let within = |x: f64| (0.0..=1.0).contains(&x);
        if !within(params.affinity_threshold) {
            return Err(ParamError::new(
                "affinityThreshold",
                "must be between 0 and 1",
            ));
        }
        if !within(params.exploration_probability) {
            return Err(ParamError::new(
                "explorationProbability",
                "must be between 0 and 1",
            ));
        }
        if !(params.max_ttft_penalty_ms >= 0.0 && params.max_ttft_penalty_ms.is_finite()) {
            return Err(ParamError::new(
                "maxTTFTPenaltyMs",
                "must be 0 or more milliseconds",
            ));
        }
        if !(params.peak_prefill_throughput > 0.0 && params.peak_prefill_throughput.is_finite()) {
            return Err(ParamError::new(
                "peakPrefillThroughput",
                "must be more than 0 tokens per second",
            ));
        }
        let ms_per_token = match params.ttft_source.as_str() {
            "prefillThroughput" => Some((1000.0 / params.peak_prefill_throughput) as f32),
            "latencyPredictor" => None,
            _ => {
                return Err(ParamError::new(
                    "ttftSource",
                    "must be `prefillThroughput` or `latencyPredictor`",
                ));
            }
        };
        Ok(Self {
            threshold: params.affinity_threshold as f32,
            exploration: params.exploration_probability,
            max_penalty_ms: params.max_ttft_penalty_ms as f32,
            ms_per_token,
        })
    }

    fn is_sticky(&self, ask: &Ask<'_>, candidates: &Candidates, row: usize) -> bool {
        ratio(ask, candidates, row) >= self.threshold
    }

    fn best_ttft_ms(
        &self,
        candidates: &Candidates,
        rows: impl Iterator<Item = usize>,
    ) -> Option<f32> {
        let expected = |row: usize| match self.ms_per_token {
            Some(ms) => load(candidates.active_tokens[row]) * ms,
            None => candidates.forecast(row).ttft_ms(),
        };
        rows.map(expected).reduce(f32::min)
    }

    fn breaks_stickiness(&self, ask: &Ask<'_>, candidates: &Candidates, keep: &[bool]) -> bool {
        let kept = |sticky: bool| {
            (0..keep.len())
                .filter(move |row| keep[*row] && self.is_sticky(ask, candidates, *row) == sticky)
        };
        let Some(sticky) = self.best_ttft_ms(candidates, kept(true)) else {
            return true;
        };
        match self.best_ttft_ms(candidates, kept(false)) {
            Some(other) => self.max_penalty_ms > 0.0 && sticky - other > self.max_penalty_ms,
            None => false,
        }
    }
}

fn ratio(ask: &Ask<'_>, candidates: &Candidates, row: usize) -> f32 {
    if ask.total_blocks > 0.0 {
        unit(candidates.matched_blocks[row] / ask.total_blocks)
    } else {
        0.0
    }
}

impl Filter for PrefixAffinity {
    fn filter(&self, ask: &Ask<'_>, candidates: &Candidates, rng: &mut Rng, keep: &mut [bool]) {
        if self.exploration > 0.0 && rng.random_bool(self.exploration) {
            return;
        }
        if self.breaks_stickiness(ask, candidates, keep) {
            return;
        }
        for (row, kept) in keep.iter_mut().enumerate() {
            *kept &= self.is_sticky(ask, candidates, row);
        }
    }

    fn reason(
        &self,
        ask: &Ask<'_>,
        candidates: &Candidates,
        _before: &[bool],
        row: usize,
    ) -> String {
        format!(
            "holds {:.0} % of the prompt while another holds {:.0} % or more",
            ratio(ask, candidates, row) * 100.0,
            self.threshold * 100.0
        )
    }

    fn reads_prefix(&self) -> bool {
        true
    }

    fn reads_forecasts(&self) -> bool {
        self.ms_per_token.is_none()
    }
}
