//! How does one chosen figure of each endpoint compare?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units;
use crate::config::{ParamError, hint, params};
use crate::numbers::{kept_range, load, unit};
use crate::{Ask, Candidates, Raw, Scorer};

/// Parameters of `endpoint-attribute-scorer`; `attributeKey` and `algorithm.type` are needed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// The figure: `waiting-queue`, `running-requests`, `kv-cache-utilization`, `active-requests`,
    /// `active-tokens`, `queued-tokens`, `prefill-ms-per-token` or `decode-ms-per-token`.
    pub(crate) attribute_key: String,
    pub(crate) algorithm: Algorithm,
}

/// How a figure becomes a score.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Algorithm {
    /// `linear_lower_is_better` or `linear_higher_is_better`.
    pub(crate) r#type: String,
    /// Range that is stretched over 0..1; the candidates' own when absent.
    pub(crate) normalization: Normalization,
}

/// At most one of the two.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Normalization {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fixed_range: Option<FixedRange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) adaptive_range: Option<AdaptiveRange>,
}

/// Figures outside are clamped.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FixedRange {
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// Smallest and largest figure of the candidates.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AdaptiveRange {}

impl params::Params for Params {}

type Column = fn(&Candidates) -> &[f32];

/// A figure somebody produces for every endpoint.
struct Attribute {
    key: &'static str,
    column: Column,
    scraped: bool,
    /// 0 stands for a figure that is not known yet.
    learned: bool,
}

const fn attribute(key: &'static str, column: Column, scraped: bool, learned: bool) -> Attribute {
    Attribute {
        key,
        column,
        scraped,
        learned,
    }
}

static ATTRIBUTES: [Attribute; 8] = [
    attribute("waiting-queue", |c| &c.queue_requests, true, false),
    attribute("running-requests", |c| &c.running_requests, true, false),
    attribute("kv-cache-utilization", |c| &c.kv_usage, true, false),
    attribute("active-requests", |c| &c.active_requests, false, false),
    attribute("active-tokens", |c| &c.active_tokens, false, false),
    attribute("queued-tokens", |c| &c.queued_tokens, false, false),
    attribute(
        "prefill-ms-per-token",
        |c| &c.prefill_ms_per_token,
        false,
        true,
    ),
    attribute(
        "decode-ms-per-token",
        |c| &c.decode_ms_per_token,
        false,
        true,
    ),
];

/// `endpoint-attribute-scorer`: the figure's place in its range, linear; one that is not known scores 0.
pub(crate) struct EndpointAttribute {
    attribute: &'static Attribute,
    lower_is_better: bool,
    fixed: Option<(f32, f32)>,
}

impl EndpointAttribute {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        let key = params.attribute_key.as_str();
        let Some(attribute) = ATTRIBUTES.iter().find(|known| known.key == key) else {
            let names = hint(key, ATTRIBUTES.iter().map(|known| known.key));
            let message = format!("nobody produces `{key}`{names}");
            return Err(ParamError::new("attributeKey", message));
        };
        let lower_is_better = match params.algorithm.r#type.as_str() {
            "linear_lower_is_better" => true,
            "linear_higher_is_better" => false,
            _ => {
                let message =
                    "`type` must be `linear_lower_is_better` or `linear_higher_is_better`";
                return Err(ParamError::new("algorithm", message));
            }
        };
        Ok(Self {
            attribute,
            lower_is_better,
            fixed: fixed(&params.algorithm.normalization)?,
        })
    }

    fn known(&self, value: f32) -> bool {
        !self.attribute.learned || value > 0.0
    }
}

fn fixed(normalization: &Normalization) -> Result<Option<(f32, f32)>, ParamError> {
    let Some(FixedRange { min, max }) = normalization.fixed_range else {
        return Ok(None);
    };
    if normalization.adaptive_range.is_some() {
        let message = "`fixedRange` and `adaptiveRange` exclude each other; keep one";
        return Err(ParamError::new("algorithm", message));
    }
    if !(min.is_finite() && max.is_finite() && min < max) {
        let message = "`fixedRange` needs a `min` below its `max`";
        return Err(ParamError::new("algorithm", message));
    }
    Ok(Some((min as f32, max as f32)))
}

impl Scorer for EndpointAttribute {
    fn score(&self, _ask: &Ask<'_>, candidates: &Candidates, keep: &[bool], out: &mut [f32]) {
        let column = (self.attribute.column)(candidates);
        let (low, high) = self.fixed.unwrap_or_else(|| {
            if !self.attribute.learned {
                return kept_range(column, keep);
            }
            let rows = column.iter().zip(keep);
            let known: Vec<bool> = rows.map(|(x, kept)| *kept && self.known(*x)).collect();
            kept_range(column, &known)
        });
        let spread = high - low;
        for (score, value) in out.iter_mut().zip(column) {
            let place = unit((load(*value) - low) / spread);
            *score = match (self.known(*value), spread > 0.0) {
                (false, _) => 0.0,
                // All equal.
                (true, false) => 1.0,
                (true, true) if self.lower_is_better => 1.0 - place,
                (true, true) => place,
            };
        }
    }

    fn raw(&self, _ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw {
        Raw {
            value: f64::from((self.attribute.column)(candidates)[row]),
            unit: units::ATTRIBUTE,
        }
    }

    fn reads_scrape(&self) -> bool {
        self.attribute.scraped
    }
}
