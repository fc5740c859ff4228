//! Could any endpoint answer this request in the time it asks for?

use crate::numbers::load;
use crate::{Admitter, Ask, Candidates, Rng, slo};

/// KV use below which an endpoint has hardly begun.
const COLD_KV_USAGE: f32 = 0.02;

/// `latency-slo-admitter`: a request of priority below 0 goes on where some endpoint is expected to keep its times,
/// is idle, or is cold.
pub(crate) struct LatencySlo {
    headers: Vec<String>,
}

impl LatencySlo {
    pub(crate) fn new() -> Self {
        Self {
            headers: slo::headers(),
        }
    }
}

impl Admitter for LatencySlo {
    fn admit(&self, ask: &Ask<'_>, candidates: &Candidates, _rng: &mut Rng) -> Result<(), String> {
        if ask.priority >= 0 || !ask.slo.is_told() {
            return Ok(());
        }
        let mut least_ttft_ms = f32::INFINITY;
        let mut least_token_ms = f32::INFINITY;
        for row in 0..candidates.len() {
            let there = candidates.forecast(row);
            let (ttft_ms, token_ms) = (there.ttft_ms(), load(there.token_ms));
            let idle = candidates.active_requests[row] <= 0.0;
            let cold = load(candidates.kv_usage[row]) < COLD_KV_USAGE;
            if idle || cold || (there.learned && ask.slo.is_kept(ttft_ms, token_ms)) {
                return Ok(());
            }
            least_ttft_ms = least_ttft_ms.min(ttft_ms);
            least_token_ms = least_token_ms.min(token_ms);
        }
        Err(format!(
            "priority {} and no endpoint is idle or expected to keep its times; the least expected are {least_ttft_ms:.0} ms to the first token and {least_token_ms:.1} ms for each further one",
            ask.priority
        ))
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
