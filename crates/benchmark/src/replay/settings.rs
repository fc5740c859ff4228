//! What is the same for every arm of a comparison?

use std::time::Duration;

use super::ledger::Mutation;
use super::replicas::Hardware;

/// Time a request or a byte takes between gateway and engine, one way. On one machine; `docs/replay.md` says how it
/// compares with live runs.
pub(crate) const DEFAULT_HOP_MS: f64 = 0.2;

/// Scrape intervals of the gateway: an endpoint with work, an idle one.
pub(crate) const DEFAULT_SCRAPE_MS: u64 = 100;
pub(crate) const DEFAULT_SCRAPE_IDLE_MS: u64 = 2_000;

/// Time to write a metrics page and to read it.
pub(crate) const DEFAULT_PAGE_MS: f64 = 2.0;

/// Time from an engine's step to its cache events being applied, beyond the way that a byte takes.
pub(crate) const DEFAULT_EVENT_MS: f64 = 1.0;

/// The gateway's index writer looks for work this often.
pub(crate) const INDEX_WRITE_EVERY: Duration = Duration::from_millis(5);

/// A request counts as good within these.
pub(crate) const DEFAULT_SLO_TTFT_MS: f64 = 10_000.0;
pub(crate) const DEFAULT_SLO_TPOT_MS: f64 = 200.0;

/// The world that requests meet.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) hardware: Hardware,
    /// Gateways that know nothing of each other; requests reach each by chance.
    pub(crate) gateways: usize,
    /// Requests at once, each after another's end, instead of arrivals at their own times.
    pub(crate) concurrency: Option<usize>,
    /// One way between gateway and engine.
    pub(crate) hop: Duration,
    pub(crate) scrape: Duration,
    pub(crate) scrape_idle: Duration,
    /// Writing a metrics page and reading it, each half.
    pub(crate) page: Duration,
    /// Cache events take this longer than a byte of an answer: gathered, sent and applied by threads of their own.
    pub(crate) events: Duration,
    /// Everything a gateway hears (metrics, first bytes, ends, cache events) reaches its scheduler this much later.
    pub(crate) lag: Duration,
    /// Cached tokens are reported in each answer.
    pub(crate) report_cached: bool,
    pub(crate) slo_ttft_ms: f64,
    pub(crate) slo_tpot_ms: f64,
    /// Keep what became of every request; memory grows with the run then.
    pub(crate) keep_requests: bool,
    /// What is broken on purpose, to see a checker notice.
    pub(crate) mutation: Option<Mutation>,
}
