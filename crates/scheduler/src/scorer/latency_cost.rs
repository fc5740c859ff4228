//! How many milliseconds until this request's tokens are out, there, and what does it cost the others?
//!
//! One currency for cache, queue and load. With `r` the learned milliseconds per uncached prompt token at the
//! endpoint, `d` its learned milliseconds per output token, `Q` the uncached tokens that wait there, `U` those of
//! this request, `A` our requests in flight there and `O` the output expected:
//!
//! ```text
//! cost = r * (Q + U)  +  d * O  +  h * r * U * A
//!        own wait        own output  what U adds to the step times of the A others
//! ```
//!
//! The last term is what a selfish choice leaves out: each token computed here holds up everyone who decodes here.
//! Nothing is calibrated by hand: `r` and `d` come from observed times, so mixed accelerators need no weights.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units;
use crate::config::{ParamError, params};
use crate::numbers::load;
use crate::{Ask, Candidates, Raw, Scorer};

/// Parameters of `latency-cost-scorer`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Weight of the delay this request's prefill causes to requests already there; 0 is a selfish choice.
    pub(crate) harm: f64,
    pub(crate) wait: f64,
    pub(crate) decode: f64,
    pub(crate) pressure: f64,
    pub(crate) crowd: f64,
    pub(crate) queueharm: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            harm: 1.0,
            wait: 1.0,
            decode: 1.0,
            pressure: 0.0,
            crowd: 1.0,
            queueharm: 0.0,
        }
    }
}

impl params::Params for Params {}

/// Above this share of prefill time the estimate of what follows has no end.
const MAX_BUSY: f32 = 0.95;

/// `latency-cost-scorer`: least cost / cost, both in milliseconds.
pub(crate) struct LatencyCost {
    harm: f32,
    params: [f32; 5],
}

impl LatencyCost {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        if !(0.0..=100.0).contains(&params.harm) {
            return Err(ParamError::new("harm", "must be between 0 and 100"));
        }
        Ok(Self {
            harm: params.harm as f32,
            params: [
                params.wait,
                params.decode,
                params.pressure,
                params.crowd,
                params.queueharm,
            ]
            .map(|x| x as f32),
        })
    }

    /// How many requests to come a millisecond of prefill holds up, for each that waits now: those that wait when it is
    /// done have met those that came meanwhile, and so on, until the queue is empty (Kleinrock, 1976, busy periods).
    fn followers(candidates: &Candidates) -> f32 {
        let sum: f32 = candidates
            .forecasts
            .iter()
            .map(|forecast| load(forecast.busy))
            .sum();
        let busy = sum / (candidates.forecasts.len().max(1) as f32);
        1.0 / (1.0 - busy.min(MAX_BUSY))
    }

    fn cost_ms(&self, ask: &Ask<'_>, candidates: &Candidates, row: usize, followers: f32) -> f32 {
        if let Some(forecast) = candidates.forecasts.get(row) {
            let [wait, decode, pressure, crowd, queueharm] = self.params;
            let output = load(ask.expected_output_tokens);
            let decoding = (load(candidates.active_requests[row]) - forecast.waiting).max(0.0);
            return load(
                wait * forecast.wait_ms
                    + (1.0 + pressure + queueharm * followers * forecast.waiting)
                        * forecast.prefill_ms
                    + decode * output * forecast.token_ms
                    + self.harm
                        * decoding
                        * (forecast.prefill_ms + crowd * output * forecast.crowd_ms),
            ) + 1e-3;
        }
        let rate = load(candidates.prefill_ms_per_token[row]);
        let uncached =
            load(load(ask.prompt_tokens) - load(candidates.matched_tokens[row])).max(1.0);
        let wait = rate * (load(candidates.queued_tokens[row]) + uncached);
        let output = load(ask.expected_output_tokens) * load(candidates.decode_ms_per_token[row]);
        let harm = self.harm * rate * uncached * load(candidates.active_requests[row]);
        // Never 0, so that costs can be divided.
        load(wait + output + harm) + 1e-3
    }
}

impl Scorer for LatencyCost {
    fn score(&self, ask: &Ask<'_>, candidates: &Candidates, keep: &[bool], out: &mut [f32]) {
        let followers = Self::followers(candidates);
        let mut least = f32::INFINITY;
        for (row, (cost, kept)) in out.iter_mut().zip(keep).enumerate() {
            *cost = self.cost_ms(ask, candidates, row, followers);
            if *kept {
                least = least.min(*cost);
            }
        }
        for cost in out.iter_mut() {
            *cost = (least / *cost).min(1.0);
        }
    }

    fn raw(&self, ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw {
        Raw {
            value: f64::from(self.cost_ms(ask, candidates, row, Self::followers(candidates))),
            unit: units::COST_MS,
        }
    }

    fn reads_prefix(&self) -> bool {
        true
    }

    fn reads_forecasts(&self) -> bool {
        true
    }
}
