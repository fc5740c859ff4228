//! What does the field's dashboards read of a picker?
//!
//! Every figure is registered under its two names, the current one and the one that older dashboards know; both
//! read the same count.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

/// Model names that get labels of their own; further ones are `other`.
const MAX_MODELS: usize = 1_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Model {
    pub(super) model_name: Arc<str>,
    pub(super) target_model_name: Arc<str>,
    pub(super) fairness_id: Arc<str>,
    pub(super) priority: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Failed {
    pub(super) model_name: Arc<str>,
    pub(super) target_model_name: Arc<str>,
    pub(super) fairness_id: Arc<str>,
    pub(super) priority: i32,
    pub(super) error_code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Timed {
    pub(super) model_name: Arc<str>,
    pub(super) target_model_name: Arc<str>,
    pub(super) fairness_id: Arc<str>,
    pub(super) priority: i32,
    pub(super) streaming: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Attempted {
    pub(super) status: &'static str,
    pub(super) target_model_name: Arc<str>,
    pub(super) endpoint_name: Arc<str>,
    pub(super) namespace: Arc<str>,
    pub(super) port: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Named {
    pub(super) model_name: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Decided {
    pub(super) model_name: Arc<str>,
    pub(super) decision_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Plugin {
    pub(super) plugin_type: &'static str,
    pub(super) plugin_name: &'static str,
}

pub(super) const INDEXER: Plugin = Plugin {
    plugin_type: "approx-prefix-cache-producer",
    plugin_name: "approx-prefix-cache-producer",
};

pub(super) type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Everything counted for the field's dashboards.
pub(super) struct Figures {
    registry: Registry,
    models: Mutex<HashSet<Arc<str>>>,
    pub(super) requests: Family<Model, Counter>,
    pub(super) errors: Family<Failed, Counter>,
    pub(super) duration: Histograms<Model>,
    pub(super) request_bytes: Histograms<Model>,
    pub(super) response_bytes: Histograms<Model>,
    pub(super) input_tokens: Histograms<Model>,
    pub(super) output_tokens: Histograms<Model>,
    pub(super) cached_tokens: Histograms<Model>,
    pub(super) ntpot: Histograms<Model>,
    pub(super) ttft: Histograms<Timed>,
    pub(super) tpot: Histograms<Model>,
    pub(super) itl: Histograms<Model>,
    pub(super) running: Family<Named, Gauge>,
    pub(super) attempts: Family<Attempted, Counter>,
    pub(super) disagg: Family<Decided, Counter>,
    pub(super) scheduling: Histogram,
    pub(super) processing: Histogram,
    pub(super) hit_ratio: Histograms<Plugin>,
    pub(super) hit_bytes: Histograms<Plugin>,
    pub(super) streams: Counter,
    pub(super) streams_open: Gauge,
    pub(super) stream_seconds: Histogram,
    pub(super) reloads: Counter,
    pub(super) reload_failures: Counter,
}

fn seconds() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
        600.0, 1_800.0, 3_600.0,
    ])
}

fn first_token() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0,
        4.0, 5.0, 7.5, 10.0, 20.0, 30.0, 60.0, 120.0,
    ])
}

fn per_token() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 10.0,
    ])
}

fn decision() -> Histogram {
    Histogram::new([
        0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1,
    ])
}

fn bytes() -> Histogram {
    Histogram::new((6..26).map(|power| f64::from(1_u32 << power)))
}

fn tokens() -> Histogram {
    Histogram::new((0..21).map(|power| f64::from(1_u32 << power)))
}

fn ratio() -> Histogram {
    Histogram::new((0..=10).map(|tenths| f64::from(tenths) / 10.0))
}

fn hit_bytes() -> Histogram {
    let powers = (4..=16).step_by(2).map(|power| f64::from(1_u32 << power));
    Histogram::new(std::iter::once(0.0).chain(powers))
}

/// Registers one figure under each of `names`.
fn twice<M: Clone + Metric>(registry: &mut Registry, help: &str, names: &[&str], metric: &M) {
    for name in names {
        registry.register(*name, help, metric.clone());
    }
}

fn family<L: Clone + std::hash::Hash + Eq>(make: fn() -> Histogram) -> Histograms<L> {
    Family::new_with_constructor(make)
}

impl Figures {
    pub(super) fn new() -> Self {
        let mut figures = Self {
            registry: Registry::default(),
            models: Mutex::default(),
            requests: Family::default(),
            errors: Family::default(),
            duration: family(seconds),
            request_bytes: family(bytes),
            response_bytes: family(bytes),
            input_tokens: family(tokens),
            output_tokens: family(tokens),
            cached_tokens: family(tokens),
            ntpot: family(per_token),
            ttft: family(first_token),
            tpot: family(per_token),
            itl: family(per_token),
            running: Family::default(),
            attempts: Family::default(),
            disagg: Family::default(),
            scheduling: decision(),
            processing: decision(),
            hit_ratio: family(ratio),
            hit_bytes: family(hit_bytes),
            streams: Counter::default(),
            streams_open: Gauge::default(),
            stream_seconds: seconds(),
            reloads: Counter::default(),
            reload_failures: Counter::default(),
        };
        figures.registry = figures.registered();
        figures
    }

