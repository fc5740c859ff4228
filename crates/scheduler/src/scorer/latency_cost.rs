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
}

impl Default for Params {
    fn default() -> Self {
        Self { harm: 1.0 }
    }
}

impl params::Params for Params {}

/// `latency-cost-scorer`: least cost / cost, both in milliseconds.
pub(crate) struct LatencyCost {
    harm: f32,
}

impl LatencyCost {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        if !(0.0..=100.0).contains(&params.harm) {
            return Err(ParamError::new("harm", "must be between 0 and 100"));
        }
        Ok(Self {
            harm: params.harm as f32,
        })
    }

    fn cost_ms(&self, ask: &Ask<'_>, candidates: &Candidates, row: usize) -> f32 {
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
        let mut least = f32::INFINITY;
        for (row, (cost, kept)) in out.iter_mut().zip(keep).enumerate() {
            *cost = self.cost_ms(ask, candidates, row);
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
            value: f64::from(self.cost_ms(ask, candidates, row)),
            unit: units::COST_MS,
        }
    }

    fn reads_prefix(&self) -> bool {
        true
    }
}
