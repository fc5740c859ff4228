//! Which endpoints are above a fixed limit?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ParamError, params};
use crate::numbers::load;
use crate::{Ask, Candidates, Filter, Rng};

/// Parameters of `utilization-filter`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// An endpoint stays when every condition holds; at least one is needed.
    pub(crate) conditions: Vec<Condition>,
    /// Keep all candidates when none meets the conditions; otherwise the request is refused.
    pub(crate) fallback_on_empty: bool,
}

impl params::Params for Params {}

/// One limit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Condition {
    pub(crate) metric: Metric,
    /// Largest value that still passes, in the metric's own unit (requests, or 0..=1 for the KV cache).
    pub(crate) max_value: f64,
}

/// What a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Metric {
    /// Our own requests in flight.
    ActiveRequests,
    /// Running requests, last scrape.
    RunningRequests,
    /// Waiting requests.
    WaitingQueue,
    /// Used share of the KV cache, 0..=1.
    KvCacheUtilization,
}

impl Metric {
    fn column(self, candidates: &Candidates) -> &[f32] {
        match self {
            Self::ActiveRequests => &candidates.active_requests,
            Self::RunningRequests => &candidates.running_requests,
            Self::WaitingQueue => &candidates.queue_requests,
            Self::KvCacheUtilization => &candidates.kv_usage,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::ActiveRequests => "active-requests",
            Self::RunningRequests => "running-requests",
            Self::WaitingQueue => "waiting-queue",
            Self::KvCacheUtilization => "kv-cache-utilization",
        }
    }
}

pub(crate) struct Utilization {
    conditions: Vec<Condition>,
    fallback_on_empty: bool,
}

impl Utilization {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        if params.conditions.is_empty() {
            return Err(ParamError::new(
                "conditions",
                "needs at least one {metric, maxValue}",
            ));
        }
        if params
            .conditions
            .iter()
            .any(|c| !(c.max_value >= 0.0 && c.max_value.is_finite()))
        {
            return Err(ParamError::new(
                "conditions",
                "`maxValue` must be 0 or more",
            ));
        }
        Ok(Self {
            conditions: params.conditions.clone(),
            fallback_on_empty: params.fallback_on_empty,
        })
    }

    fn broken(&self, candidates: &Candidates, row: usize) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|c| f64::from(load(c.metric.column(candidates)[row])) > c.max_value)
    }
}

impl Filter for Utilization {
    fn filter(&self, _ask: &Ask<'_>, candidates: &Candidates, _rng: &mut Rng, keep: &mut [bool]) {
        let stays = |row: usize| self.broken(candidates, row).is_none();
        if self.fallback_on_empty && !(0..keep.len()).any(|row| keep[row] && stays(row)) {
            return;
        }
        for (row, kept) in keep.iter_mut().enumerate() {
            *kept &= stays(row);
        }
    }

    fn reason(
        &self,
        _ask: &Ask<'_>,
        candidates: &Candidates,
        _before: &[bool],
        row: usize,
    ) -> String {
        match self.broken(candidates, row) {
            Some(c) => format!(
                "{} is {:.2}, above {:.2}",
                c.metric.name(),
                load(c.metric.column(candidates)[row]),
                c.max_value
            ),
            None => "within every limit".to_owned(),
        }
    }

    fn reads_scrape(&self) -> bool {
        self.conditions
            .iter()
            .any(|c| c.metric != Metric::ActiveRequests)
    }
}
