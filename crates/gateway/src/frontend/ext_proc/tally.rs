//! What is counted of one request?

use std::sync::Arc;
use std::time::Duration;

use fleet::Reservation;
use prometheus_client::metrics::histogram::Histogram;
use scheduler::{Beside, StageKind};
use tokio::time::Instant;

use super::figures::{Attempted, Decided, Failed, Histograms, INDEXER, Model, Named, Timed};
use super::picker::Picker;
use crate::headers;
use crate::record::Record;

/// One request's figures, until they are counted.
pub(super) struct Tally {
    picker: Arc<Picker>,
    began: Instant,
    labels: Model,
    picked: bool,
    stages: Option<&'static str>,
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
                fairness_id: Arc::from(headers::DEFAULT_FLOW),
                priority: picker.config.priority,
                ..Model::default()
            },
            picked: false,
            stages: None,
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

    /// That of its objective; the picker's own where it names none.
    pub(super) fn priority(&mut self, priority: i32) {
        if priority != 0 {
            self.labels.priority = priority;
        }
    }

    /// Counts which stages went elsewhere, once it is known which could.
    pub(super) fn stages(&mut self, beside: &[Beside]) {
        self.stages = (!beside.is_empty()).then(|| {
            let split = |stage| {
                beside
                    .iter()
                    .any(|it| it.stage == stage && it.slot.is_some())
            };
            match (split(StageKind::Encode), split(StageKind::Prefill)) {
                (false, false) => "decode-only",
                (false, true) => "prefill-decode",
                (true, false) => "encode-decode",
                (true, true) => "encode-prefill-decode",
            }
        });
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
        if let Some(decision_type) = self.stages {
            let decided = Decided {
                model_name: Arc::clone(&self.labels.model_name),
                decision_type,
            };
            figures.disagg.get_or_create(&decided).inc();
        }
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
