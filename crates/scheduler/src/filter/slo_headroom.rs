//! Which endpoints are expected to answer in the time the request asks for?

use rand::Rng as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ParamError, params};
use crate::numbers::load;
use crate::{Ask, Candidates, Filter, Rng, slo};

/// Parameters of `slo-headroom-tier-filter`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Share of requests, 0..=1, that go to the other endpoints all the same, so that their times are still learned.
    pub(crate) epsilon_explore_neg: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            epsilon_explore_neg: 0.01,
        }
    }
}

impl params::Params for Params {}

/// `slo-headroom-tier-filter`
pub(crate) struct SloHeadroom {
    explore: f64,
    headers: Vec<String>,
}

impl SloHeadroom {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        if !(0.0..=1.0).contains(&params.epsilon_explore_neg) {
            return Err(ParamError::new(
                "epsilonExploreNeg",
                "must be between 0 and 1",
            ));
        }
        Ok(Self {
            explore: params.epsilon_explore_neg,
            headers: slo::headers(),
        })
    }
}

fn keeps(ask: &Ask<'_>, candidates: &Candidates, row: usize) -> bool {
    let there = candidates.forecast(row);
    ask.slo.is_kept(there.ttft_ms(), load(there.token_ms))
}

impl Filter for SloHeadroom {
    fn filter(&self, ask: &Ask<'_>, candidates: &Candidates, rng: &mut Rng, keep: &mut [bool]) {
        if !ask.slo.is_told() {
            return;
        }
        let rows = || (0..keep.len()).filter(|row| keep[*row]);
        let good = rows().filter(|row| keeps(ask, candidates, *row)).count();
        if good == 0 || good == rows().count() {
            return;
        }
        let wanted = !(self.explore > 0.0 && rng.random_bool(self.explore));
        for (row, kept) in keep.iter_mut().enumerate() {
            *kept = *kept && keeps(ask, candidates, row) == wanted;
        }
    }

    fn reason(
        &self,
        ask: &Ask<'_>,
        candidates: &Candidates,
        _before: &[bool],
        row: usize,
    ) -> String {
        let there = candidates.forecast(row);
        let expected = format!(
            "{:.0} ms to the first token and {:.1} ms for each further one are expected",
            there.ttft_ms(),
            load(there.token_ms)
        );
        match keeps(ask, candidates, row) {
            true => format!("{expected}, and this request explores the others"),
            false => format!("{expected}, more than the request asks for"),
        }
    }

    fn headers(&self) -> &[String] {
        &self.headers
    }

    fn reads_prefix(&self) -> bool {
        true
    }

    fn reads_forecasts(&self) -> bool {
        true
    }
}
