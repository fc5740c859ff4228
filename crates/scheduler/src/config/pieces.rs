//! What do the plugins of flow control take?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ParamError;
use super::params::Params;
use super::wired::parse_duration;
use crate::flow::{KV_USAGE, QUEUE_DEPTH, STALENESS};
use crate::{Detector, Fairness, Order};

/// What a plugin of flow control is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Piece {
    Detector(Detector),
    Order(Order),
    Fairness(Fairness),
    /// Saturation from which nothing is sent on.
    Ceiling(f64),
}

/// Parameters of `utilization-detector`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct UtilizationParams {
    /// Waiting requests that make an endpoint full.
    pub(crate) queue_depth_threshold: f64,
    /// KV use, 0..=1, that makes it full.
    pub(crate) kv_cache_util_threshold: f64,
    /// An endpoint with work of ours whose figures are older than this counts as full.
    pub(crate) metrics_staleness_threshold: String,
    /// As a filter: how far above full an endpoint still stays.
    pub(crate) headroom: f64,
}

impl Default for UtilizationParams {
    fn default() -> Self {
        Self {
            queue_depth_threshold: QUEUE_DEPTH,
            kv_cache_util_threshold: KV_USAGE,
            metrics_staleness_threshold: format!("{}s", STALENESS.as_secs()),
            headroom: 0.0,
        }
    }
}

impl Params for UtilizationParams {}

/// Parameters of `concurrency-detector`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ConcurrencyParams {
    /// `requests`, `tokens`, or `hybrid` for the fuller of both.
    pub(crate) concurrency_mode: String,
    /// Requests in flight that make an endpoint full.
    pub(crate) max_concurrency: f64,
    /// Uncached prompt tokens in flight that make it full.
    pub(crate) max_token_concurrency: f64,
    /// As a filter: how far above full an endpoint still stays.
    pub(crate) headroom: f64,
}

impl Default for ConcurrencyParams {
    fn default() -> Self {
        Self {
            concurrency_mode: "requests".to_owned(),
            max_concurrency: 100.0,
            max_token_concurrency: 1_000_000.0,
            headroom: 0.0,
        }
    }
}

impl Params for ConcurrencyParams {}

/// Parameters of `static-usage-limit-policy`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct LimitParams {
    /// Saturation from which nothing is sent on.
    pub(crate) threshold: f64,
}

impl Default for LimitParams {
    fn default() -> Self {
        Self {
            threshold: DEFAULT_CEILING,
        }
    }
}

impl Params for LimitParams {}

pub(super) const DEFAULT_CEILING: f64 = 1.0;

fn positive(name: &str, value: f64) -> Result<f64, ParamError> {
    match value > 0.0 && value.is_finite() {
        true => Ok(value),
        false => Err(ParamError::new(name, "must be more than 0")),
    }
}

fn headroom(value: f64) -> Result<f64, ParamError> {
    match value >= 0.0 && value.is_finite() {
        true => Ok(value),
        false => Err(ParamError::new("headroom", "must be 0 or more")),
    }
}

pub(crate) fn utilization(params: &UtilizationParams) -> Result<Piece, ParamError> {
    let staleness = parse_duration(&params.metrics_staleness_threshold).ok_or_else(|| {
        ParamError::new(
            "metricsStalenessThreshold",
            "must be a duration, as `500ms` or `2s`",
        )
    })?;
    Ok(Piece::Detector(Detector::Utilization {
        queue_depth: positive("queueDepthThreshold", params.queue_depth_threshold)?,
        kv_usage: positive("kvCacheUtilThreshold", params.kv_cache_util_threshold)?,
        staleness,
        headroom: headroom(params.headroom)?,
    }))
}

pub(crate) fn concurrency(params: &ConcurrencyParams) -> Result<Piece, ParamError> {
    let requests = positive("maxConcurrency", params.max_concurrency)?;
    let tokens = positive("maxTokenConcurrency", params.max_token_concurrency)?;
    let (max_requests, max_tokens) = match params.concurrency_mode.as_str() {
        "requests" => (Some(requests), None),
        "tokens" => (None, Some(tokens)),
        "hybrid" => (Some(requests), Some(tokens)),
        _ => {
            return Err(ParamError::new(
                "concurrencyMode",
                "must be `requests`, `tokens` or `hybrid`",
            ));
        }
    };
    Ok(Piece::Detector(Detector::Concurrency {
        max_requests,
        max_tokens,
        headroom: headroom(params.headroom)?,
    }))
}

pub(crate) fn limit(params: &LimitParams) -> Result<Piece, ParamError> {
    Ok(Piece::Ceiling(positive("threshold", params.threshold)?))
}
