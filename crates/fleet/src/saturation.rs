//! How full is a pool?

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use scheduler::{Detector, EndpointLoad};

use crate::{EndpointView, Fleet};

impl Fleet {
    /// How full the pool is by `detector`, 1 and more for full, and how many endpoints are ready. Where endpoints have
    /// roles, the fuller of those that prefill and those that decode.
    pub fn saturation(&self, detector: &Detector, now: Duration) -> (f64, usize) {
        let view = self.view.load();
        let mut sums = [(0.0, 0_u32); 2];
        for &row in view.ready.iter() {
            let endpoint = &view.endpoints[row as usize];
            let role = endpoint.spec.labels.get(ROLE).map(String::as_str);
            let stage = usize::from(role.is_some_and(|role| PREFILLS_ONLY.contains(&role)));
            sums[stage].0 += detector.saturation(&load(endpoint, now));
            sums[stage].1 += 1;
        }
        let means = sums.iter().filter(|(_, count)| *count > 0);
        let fullest = means
            .map(|(sum, count)| sum / f64::from(*count))
            .reduce(f64::max);
        (fullest.unwrap_or(1.0), view.ready.len())
    }
}

const ROLE: &str = "llm-d.ai/role";
const PREFILLS_ONLY: [&str; 2] = ["prefill", "encode-prefill"];

fn load(endpoint: &EndpointView, now: Duration) -> EndpointLoad {
    let state = &endpoint.state;
    let gauges = &state.gauges;
    let waiting = state.scrape.waiting.load(Relaxed);
    EndpointLoad {
        // Where nobody waited, what was sent since is taken to run.
        queue_requests: match waiting {
            0 => 0.0,
            _ => gauges.queue_requests(),
        },
        kv_usage: gauges.kv_usage(),
        active_requests: gauges.active_requests.load(Relaxed) as f64,
        active_tokens: gauges.active_tokens.load(Relaxed) as f64,
        age: state.scraped_at().map(|at| now.saturating_sub(at)),
    }
}
