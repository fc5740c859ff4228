//! Which endpoint's expected times fit best to what the request asks for?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units;
use crate::config::{ParamError, params};
use crate::numbers::{load, unit};
use crate::{Ask, Candidates, Raw, Scorer, slo};

/// Parameters of `latency-scorer`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Weight of the time to the first token.
    pub(crate) ttft_weight: f64,
    /// Weight of the time of each further token.
    pub(crate) tpot_weight: f64,
    /// `least` prefers what only just fits, and so leaves fast endpoints to those who need them; `most` the opposite.
    pub(crate) headroom_selection_strategy: String,
    /// Weight of free KV cache while nothing was learned yet.
    #[serde(rename = "compositeKVWeight")]
    pub(crate) composite_kv_weight: f64,
    /// Weight of a short queue while nothing was learned yet.
    pub(crate) composite_queue_weight: f64,
    /// Weight of a cached prompt while nothing was learned yet.
    pub(crate) composite_prefix_weight: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            ttft_weight: 0.8,
            tpot_weight: 0.2,
            headroom_selection_strategy: "least".to_owned(),
            composite_kv_weight: 1.0,
            composite_queue_weight: 1.0,
            composite_prefix_weight: 1.0,
        }
    }
}

impl params::Params for Params {}

/// `latency-scorer`
pub(crate) struct Latency {
    /// Of the first token and of each further one; they add up to 1.
    weights: [f32; 2],
    least: bool,
    /// KV cache, queue, prefix; they add up to 1.
    composite: [f32; 3],
    headers: Vec<String>,
}

/// How well an endpoint does, best first: only those of the best tier that is there compete.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    Keeps,
    Idle,
    MissesToken,
    MissesFirst,
    MissesBoth,
}

/// Weights of a sum that is to be 1.
fn shares<const N: usize>(named: [(&'static str, f64); N]) -> Result<[f32; N], ParamError> {
    for (name, value) in named {
        if !(0.0..=1e6).contains(&value) {
            return Err(ParamError::new(name, "must be 0 or more"));
        }
    }
    let sum: f64 = named.iter().map(|(_, value)| value).sum();
    match sum > 0.0 {
        true => Ok(named.map(|(_, value)| (value / sum) as f32)),
        false => Err(ParamError::new(
            named[0].0,
            "one of these weights must be more than 0",
        )),
    }
}

impl Latency {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        let least = match params.headroom_selection_strategy.as_str() {
            "least" => true,
            "most" => false,
            _ => {
                return Err(ParamError::new(
                    "headroomSelectionStrategy",
                    "must be `least` or `most`",
                ));
            }
        };
        Ok(Self {
            weights: shares([
                ("ttftWeight", params.ttft_weight),
                ("tpotWeight", params.tpot_weight),
            ])?,
            least,
            composite: shares([
                ("compositeKVWeight", params.composite_kv_weight),
                ("compositeQueueWeight", params.composite_queue_weight),
                ("compositePrefixWeight", params.composite_prefix_weight),
            ])?,
            headers: slo::headers(),
        })
    }

    /// Expected time to the first token and of each further one, ms.
    fn expected(candidates: &Candidates, row: usize) -> [f32; 2] {
        let there = candidates.forecast(row);
        [there.ttft_ms(), load(there.token_ms)]
    }

    fn tier(ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Tier {
        let [ttft_ms, token_ms] = Self::expected(candidates, row);
        let missed = ask.slo.headroom(ttft_ms, token_ms);
        let missed = missed.map(|left| left.is_some_and(|left| left <= 0.0));
        match missed {
            [false, false] => Tier::Keeps,
            _ if candidates.active_requests[row] <= 0.0 => Tier::Idle,
            [false, true] => Tier::MissesToken,
            [true, false] => Tier::MissesFirst,
            [true, true] => Tier::MissesBoth,
        }
    }

    /// Distance from what is asked for, ms, where something is; else the expected time itself.
    fn distances(ask: &Ask<'_>, candidates: &Candidates, row: usize) -> [f32; 2] {
        let expected = Self::expected(candidates, row);
        let headroom = ask.slo.headroom(expected[0], expected[1]);
        [0, 1].map(|part| headroom[part].map_or(expected[part], f32::abs))
    }

    /// Whether more of a distance is better, for each of the two.
    fn more_is_better(&self, ask: &Ask<'_>, tier: Tier) -> [bool; 2] {
        let room = tier == Tier::Keeps && !self.least;
        [
            room && ask.slo.ttft_ms.is_some(),
            room && ask.slo.tpot_ms.is_some(),
        ]
    }

    fn by_forecast(&self, ask: &Ask<'_>, candidates: &Candidates, keep: &[bool], out: &mut [f32]) {
        let rows = || (0..keep.len()).filter(|row| keep[*row]);
        let Some(best) = rows().map(|row| Self::tier(ask, candidates, row)).min() else {
            return out.fill(0.0);
        };
        let compete = |row: &usize| Self::tier(ask, candidates, *row) == best;
        let mut low = [f32::INFINITY; 2];
        let mut high = [0.0_f32; 2];
        for row in rows().filter(compete) {
            for (part, value) in Self::distances(ask, candidates, row)
                .into_iter()
                .enumerate()
            {
                low[part] = low[part].min(value);
                high[part] = high[part].max(value);
            }
        }
        let more = self.more_is_better(ask, best);
        out.fill(0.0);
        for row in rows().filter(compete) {
            let distances = Self::distances(ask, candidates, row);
            let mut far = 0.0;
            for part in 0..2 {
                let spread = high[part] - low[part];
                let place = match spread > 0.0 {
                    true => unit((distances[part] - low[part]) / spread),
                    false => 0.0,
                };
                far += self.weights[part] * if more[part] { 1.0 - place } else { place };
            }
            // In steps of a hundredth, and never 0, so that a draw by weight leaves each a chance.
            out[row] = unit((((1.0 - far) * 100.0).floor() + 1.0) / 100.0);
        }
    }

    /// What there is to go by before any answer was seen.
    fn by_figures(&self, ask: &Ask<'_>, candidates: &Candidates, keep: &[bool], out: &mut [f32]) {
        super::lowest_is_best(&candidates.queue_requests, keep, out);
        let [kv, queue, prefix] = self.composite;
        for (row, score) in out.iter_mut().enumerate() {
            let held = match ask.total_blocks > 0.0 {
                true => unit(candidates.matched_blocks[row] / ask.total_blocks),
                false => 0.0,
            };
            let free = 1.0 - unit(candidates.kv_usage[row]);
            *score = kv * free + queue * *score + prefix * held;
        }
    }

    fn is_learned(candidates: &Candidates) -> bool {
        candidates.forecasts.iter().any(|there| there.learned)
    }
}

impl Scorer for Latency {
    fn score(&self, ask: &Ask<'_>, candidates: &Candidates, keep: &[bool], out: &mut [f32]) {
        match Self::is_learned(candidates) {
            true => self.by_forecast(ask, candidates, keep, out),
            false => self.by_figures(ask, candidates, keep, out),
        }
    }

    fn raw(&self, _ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw {
        Raw {
            value: f64::from(Self::expected(candidates, row)[0]),
            unit: units::TTFT_MS,
        }
    }

    fn headers(&self) -> &[String] {
        &self.headers
    }

    fn reads_prefix(&self) -> bool {
        true
    }

    fn reads_scrape(&self) -> bool {
        true
    }

    fn reads_forecasts(&self) -> bool {
        true
    }
}
