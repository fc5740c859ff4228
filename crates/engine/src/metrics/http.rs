//! What does the HTTP layer count?

use std::collections::BTreeMap;
use std::time::Duration;

use super::Histogram;

const DURATION_S: &[f64] = &[0.1, 0.5, 1.0];
const DURATION_HIGHR_S: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0,
    7.5, 10.0, 30.0, 60.0,
];

/// Per route: how many, how long, how large. Bounded, because routes are those of the table.
#[derive(Debug)]
pub(crate) struct HttpStats {
    /// By handler, method, status class.
    pub(crate) requests: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    /// By handler and method.
    pub(crate) durations: BTreeMap<(&'static str, &'static str), Histogram>,
    pub(crate) duration_highr: Histogram,
    /// By handler: number and bytes of requests and of answers whose size is known.
    pub(crate) sizes: BTreeMap<&'static str, Sizes>,
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) requests: u64,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
}

/// One answered request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served {
    pub(crate) handler: &'static str,
    pub(crate) method: &'static str,
    pub(crate) status: u16,
    pub(crate) took: Duration,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
}

impl Default for HttpStats {
    fn default() -> Self {
        Self {
            requests: BTreeMap::new(),
            durations: BTreeMap::new(),
            duration_highr: Histogram::new(DURATION_HIGHR_S.to_vec()),
            sizes: BTreeMap::new(),
        }
    }
}

impl HttpStats {
    pub(crate) fn served(&mut self, served: Served) {
        let class = match served.status / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        *self
            .requests
            .entry((served.handler, served.method, class))
            .or_default() += 1;
        let seconds = served.took.as_secs_f64();
        let durations = self.durations.entry((served.handler, served.method));
        durations
            .or_insert_with(|| Histogram::new(DURATION_S.to_vec()))
            .observe(seconds);
        self.duration_highr.observe(seconds);
        let sizes = self.sizes.entry(served.handler).or_default();
        sizes.requests += 1;
        sizes.request_bytes += served.request_bytes;
        sizes.response_bytes += served.response_bytes;
    }
}
