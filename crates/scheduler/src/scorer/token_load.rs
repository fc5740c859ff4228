//! Where is the least prefill work, this request's own included?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units;
use crate::config::{INFLIGHT_LOAD_PRODUCER, ParamError, params};
use crate::numbers::{load, unit};
use crate::{Ask, Candidates, Raw, Scorer};

/// Parameters of `token-load-scorer`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Tokens in flight at which the score reaches 0.
    pub(crate) queue_threshold_tokens: u32,
    /// Name of the producer of token counts: an `inflight-load-producer`.
    pub(crate) in_flight_load_producer_name: String,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            queue_threshold_tokens: 4_194_304,
            in_flight_load_producer_name: INFLIGHT_LOAD_PRODUCER.to_owned(),
        }
    }
}

impl params::Params for Params {
    fn references(&self) -> Vec<params::Reference> {
        vec![params::Reference {
            parameter: "inFlightLoadProducerName",
            name: self.in_flight_load_producer_name.clone(),
            to: params::Target::Plugin(INFLIGHT_LOAD_PRODUCER),
        }]
    }
}

/// `token-load-scorer`: 1 - min(t, T) / T, t = tokens in flight plus this request's uncached tokens there.
pub(crate) struct TokenLoad {
    per_token: f32,
}

impl TokenLoad {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        if params.queue_threshold_tokens == 0 {
            return Err(ParamError::new(
                "queueThresholdTokens",
                "must be more than 0 tokens",
            ));
        }
        Ok(Self {
            per_token: 1.0 / params.queue_threshold_tokens as f32,
        })
    }
}

fn tokens(prompt_tokens: f32, active: f32, matched: f32) -> f32 {
    load(active) + load(load(prompt_tokens) - load(matched))
}

impl Scorer for TokenLoad {
    fn score(&self, ask: &Ask<'_>, candidates: &Candidates, _keep: &[bool], out: &mut [f32]) {
        let loads = candidates
            .active_tokens
            .iter()
            .zip(&candidates.matched_tokens);
        for (score, (active, matched)) in out.iter_mut().zip(loads) {
            *score = 1.0 - unit(tokens(ask.prompt_tokens, *active, *matched) * self.per_token);
        }
    }

    fn raw(&self, ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw {
        let load = tokens(
            ask.prompt_tokens,
            candidates.active_tokens[row],
            candidates.matched_tokens[row],
        );
        Raw {
            value: f64::from(load),
            unit: units::LOAD_TOKENS,
        }
    }

    fn reads_prefix(&self) -> bool {
        true
    }
}
