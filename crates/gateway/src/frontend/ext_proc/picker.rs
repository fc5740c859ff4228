//! What do all streams of a picker share?

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::text;
use serde::Serialize;

use super::figures::Figures;
use super::pool_figures;
use crate::gateway::Gateway;

/// Default of [`PickerConfig::feedback`].
const FEEDBACK: bool = true;
/// Default of [`PickerConfig::drain_timeout`].
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How a picker answers its data plane.
#[derive(Clone, Debug)]
pub struct PickerConfig {
    /// Whether response bodies that the data plane shows are read for usage and in-band errors; off, they are asked
    /// not to be sent.
    pub feedback: bool,
    /// Endpoints in a destination at most, the first one meant and the rest for retries; `None` for as many as the
    /// scheduling document's picker names.
    pub max_endpoints: Option<usize>,
    /// Whether candidates' scores are sent as metadata.
    pub emit_scores: bool,
    /// Whether a restriction to some endpoints, sent as metadata, is obeyed.
    pub subset_hint: bool,
    /// Largest message that is received, bytes.
    pub max_message_bytes: usize,
    /// How long new streams are still served after a stop was asked for.
    pub drain_timeout: Duration,
    /// Name and namespace of the pool, for the field's metrics.
    pub pool: String,
    pub namespace: String,
    /// What a request that names no objective counts as, for the field's metrics.
    pub priority: i32,
}

impl Default for PickerConfig {
    fn default() -> Self {
        Self {
            feedback: FEEDBACK,
            max_endpoints: None,
            emit_scores: false,
            subset_hint: true,
            max_message_bytes: 64 << 20,
            drain_timeout: DRAIN_TIMEOUT,
            pool: "default".to_owned(),
            namespace: "default".to_owned(),
            priority: 0,
        }
    }
}

/// Settings and counts of one picker; hand it to [`crate::Gateway::serve_picker`].
pub struct Picker {
    pub(super) config: PickerConfig,
    pub(super) figures: Figures,
    pub(super) counts: Counts,
    /// What is wrong with the changed document that is not in force.
    config_error: Mutex<Option<String>>,
}

/// Counted for the admin state.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) streams: AtomicU64,
    pub(super) streams_open: AtomicU64,
    pub(super) full_duplex: AtomicU64,
    pub(super) buffered: AtomicU64,
    pub(super) headers_only: AtomicU64,
    pub(super) body_not_shown: AtomicU64,
    pub(super) responses_observed: AtomicU64,
    pub(super) responses_skipped: AtomicU64,
    pub(super) ends_unseen: AtomicU64,
    pub(super) served_elsewhere: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// What `/admin/state` says of a picker.
#[derive(Serialize)]
pub(crate) struct Report {
    feedback: bool,
    subset_hint: bool,
    streams: u64,
    streams_open: u64,
    requests_full_duplex: u64,
    requests_buffered: u64,
    requests_without_body: u64,
    /// Picked by headers alone because the data plane sends no request bodies in a mode that could be read.
    requests_body_not_shown: u64,
    /// Load was held to the end of the body, which was seen.
    responses_observed: u64,
    /// Load was held to the end of the stream; the body was not sent to the picker.
    responses_skipped: u64,
    /// Streams that the data plane closed right after the response headers though the body was still to come:
    /// load was given back too early there. It needs `response_trailer_mode: SEND`.
    response_ends_unseen: u64,
    /// The data plane sent the request to another endpoint than the one meant; load and index were corrected.
    served_elsewhere: u64,
    refused: u64,
    /// Times the scheduling document was read again and came into force.
    config_reloads: u64,
    /// Times it was not good.
    config_reload_failures: u64,
    /// What is wrong with it; the document before it is in force.
    config_error: Option<String>,
}

impl Picker {
    pub fn new(config: PickerConfig) -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self {
            figures: Figures::new(),
            counts: Counts::default(),
            config_error: Mutex::default(),
            config,
        })
    }

    /// A changed scheduling document has come into force, or has not, for this reason.
    pub fn config_reloaded(&self, error: Option<String>) {
        match &error {
            None => self.figures.reloads.inc(),
            Some(_) => self.figures.reload_failures.inc(),
        };
        *self.config_error.lock() = error;
    }

    /// Writes the field's figures onto a metrics page.
    pub(crate) fn write_figures(&self, page: &mut String, gateway: &Gateway) {
        // Writing to a string does not fail.
        let _ = text::encode_registry(page, self.figures.registry());
        pool_figures::write(page, gateway, self);
    }

    pub(crate) fn report(&self) -> Report {
        let counts = &self.counts;
        let read = |count: &AtomicU64| count.load(Relaxed);
        Report {
            feedback: self.config.feedback,
            subset_hint: self.config.subset_hint,
            streams: read(&counts.streams),
            streams_open: read(&counts.streams_open),
            requests_full_duplex: read(&counts.full_duplex),
            requests_buffered: read(&counts.buffered),
            requests_without_body: read(&counts.headers_only),
            requests_body_not_shown: read(&counts.body_not_shown),
            responses_observed: read(&counts.responses_observed),
            responses_skipped: read(&counts.responses_skipped),
            response_ends_unseen: read(&counts.ends_unseen),
            served_elsewhere: read(&counts.served_elsewhere),
            refused: read(&counts.refused),
            config_reloads: self.figures.reloads.get(),
            config_reload_failures: self.figures.reload_failures.get(),
            config_error: self.config_error.lock().clone(),
        }
    }
}
