//! Which profiles does a profile handler run, and what do those around it take?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ParamError;
use super::params::Params;
use super::wiring::{LatencyWiring, Wiring};
use crate::headers::header_name;

/// A handler that runs more than one profile.
pub(crate) enum Handler {
    Stages(Disagg),
    Header(ByHeader),
}

/// Parameters of `disagg-profile-handler`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Disagg {
    /// `decode-first`: a decider looks at the endpoint that decodes; `prefill-first`: at the one picked for its stage.
    pub(crate) stage_order: StageOrder,
    /// Names of the stages' profiles.
    pub(crate) profiles: Profiles,
    /// Names of the stages' deciders; a stage without one is never split off.
    pub(crate) deciders: Deciders,
    /// Older spelling of `deciders.prefill`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) decider_plugin_name: String,
    /// Older spelling of `profiles.decode`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) decode_profile: String,
    /// Older spelling of `profiles.prefill`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) prefill_profile: String,
    /// Older spelling of `profiles.encode`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) encode_profile: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StageOrder {
    #[default]
    DecodeFirst,
    PrefillFirst,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Profiles {
    pub(crate) decode: String,
    pub(crate) prefill: String,
    pub(crate) encode: String,
}

impl Default for Profiles {
    fn default() -> Self {
        Self {
            decode: "decode".to_owned(),
            prefill: "prefill".to_owned(),
            encode: "encode".to_owned(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Deciders {
    pub(crate) prefill: Option<String>,
    pub(crate) encode: Option<String>,
}

impl Params for Disagg {}

impl Disagg {
    pub(crate) fn handler(mut params: Self) -> Result<Handler, ParamError> {
        let older = [
            (&params.decode_profile, &mut params.profiles.decode),
            (&params.prefill_profile, &mut params.profiles.prefill),
            (&params.encode_profile, &mut params.profiles.encode),
        ];
        for (older, name) in older.into_iter().filter(|(older, _)| !older.is_empty()) {
            name.clone_from(older);
        }
        if !params.decider_plugin_name.is_empty() {
            if params.deciders.prefill.is_some() {
                return Err(ParamError::new(
                    "deciderPluginName",
                    "`deciders.prefill` is there too; keep that",
                ));
            }
            params.deciders.prefill = Some(params.decider_plugin_name.clone());
        }
        Ok(Handler::Stages(params))
    }
}

/// Parameters of `header-profile-handler`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ByHeader {
    /// Request header whose value names the profile.
    pub(crate) header_name: String,
    /// Runs where the header is missing, or names none.
    pub(crate) default_profile: String,
}

impl Default for ByHeader {
    fn default() -> Self {
        Self {
            header_name: "EPP-Profile".to_owned(),
            default_profile: "decode".to_owned(),
        }
    }
}

impl Params for ByHeader {}

impl ByHeader {
    pub(crate) fn handler(params: Self) -> Result<Handler, ParamError> {
        let header_name = header_name("headerName", &params.header_name)?;
        Ok(Handler::Header(Self {
            header_name,
            ..params
        }))
    }
}

/// Parameters of `predicted-latency-producer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct PredictedLatency {
    /// What a request's time for each token is multiplied by before it is held against what is expected.
    pub(crate) slo_buffer_factor: f64,
    /// Of a trained predictor's samples: accepted, every answer teaches here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sampling_mean: Option<f64>,
    /// Of a trained predictor's samples: accepted, every answer teaches here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_decode_token_samples_for_prediction: Option<u32>,
    /// Accepted: what is kept of a request ends with it.
    #[serde(rename = "contextTTL", skip_serializing_if = "Option::is_none")]
    pub(crate) context_ttl: Option<String>,
    /// Accepted: streamed answers teach both times, others none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) streaming_mode: Option<bool>,
    /// Accepted: each endpoint has rates of its own, whatever its role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint_role_label: Option<String>,
    /// Accepted while true: times are expected for the plugins that read them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) predict_in_produce: Option<bool>,
}

impl Default for PredictedLatency {
    fn default() -> Self {
        Self {
            slo_buffer_factor: f64::from(LatencyWiring::default().slo_buffer),
            sampling_mean: None,
            max_decode_token_samples_for_prediction: None,
            context_ttl: None,
            streaming_mode: None,
            endpoint_role_label: None,
            predict_in_produce: None,
        }
    }
}

impl Params for PredictedLatency {}

pub(crate) fn predicted_latency(
    params: &PredictedLatency,
    wiring: &mut Wiring,
) -> Result<(), ParamError> {
    let buffer = params.slo_buffer_factor;
    if !(buffer > 0.0 && buffer.is_finite()) {
        return Err(ParamError::new("sloBufferFactor", "must be more than 0"));
    }
    if params.predict_in_produce == Some(false) {
        let message = "not honoured: what reads expected times gets them; remove it";
        return Err(ParamError::new("predictInProduce", message));
    }
    wiring.latency.slo_buffer = buffer as f32;
    Ok(())
}
