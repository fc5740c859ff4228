//! When does a request wait before it is scheduled, and which one goes first?
//!
//! The settings of flow control and its measure of saturation; who queues is the caller's affair.

use std::time::Duration;

use crate::numbers::load;
use crate::{Ask, Candidates, Filter, Rng};

/// Most requests that wait in one band where the document says nothing.
pub(crate) const BAND_REQUESTS: u64 = 5_000;
/// Most bytes of their bodies.
pub(crate) const BAND_BYTES: u64 = 1_000_000_000;
/// Longest wait where the document says nothing.
pub(crate) const REQUEST_TTL: Duration = Duration::from_secs(60);

/// Flow control of one pool.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowSettings {
    /// Requests that wait at most, over all bands; `None` for any number.
    pub max_requests: Option<u64>,
    /// Bytes of their bodies.
    pub max_bytes: Option<u64>,
    /// Longest wait.
    pub request_ttl: Duration,
    /// Longest wait of one that came while no endpoint was ready.
    pub no_endpoint_ttl: Duration,
    /// Bands that the document describes.
    pub bands: Vec<Band>,
    /// Of every other priority.
    pub default_band: Band,
    /// Of every other priority below 0.
    pub negative_band: Band,
    /// Saturation from which nothing is sent on.
    pub ceiling: f64,
    pub detector: Detector,
}

impl FlowSettings {
    /// The band of `priority`.
    pub fn band(&self, priority: i32) -> &Band {
        let told = self.bands.iter().find(|band| band.priority == priority);
        told.unwrap_or(match priority < 0 {
            true => &self.negative_band,
            false => &self.default_band,
        })
    }

    /// Whether some band orders by what requests say of their times.
    pub fn reads_slo(&self) -> bool {
        let mut bands = self
            .bands
            .iter()
            .chain([&self.default_band, &self.negative_band]);
        bands.any(|band| band.order == Order::SloDeadline)
    }
}

/// One priority's queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    pub priority: i32,
    pub max_requests: u64,
    pub max_bytes: u64,
    pub fairness: Fairness,
    pub order: Order,
}

impl Default for Band {
    fn default() -> Self {
        Self {
            priority: 0,
            max_requests: BAND_REQUESTS,
            max_bytes: BAND_BYTES,
            fairness: Fairness::GlobalStrict,
            order: Order::Arrival,
        }
    }
}

/// Whose request is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fairness {
    /// The first in order, whoever's it is.
    #[default]
    GlobalStrict,
    /// Each flow's first in turn.
    RoundRobin,
}

/// Which request of a flow is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Arrival,
    /// The end of its longest wait.
    Deadline,
    /// Arrival and its time to the first token; those that ask for none come last.
    SloDeadline,
}

/// How full is an endpoint?
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Detector {
    /// By what engines say: `max(queue / queue_depth, kv / kv_usage)`.
    Utilization {
        queue_depth: f64,
        kv_usage: f64,
        /// Figures of an endpoint with work of ours that are older count as full.
        staleness: Duration,
        headroom: f64,
    },
    /// By what we sent: requests, uncached tokens, or the fuller of both.
    Concurrency {
        max_requests: Option<f64>,
        max_tokens: Option<f64>,
        headroom: f64,
    },
}

/// Queue that `utilization-detector` calls full where the document says nothing.
pub(crate) const QUEUE_DEPTH: f64 = 5.0;
/// Use of the KV cache that it calls full.
pub(crate) const KV_USAGE: f64 = 0.8;
/// Age at which it does not believe figures any more.
pub(crate) const STALENESS: Duration = Duration::from_secs(2);

impl Default for Detector {
    fn default() -> Self {
        Self::Utilization {
            queue_depth: QUEUE_DEPTH,
            kv_usage: KV_USAGE,
            staleness: STALENESS,
            headroom: 0.0,
        }
    }
}

/// What a detector looks at.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndpointLoad {
    pub queue_requests: f64,
    /// 0..=1
    pub kv_usage: f64,
    pub active_requests: f64,
    pub active_tokens: f64,
    /// Age of the engine's figures; `None` where they never came.
    pub age: Option<Duration>,
}

impl Detector {
    /// 1 and more is full.
    pub fn saturation(&self, there: &EndpointLoad) -> f64 {
        match *self {
            Self::Utilization {
                queue_depth,
                kv_usage,
                staleness,
                ..
            } => {
                let is_old = there.age.is_none_or(|age| age > staleness);
                // An idle endpoint is looked at rarely, and what it last said is still true as far as we know.
                if is_old && there.active_requests > 0.0 {
                    return 1.0;
                }
                (there.queue_requests / queue_depth).max(there.kv_usage / kv_usage)
            }
            Self::Concurrency {
                max_requests,
                max_tokens,
                ..
            } => {
                let share = |held: f64, most: Option<f64>| most.map_or(0.0, |most| held / most);
                share(there.active_requests, max_requests)
                    .max(share(there.active_tokens, max_tokens))
            }
        }
    }

    /// As a filter: from this on an endpoint is left out.
    fn limit(&self) -> f64 {
        match self {
            Self::Utilization { headroom, .. } | Self::Concurrency { headroom, .. } => {
                1.0 + headroom
            }
        }
    }

    pub(crate) fn reads_scrape(&self) -> bool {
        matches!(self, Self::Utilization { .. })
    }

    /// Mean over the candidates; full where there is none.
    pub(crate) fn mean(&self, candidates: &Candidates) -> f64 {
        let rows = 0..candidates.len();
        match candidates.len() {
            0 => 1.0,
            count => rows.map(|row| self.at(candidates, row)).sum::<f64>() / count as f64,
        }
    }

    fn at(&self, candidates: &Candidates, row: usize) -> f64 {
        self.saturation(&EndpointLoad {
            queue_requests: f64::from(load(candidates.queue_requests[row])),
            kv_usage: f64::from(load(candidates.kv_usage[row])),
            active_requests: f64::from(load(candidates.active_requests[row])),
            active_tokens: f64::from(load(candidates.active_tokens[row])),
            age: Some(Duration::ZERO),
        })
    }
}

impl Filter for Detector {
    fn filter(&self, _ask: &Ask<'_>, candidates: &Candidates, _rng: &mut Rng, keep: &mut [bool]) {
        for (row, kept) in keep.iter_mut().enumerate() {
            *kept = *kept && self.at(candidates, row) < self.limit();
        }
    }

    fn reason(
        &self,
        _ask: &Ask<'_>,
        candidates: &Candidates,
        _before: &[bool],
        row: usize,
    ) -> String {
        let (seen, limit) = (self.at(candidates, row), self.limit());
        format!("saturation {seen:.2}, and {limit:.2} is full")
    }

    fn reads_scrape(&self) -> bool {
        Detector::reads_scrape(self)
    }
}
