//! Where do we have the fewest requests in flight ourselves?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units;
use crate::config::{INFLIGHT_LOAD_PRODUCER, ParamError, params};
use crate::numbers::{kept_range, load, unit};
use crate::{Ask, Candidates, Raw, Scorer};

/// Parameters of `active-request-scorer`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Requests in flight up to which an endpoint counts as idle and scores 1.
    pub(crate) idle_threshold: u32,
    /// Best score, 0..=1, of an endpoint that is not idle.
    pub(crate) max_busy_score: f64,
    /// Name of the producer of counts: an `inflight-load-producer`.
    pub(crate) in_flight_load_producer_name: String,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            idle_threshold: 0,
            max_busy_score: 1.0,
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

/// `active-request-scorer`: 1 up to the idle threshold, else (max - c) / max * best busy score.
pub(crate) struct ActiveRequest {
    idle_threshold: f32,
    max_busy_score: f32,
}

impl ActiveRequest {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        if !(0.0..=1.0).contains(&params.max_busy_score) {
            return Err(ParamError::new("maxBusyScore", "must be between 0 and 1"));
        }
        Ok(Self {
            idle_threshold: params.idle_threshold as f32,
            max_busy_score: params.max_busy_score as f32,
        })
    }
}

impl Scorer for ActiveRequest {
    fn score(&self, _ask: &Ask<'_>, candidates: &Candidates, keep: &[bool], out: &mut [f32]) {
        let (_, most) = kept_range(&candidates.active_requests, keep);
        let per_request = if most > 0.0 {
            self.max_busy_score / most
        } else {
            0.0
        };
        for (score, count) in out.iter_mut().zip(&candidates.active_requests) {
            let count = load(*count);
            let busy = unit((most - count) * per_request);
            *score = if count <= self.idle_threshold {
                1.0
            } else {
                busy
            };
        }
    }

    fn raw(&self, _ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw {
        Raw {
            value: f64::from(candidates.active_requests[row]),
            unit: units::IN_FLIGHT,
        }
    }
}
