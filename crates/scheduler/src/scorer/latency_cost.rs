//! How many milliseconds until this request's tokens are out, there, and what does it cost the others?
//!
//! One currency for cache, queue and load, with everything learned by the fleet from its own answers
//! ([`crate::Forecast`]): `W` until the prefills sent there are done, `U` for this request's own prefill there, `T` for
//! each of its output tokens there, `O` the output expected, `n` our requests there without a first byte, `A` those with
//! one, `busy` the share of time for which the fleet was sent prefill lately:
//!
//! ```text
//! cost = W + U * (1 + replication + n / (1 - busy) + harm * A) + decode * T * O
//! ```
//!
//! `U` is paid more than once. Tokens computed here though another endpoint holds them take room from what is cached here:
//! `replication`. Whoever comes while the queue lasts waits for them too: about `n` now, and those that come meanwhile, and
//! so on (the busy period of a queue, Kleinrock 1975, chapter 5). And they hold up those who decode here: `harm`. Time in
//! the stream weighs less than time before its first token: `decode` and `harm` are below 1.
//!
//! Nothing is calibrated by hand and nothing of it is scraped: what we sent and what came back is enough, and stale
//! metrics cannot make a herd.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units;
use crate::config::{ParamError, params};
use crate::numbers::load;
use crate::{Ask, Candidates, Raw, Scorer};

/// Parameters of `latency-cost-scorer`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Weight of the delay this request's prefill causes to each request that decodes there.
    pub(crate) harm: f64,
    /// Share of its prefill time that computing what others hold costs in room for what is cached.
    pub(crate) replication: f64,
    /// Weight of a millisecond in the stream, of one before the first token.
    pub(crate) decode: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            harm: 0.3,
            replication: 0.6,
            decode: 0.3,
        }
    }
}

impl params::Params for Params {}

/// A fleet busier than this is taken to be so busy: the estimate of what follows would have no end.
const MAX_BUSY: f32 = 0.95;

/// `latency-cost-scorer`: least cost / cost, both in milliseconds.
pub(crate) struct LatencyCost {
    harm: f32,
    replication: f32,
    decode: f32,
}

impl LatencyCost {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        let all = [
            ("harm", params.harm),
            ("replication", params.replication),
            ("decode", params.decode),
        ];
        for (name, value) in all {
            if !(0.0..=100.0).contains(&value) {
                return Err(ParamError::new(name, "must be between 0 and 100"));
            }
        }
        Ok(Self {
            harm: params.harm as f32,
            replication: params.replication as f32,
            decode: params.decode as f32,
        })
    }

    /// Requests that a millisecond of prefill holds up, for each that waits now.
    fn followers(candidates: &Candidates) -> f32 {
        let busy = candidates.forecasts.iter().map(|f| load(f.busy));
        let mean = busy.sum::<f32>() / candidates.forecasts.len().max(1) as f32;
        1.0 / (1.0 - mean.min(MAX_BUSY))
    }

    fn cost_ms(&self, ask: &Ask<'_>, candidates: &Candidates, row: usize, followers: f32) -> f32 {
        let there = candidates.forecast(row);
        let waiting = load(there.waiting);
        let decoding = (load(candidates.active_requests[row]) - waiting).max(0.0);
        let times = 1.0 + self.replication + followers * waiting + self.harm * decoding;
        let output = load(ask.expected_output_tokens) * load(there.token_ms);
        let cost = load(there.wait_ms) + load(there.prefill_ms) * times + self.decode * output;
        // Never 0, so that costs can be divided.
        load(cost) + 1e-3
    }
}

impl Scorer for LatencyCost {
    fn score(&self, ask: &Ask<'_>, candidates: &Candidates, keep: &[bool], out: &mut [f32]) {
        let followers = Self::followers(candidates);
        let mut least = f32::INFINITY;
        for (row, (cost, kept)) in out.iter_mut().zip(keep).enumerate() {
            *cost = self.cost_ms(ask, candidates, row, followers);
            if *kept {
                least = least.min(*cost);
            }
        }
        for cost in out.iter_mut() {
            *cost = (least / *cost).min(1.0);
        }
    }

    fn raw(&self, ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw {
        Raw {
            value: f64::from(self.cost_ms(ask, candidates, row, Self::followers(candidates))),
            unit: units::COST_MS,
        }
    }

    fn reads_prefix(&self) -> bool {
        true
    }

    fn reads_forecasts(&self) -> bool {
        true
    }
}