    fn registered(&self) -> Registry {
        let mut all = Registry::default();
        twice(
            &mut all,
            "Requests",
            &["llm_d_epp_request", "inference_objective_request"],
            &self.requests,
        );
        twice(
            &mut all,
            "Requests that failed",
            &[
                "llm_d_epp_request_error",
                "inference_objective_request_error",
            ],
            &self.errors,
        );
        twice(
            &mut all,
            "Arrival to end",
            &[
                "llm_d_epp_request_duration_seconds",
                "inference_objective_request_duration_seconds",
            ],
            &self.duration,
        );
        twice(
            &mut all,
            "Request bodies",
            &[
                "llm_d_epp_request_size_bytes",
                "inference_objective_request_sizes",
            ],
            &self.request_bytes,
        );
        twice(
            &mut all,
            "Response bodies",
            &[
                "llm_d_epp_response_size_bytes",
                "inference_objective_response_sizes",
            ],
            &self.response_bytes,
        );
        twice(
            &mut all,
            "Prompt tokens, engine's count",
            &[
                "llm_d_epp_request_input_tokens",
                "inference_objective_input_tokens",
            ],
            &self.input_tokens,
        );
        twice(
            &mut all,
            "Output tokens, engine's count",
            &[
                "llm_d_epp_request_output_tokens",
                "inference_objective_output_tokens",
            ],
            &self.output_tokens,
        );
        twice(
            &mut all,
            "Cached prompt tokens, engine's count",
            &[
                "llm_d_epp_request_cached_tokens",
                "inference_objective_prompt_cached_tokens",
            ],
            &self.cached_tokens,
        );
        twice(
            &mut all,
            "Duration over output tokens",
            &[
                "llm_d_epp_request_ntpot_seconds",
                "inference_objective_normalized_time_per_output_token_seconds",
            ],
            &self.ntpot,
        );
        twice(
            &mut all,
            "Arrival to first byte of the response body",
            &["llm_d_epp_request_ttft_seconds"],
            &self.ttft,
        );
        twice(
            &mut all,
            "Time per output token after the first",
            &["llm_d_epp_request_streaming_tpot_seconds"],
            &self.tpot,
        );
        twice(
            &mut all,
            "Gap between pieces of a response",
            &["llm_d_epp_request_streaming_itl_seconds"],
            &self.itl,
        );
        twice(
            &mut all,
            "Requests at engines",
            &[
                "llm_d_epp_request_running",
                "inference_objective_running_requests",
            ],
            &self.running,
        );
        twice(
            &mut all,
            "Scheduling attempts",
            &[
                "llm_d_epp_scheduler_attempts",
                "inference_extension_scheduler_attempts",
            ],
            &self.attempts,
        );
        twice(
            &mut all,
            "Which stages of requests went to endpoints of their own",
            &[
                "llm_d_epp_disagg_decision",
                "llm_d_inference_scheduler_disagg_decision",
            ],
            &self.disagg,
        );
        twice(
            &mut all,
            "Parse, look-up, score and pick",
            &[
                "llm_d_epp_scheduler_e2e_duration_seconds",
                "inference_extension_scheduler_e2e_duration_seconds",
            ],
            &self.scheduling,
        );
        twice(
            &mut all,
            "Last body message read to reply at hand",
            &[
                "llm_d_epp_request_processing_duration_seconds",
                "prefixgate_picker_decision_seconds",
            ],
            &self.processing,
        );
        twice(
            &mut all,
            "Prompt tokens expected in the cache over all",
            &[
                "llm_d_epp_prefix_indexer_hit_ratio",
                "inference_extension_prefix_indexer_hit_ratio",
            ],
            &self.hit_ratio,
        );
        twice(
            &mut all,
            "Prompt bytes expected in the cache",
            &[
                "llm_d_epp_prefix_indexer_hit_bytes",
                "inference_extension_prefix_indexer_hit_bytes",
            ],
            &self.hit_bytes,
        );
        twice(
            &mut all,
            "Streams of the data plane",
            &["llm_d_epp_extproc_streams"],
            &self.streams,
        );
        twice(
            &mut all,
            "Streams of the data plane, open",
            &["llm_d_epp_extproc_streams_inflight"],
            &self.streams_open,
        );
        twice(
            &mut all,
            "Life of a stream",
            &["llm_d_epp_extproc_stream_duration_seconds"],
            &self.stream_seconds,
        );
        twice(
            &mut all,
            "Changed scheduling documents that came into force",
            &["prefixgate_picker_config_reloads"],
            &self.reloads,
        );
        twice(
            &mut all,
            "Changed scheduling documents that were not good; the old one stayed",
            &["prefixgate_picker_config_reload_failures"],
            &self.reload_failures,
        );
        all
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(super) fn stream_opened(&self) {
        self.streams.inc();
        self.streams_open.inc();
    }

    /// A stream has ended after `life`.
    pub(super) fn stream_closed(&self, life: Duration) {
        self.streams_open.dec();
        self.stream_seconds.observe(life.as_secs_f64());
    }

    /// `spent` lies between the last body message and its reply.
    pub(super) fn decided(&self, spent: Duration) {
        self.scheduling.observe(spent.as_secs_f64());
        self.processing.observe(spent.as_secs_f64());
    }

    /// The name as a label: itself while there are not too many.
    pub(super) fn model(&self, name: &str) -> Arc<str> {
        let mut models = self.models.lock();
        if let Some(known) = models.get(name) {
            return Arc::clone(known);
        }
        if models.len() >= MAX_MODELS {
            return Arc::from("other");
        }
        let name: Arc<str> = Arc::from(name);
        models.insert(Arc::clone(&name));
        name
    }
}
