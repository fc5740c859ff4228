//! How full is the queue, against a fixed threshold?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units;
use crate::config::{ParamError, params};
use crate::numbers::load;
use crate::{Ask, Candidates, Raw, Scorer};

/// Parameters of `load-aware-scorer`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Waiting requests at which the score reaches 0.
    pub(crate) threshold: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self { threshold: 128 }
    }
}

impl params::Params for Params {}

/// `load-aware-scorer`: 0.5 * (1 - min(q, threshold) / threshold), so 0.5 for an empty queue.
pub(crate) struct LoadAware {
    threshold: f32,
}

impl LoadAware {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        if params.threshold == 0 {
            return Err(ParamError::new("threshold", "must be 1 or more"));
        }
        Ok(Self {
            threshold: params.threshold as f32,
        })
    }
}

impl Scorer for LoadAware {
    fn score(&self, _ask: &Ask<'_>, candidates: &Candidates, _keep: &[bool], out: &mut [f32]) {
        for (score, queue) in out.iter_mut().zip(&candidates.queue_requests) {
            let filled = load(*queue).min(self.threshold) / self.threshold;
            *score = 0.5 * (1.0 - filled);
        }
    }

    fn raw(&self, _ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw {
        Raw {
            value: f64::from(candidates.queue_requests[row]),
            unit: units::WAITING,
        }
    }

    fn reads_scrape(&self) -> bool {
        true
    }
}
