//! Does the cache save here what the queue costs?
//!
//! With weights 3/1/1 the load scorers can win at most 2.0 together while a prefix gap is worth up to 3.0, so
//! a gap over two thirds can never be outweighed, however long the queue of the endpoint that holds the
//! prefix. This filter compares the two in one unit, milliseconds of prefill, and takes out an endpoint whose
//! wait is longer than what its cache saves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ParamError, params};
use crate::numbers::load;
use crate::{Ask, Candidates, Filter, Rng};

/// Parameters of `overload-guard`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Milliseconds by which the wait may exceed the saving before the endpoint is removed.
    pub(crate) slack_ms: f64,
}

impl params::Params for Params {}

pub(crate) struct OverloadGuard {
    slack_ms: f32,
}

impl OverloadGuard {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        if !(params.slack_ms >= 0.0 && params.slack_ms.is_finite()) {
            return Err(ParamError::new("slackMs", "must be 0 or more milliseconds"));
        }
        Ok(Self {
            slack_ms: params.slack_ms as f32,
        })
    }
}

fn queued_ms(candidates: &Candidates, row: usize) -> f32 {
    load(load(candidates.queued_tokens[row]) * load(candidates.prefill_ms_per_token[row]))
}

fn saved_ms(candidates: &Candidates, row: usize) -> f32 {
    load(load(candidates.matched_tokens[row]) * load(candidates.prefill_ms_per_token[row]))
}

fn least_queued_ms(candidates: &Candidates, keep: &[bool]) -> f32 {
    let queued = candidates
        .queued_tokens
        .iter()
        .zip(&candidates.prefill_ms_per_token);
    queued
        .zip(keep)
        .fold(f32::INFINITY, |least, ((tokens, ms), kept)| {
            let queued = load(load(*tokens) * load(*ms));
            if *kept && queued < least {
                queued
            } else {
                least
            }
        })
}

impl Filter for OverloadGuard {
    fn filter(&self, _ask: &Ask<'_>, candidates: &Candidates, _rng: &mut Rng, keep: &mut [bool]) {
        let least = least_queued_ms(candidates, keep);
        let columns = candidates
            .queued_tokens
            .iter()
            .zip(&candidates.matched_tokens)
            .zip(&candidates.prefill_ms_per_token);
        for (kept, ((queued, matched), ms)) in keep.iter_mut().zip(columns) {
            let ms = load(*ms);
            let wait = load(load(*queued) * ms) - least;
            // The least queued row waits 0 longer, and 0 is never more than a saving: one always remains.
            *kept &= wait <= load(load(*matched) * ms) + self.slack_ms;
        }
    }

    fn reason(
        &self,
        _ask: &Ask<'_>,
        candidates: &Candidates,
        before: &[bool],
        row: usize,
    ) -> String {
        format!(
            "{:.0} ms of prefill queued here against {:.0} ms at the least queued endpoint, more than the {:.0} ms its cached prefix saves",
            queued_ms(candidates, row),
            least_queued_ms(candidates, before),
            saved_ms(candidates, row),
        )
    }

    fn reads_prefix(&self) -> bool {
        true
    }
}
