//! How many requests of low priority are turned away as a pool fills?

use rand::Rng as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ParamError, params};
use crate::flow::{KV_USAGE, QUEUE_DEPTH, STALENESS};
use crate::{Admitter, Ask, Candidates, Detector, Rng};

/// Parameters of `probabilistic-admitter`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Waiting requests that make an endpoint full.
    pub(crate) queue_depth_threshold: f64,
    /// KV use, 0..=1, that makes it full.
    pub(crate) kv_cache_util_threshold: f64,
    /// How late it sets in.
    pub(crate) power: f64,
    /// How hard it sets in.
    pub(crate) k: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            queue_depth_threshold: QUEUE_DEPTH,
            kv_cache_util_threshold: KV_USAGE,
            power: 5.0,
            k: 300.0,
        }
    }
}

impl params::Params for Params {}

/// `probabilistic-admitter`: a request of priority below 0 is turned away with p = min(saturation^power * k, 1).
pub(crate) struct Probabilistic {
    detector: Detector,
    power: f64,
    k: f64,
}

impl Probabilistic {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        let positive = [
            ("queueDepthThreshold", params.queue_depth_threshold),
            ("kvCacheUtilThreshold", params.kv_cache_util_threshold),
            ("power", params.power),
            ("k", params.k),
        ];
        for (name, value) in positive {
            if !(value > 0.0 && value.is_finite()) {
                return Err(ParamError::new(name, "must be more than 0"));
            }
        }
        Ok(Self {
            detector: Detector::Utilization {
                queue_depth: params.queue_depth_threshold,
                kv_usage: params.kv_cache_util_threshold,
                staleness: STALENESS,
                headroom: 0.0,
            },
            power: params.power,
            k: params.k,
        })
    }
}

impl Admitter for Probabilistic {
    fn admit(&self, ask: &Ask<'_>, candidates: &Candidates, rng: &mut Rng) -> Result<(), String> {
        if ask.priority >= 0 {
            return Ok(());
        }
        let saturation = self.detector.mean(candidates);
        let chance = (saturation.max(0.0).powf(self.power) * self.k).min(1.0);
        match rng.random_bool(chance) {
            false => Ok(()),
            true => Err(format!(
                "priority {}, saturation {saturation:.2}: turned away with a chance of {chance:.2}",
                ask.priority
            )),
        }
    }

    fn reads_scrape(&self) -> bool {
        true
    }
}
