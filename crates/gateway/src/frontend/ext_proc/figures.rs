//! What does the field's dashboards read of a picker?
//!
//! Every figure is registered under its two names, the current one and the one that older dashboards know; both
//! read the same count.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use fleet::Reservation;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use tokio::time::Instant;

use super::picker::Picker;
use crate::record::Record;

/// Model names that get labels of their own; further ones are `other`.
const MAX_MODELS: usize = 1_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Model {
    model_name: Arc<str>,
    target_model_name: Arc<str>,
    fairness_id: Arc<str>,
    priority: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    model_name: Arc<str>,
    target_model_name: Arc<str>,
    fairness_id: Arc<str>,
    priority: i32,
    error_code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Timed {
    model_name: Arc<str>,
    target_model_name: Arc<str>,
    fairness_id: Arc<str>,
    priority: i32,
    streaming: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempted {
    status: &'static str,
    target_model_name: Arc<str>,
    endpoint_name: Arc<str>,
    namespace: Arc<str>,
    port: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    model_name: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Plugin {
    plugin_type: &'static str,
    plugin_name: &'static str,
}

const INDEXER: Plugin = Plugin {
    plugin_type: "approx-prefix-cache-producer",
    plugin_name: "approx-prefix-cache-producer",
};

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Everything counted for the field's dashboards.
pub(super) struct Figures {
    registry: Registry,
    models: Mutex<HashSet<Arc<str>>>,
    requests: Family<Model, Counter>,
    errors: Family<Failed, Counter>,
    duration: Histograms<Model>,
    request_bytes: Histograms<Model>,
    response_bytes: Histograms<Model>,
    input_tokens: Histograms<Model>,
    output_tokens: Histograms<Model>,
    cached_tokens: Histograms<Model>,
    ntpot: Histograms<Model>,
    ttft: Histograms<Timed>,
    tpot: Histograms<Model>,
    itl: Histograms<Model>,
    running: Family<Named, Gauge>,
    attempts: Family<Attempted, Counter>,
    scheduling: Histogram,
    processing: Histogram,
    hit_ratio: Histograms<Plugin>,
    hit_bytes: Histograms<Plugin>,
    streams: Counter,
    streams_open: Gauge,
    stream_seconds: Histogram,
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
    fn model(&self, name: &str) -> Arc<str> {
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

/// One request's figures, until they are counted.
pub(super) struct Tally {
    picker: Arc<Picker>,
    began: Instant,
    labels: Model,
    picked: bool,
    request_bytes: u64,
    response_bytes: u64,
    first_byte: Option<Duration>,
    last_piece: Option<Duration>,
    /// Of this request's labels, so that a piece looks nothing up.
    itl: Option<Histogram>,
}

impl Tally {
    pub(super) fn begin(picker: &Arc<Picker>) -> Self {
        Self {
            picker: Arc::clone(picker),
            began: Instant::now(),
            labels: Model {
                fairness_id: Arc::from("default-flow"),
                priority: picker.config.priority,
                ..Model::default()
            },
            picked: false,
            request_bytes: 0,
            response_bytes: 0,
            first_byte: None,
            last_piece: None,
            itl: None,
        }
    }

    /// The request names whom it counts for.
    pub(super) fn fairness(&mut self, id: &str) {
        self.labels.fairness_id = self.picker.figures.model(id);
    }

    pub(super) fn refused(&self, status: u16) {
        let figures = &self.picker.figures;
        figures.requests.get_or_create(&self.labels).inc();
        self.count_error(status);
        let failed = Attempted {
            status: "failure",
            target_model_name: Arc::from(""),
            endpoint_name: Arc::from(""),
            namespace: Arc::from(""),
            port: Arc::from(""),
        };
        figures.attempts.get_or_create(&failed).inc();
    }

    pub(super) fn picked(
        &mut self,
        record: &Record,
        target: &str,
        reservation: &Reservation,
        bytes: u64,
    ) {
        let picker = Arc::clone(&self.picker);
        let figures = &picker.figures;
        self.labels.model_name = figures.model(&record.model);
        self.labels.target_model_name = figures.model(target);
        self.request_bytes = bytes;
        self.picked = true;
        figures.requests.get_or_create(&self.labels).inc();
        figures.running.get_or_create(&self.named()).inc();
        let endpoint = record.endpoint.as_deref().unwrap_or_default();
        let (name, port) = endpoint.rsplit_once(':').unwrap_or((endpoint, ""));
        let attempted = Attempted {
            status: "success",
            target_model_name: Arc::clone(&self.labels.target_model_name),
            endpoint_name: Arc::from(name),
            namespace: Arc::from(picker.config.namespace.as_str()),
            port: Arc::from(port),
        };
        figures.attempts.get_or_create(&attempted).inc();
        let prompt = f64::from(reservation.prompt_tokens.max(1));
        let hit = f64::from(reservation.predicted_cached_tokens) / prompt;
        figures.hit_ratio.get_or_create(&INDEXER).observe(hit);
        let hit_bytes = hit * reservation.stream_bytes as f64;
        figures.hit_bytes.get_or_create(&INDEXER).observe(hit_bytes);
    }

    fn named(&self) -> Named {
        Named {
            model_name: Arc::clone(&self.labels.model_name),
        }
    }

    pub(super) fn first_byte(&mut self) {
        self.first_byte.get_or_insert(self.began.elapsed());
    }

    /// A piece of the response came.
    pub(super) fn piece(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.response_bytes += bytes as u64;
        let now = self.began.elapsed();
        if let Some(last) = self.last_piece.replace(now) {
            let gap = now.saturating_sub(last);
            let itl = self
                .itl
                .get_or_insert_with(|| self.picker.figures.itl.get_or_create(&self.labels).clone());
            itl.observe(gap.as_secs_f64());
        }
    }

    fn count_error(&self, status: u16) {
        let code = match status {
            400 => "BadRequest",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            412 => "PreconditionFailed",
            429 => "ResourceExhausted",
            499 => "Canceled",
            503 => "ServiceUnavailable",
            _ => "Internal",
        };
        let labels = self.labels.clone();
        let failed = Failed {
            model_name: labels.model_name,
            target_model_name: labels.target_model_name,
            fairness_id: labels.fairness_id,
            priority: labels.priority,
            error_code: code,
        };
        let errors = &self.picker.figures.errors;
        errors.get_or_create(&failed).inc();
    }

    /// The response is over.
    pub(super) fn ended(&mut self, record: &Record, stream: bool) {
        if !std::mem::take(&mut self.picked) {
            return;
        }
        let figures = &self.picker.figures;
        figures.running.get_or_create(&self.named()).dec();
        let total = self.began.elapsed();
        let labels = &self.labels;
        let observe = |family: &Histograms<Model>, value: f64| {
            family.get_or_create(labels).observe(value);
        };
        observe(&figures.request_bytes, self.request_bytes as f64);
        observe(&figures.response_bytes, self.response_bytes as f64);
        if !(200..300).contains(&record.status) || record.end != "complete" {
            let status = if record.end == "client gone" {
                499
            } else {
                record.status
            };
            self.count_error(status);
            return;
        }
        observe(&figures.duration, total.as_secs_f64());
        let first = if stream { self.first_byte } else { Some(total) };
        if let Some(first) = first {
            let labels = labels.clone();
            let timed = Timed {
                model_name: labels.model_name,
                target_model_name: labels.target_model_name,
                fairness_id: labels.fairness_id,
                priority: labels.priority,
                streaming: if stream { "true" } else { "false" },
            };
            figures
                .ttft
                .get_or_create(&timed)
                .observe(first.as_secs_f64());
        }
        let Some(usage) = record.usage else { return };
        observe(&figures.input_tokens, usage.prompt_tokens as f64);
        observe(&figures.output_tokens, usage.completion_tokens as f64);
        observe(
            &figures.cached_tokens,
            usage.cached_tokens.unwrap_or(0) as f64,
        );
        let output = usage.completion_tokens as f64;
        if output > 0.0 {
            observe(&figures.ntpot, total.as_secs_f64() / output);
        }
        if let Some(first) = first.filter(|_| stream && output > 1.0) {
            let rest = total.saturating_sub(first);
            observe(&figures.tpot, rest.as_secs_f64() / (output - 1.0));
        }
    }
}
