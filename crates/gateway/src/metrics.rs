//! What does the gateway count?
//!
//! What concerns endpoints is read from the fleets when someone asks, so that it is never counted twice.

mod reference;

use std::sync::Arc;
use std::time::Duration;

use fleet::Failure;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

pub use reference::metrics_markdown;

/// Labels of requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) pool: Arc<str>,
    pub(crate) route: &'static str,
    /// What the client got; 499 when it left before.
    pub(crate) status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PoolLabels {
    pub(crate) pool: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct FailureLabels {
    pub(crate) pool: Arc<str>,
    pub(crate) endpoint: Arc<str>,
    pub(crate) kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReasonLabels {
    pub(crate) pool: Arc<str>,
    pub(crate) reason: &'static str,
}

type Durations = Family<PoolLabels, Histogram, fn() -> Histogram>;

/// Every figure the data path counts itself.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) request_seconds: Durations,
    pub(crate) ttft_seconds: Durations,
    pub(crate) decision_seconds: Durations,
    pub(crate) retries: Family<PoolLabels, Counter>,
    tokenize_seconds: Durations,
    untokenized_requests: Family<ReasonLabels, Counter>,
    pub(crate) failures: Family<FailureLabels, Counter>,
    pub(crate) prompt_tokens: Family<PoolLabels, Counter>,
    pub(crate) generation_tokens: Family<PoolLabels, Counter>,
    pub(crate) shed: Counter,
}

/// 1 ms to about 65 s.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

/// 1 µs to about 16 ms.
fn decision() -> Histogram {
    Histogram::new(exponential_buckets(1e-6, 2.0, 15))
}

/// 10 µs to about 5 s.
fn tokenizing() -> Histogram {
    Histogram::new(exponential_buckets(1e-5, 2.0, 20))
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let metrics = Self {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(latency as fn() -> Histogram),
            ttft_seconds: Family::new_with_constructor(latency as fn() -> Histogram),
            decision_seconds: Family::new_with_constructor(decision as fn() -> Histogram),
            retries: Family::default(),
            tokenize_seconds: Family::new_with_constructor(tokenizing as fn() -> Histogram),
            untokenized_requests: Family::default(),
            failures: Family::default(),
            prompt_tokens: Family::default(),
            generation_tokens: Family::default(),
            shed: Counter::default(),
            registry: Registry::default(),
        };
        metrics.register(&mut registry);
        Self {
            registry,
            ..metrics
        }
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "prefixgate_requests",
            "Requests by what the client got",
            self.requests.clone(),
        );
        registry.register(
            "prefixgate_request_seconds",
            "Arrival to end",
            self.request_seconds.clone(),
        );
        registry.register(
            "prefixgate_ttft_seconds",
            "Arrival to first content, or first byte where content cannot be told",
            self.ttft_seconds.clone(),
        );
        registry.register(
            "prefixgate_decision_seconds",
            "Hash, lookup, score and pick",
            self.decision_seconds.clone(),
        );
        registry.register(
            "prefixgate_retries",
            "Attempts beyond a request's first",
            self.retries.clone(),
        );
        registry.register(
            "prefixgate_tokenize_seconds",
            "Wait for a request's tokens",
            self.tokenize_seconds.clone(),
        );
        registry.register(
            "prefixgate_untokenized_requests",
            "Requests matched by history for want of tokens, by reason",
            self.untokenized_requests.clone(),
        );
        registry.register(
            "prefixgate_failures",
            "Failed attempts by endpoint and kind",
            self.failures.clone(),
        );
        registry.register(
            "prefixgate_prompt_tokens",
            "As reported by engines",
            self.prompt_tokens.clone(),
        );
        registry.register(
            "prefixgate_generation_tokens",
            "As reported by engines",
            self.generation_tokens.clone(),
        );
        registry.register(
            "prefixgate_shed",
            "Requests refused because too many were in flight",
            self.shed.clone(),
        );
    }

    /// A request's tokens were waited for; `without` says why there are none.
    pub(crate) fn tokenized(&self, pool: &Arc<str>, took: Duration, without: Option<&'static str>) {
        let pool = Arc::clone(pool);
        if let Some(reason) = without {
            let labels = ReasonLabels {
                pool: Arc::clone(&pool),
                reason,
            };
            self.untokenized_requests.get_or_create(&labels).inc();
        }
        let labels = PoolLabels { pool };
        let seconds = self.tokenize_seconds.get_or_create(&labels);
        seconds.observe(took.as_secs_f64());
    }

    /// Adds figures that are read when asked for.
    pub(crate) fn add_collector(
        &mut self,
        collector: Box<dyn prometheus_client::collector::Collector>,
    ) {
        self.registry.register_collector(collector);
    }

    /// The page; `further` writes what else stands on it.
    pub(crate) fn page(&self, further: impl FnOnce(&mut String)) -> String {
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = text::encode_registry(&mut page, &self.registry);
        further(&mut page);
        let _ = text::encode_eof(&mut page);
        page
    }
}

/// The `kind` label of a failure.
pub(crate) fn kind(failure: Failure) -> &'static str {
    match failure {
        Failure::ConnectRefused => "connect_refused",
        Failure::ConnectTimeout => "connect_timeout",
        Failure::Reset => "reset",
        Failure::Status(_) => "status",
        Failure::FirstByteTimeout => "first_byte_timeout",
        Failure::IdleTimeout => "idle_timeout",
        Failure::Protocol => "protocol",
        Failure::Tls => "tls",
        Failure::InBand => "in_band",
    }
}
