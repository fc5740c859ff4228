//! Who already holds the beginning of this prompt?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units;
use crate::config::{APPROX_PREFIX_PRODUCER, ParamError, params};
use crate::numbers::{load, unit};
use crate::{Ask, Candidates, Raw, Scorer};

/// Parameters of `prefix-cache-scorer`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Name of the producer of matches: an `approx-prefix-cache-producer`.
    pub(crate) prefix_match_info_producer_name: String,
    /// Share of the score, 0..=1, that goes by the absolute length of the match instead of its ratio.
    pub(crate) match_length_weight: f64,
    /// Tokens of match at which the length part reaches 1.
    pub(crate) match_length_scale_tokens: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            prefix_match_info_producer_name: APPROX_PREFIX_PRODUCER.to_owned(),
            match_length_weight: 0.0,
            match_length_scale_tokens: 8192.0,
        }
    }
}

impl params::Params for Params {
    fn references(&self) -> Vec<params::Reference> {
        vec![params::Reference {
            parameter: "prefixMatchInfoProducerName",
            name: self.prefix_match_info_producer_name.clone(),
            to: params::Target::Plugin(APPROX_PREFIX_PRODUCER),
        }]
    }
}

/// `prefix-cache-scorer`: w * min(1, matched tokens / scale)^2 + (1 - w) * matched / total blocks.
pub(crate) struct PrefixCache {
    length_weight: f32,
    per_scale_token: f32,
}

impl PrefixCache {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        if !(0.0..=1.0).contains(&params.match_length_weight) {
            return Err(ParamError::new(
                "matchLengthWeight",
                "must be between 0 and 1",
            ));
        }
        if !(params.match_length_scale_tokens > 0.0 && params.match_length_scale_tokens.is_finite())
        {
            return Err(ParamError::new(
                "matchLengthScaleTokens",
                "must be more than 0 tokens",
            ));
        }
        Ok(Self {
            length_weight: params.match_length_weight as f32,
            per_scale_token: (1.0 / params.match_length_scale_tokens) as f32,
        })
    }
}

impl Scorer for PrefixCache {
    fn score(&self, ask: &Ask<'_>, candidates: &Candidates, _keep: &[bool], out: &mut [f32]) {
        let per_block = if ask.total_blocks > 0.0 {
            1.0 / ask.total_blocks
        } else {
            0.0
        };
        if self.length_weight == 0.0 {
            for (score, blocks) in out.iter_mut().zip(&candidates.matched_blocks) {
                *score = unit(load(*blocks) * per_block);
            }
            return;
        }
        let matches = candidates
            .matched_blocks
            .iter()
            .zip(&candidates.matched_tokens);
        for (score, (blocks, tokens)) in out.iter_mut().zip(matches) {
            let ratio = unit(load(*blocks) * per_block);
            let length = unit(load(*tokens) * self.per_scale_token);
            *score =
                unit(self.length_weight * length * length + (1.0 - self.length_weight) * ratio);
        }
    }

    fn raw(&self, _ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw {
        Raw {
            value: f64::from(candidates.matched_tokens[row]),
            unit: units::CACHED_TOKENS,
        }
    }

    fn reads_prefix(&self) -> bool {
        true
    }
}
