//! How current is the last view of a kind?

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

/// As shown to operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// Plural of the kind.
    pub name: &'static str,
    /// Whether changes would be heard of now.
    pub connected: bool,
    /// Whether the kind was ever listed in full.
    pub synced: bool,
    /// Milliseconds since `connected` last changed.
    pub since_ms: u64,
    pub objects: u64,
    pub failures: u64,
    /// Lists after the first.
    pub resyncs: u64,
    pub error: Option<String>,
}

struct State {
    status: SourceStatus,
    since: Instant,
}

/// Kept by one watch, read by whoever asks.
#[derive(Clone)]
pub(super) struct Source(Arc<Mutex<State>>);

impl Source {
    pub(super) fn new(name: &'static str) -> Self {
        Self(Arc::new(Mutex::new(State {
            status: SourceStatus {
                name,
                connected: false,
                synced: false,
                since_ms: 0,
                objects: 0,
                failures: 0,
                resyncs: 0,
                error: None,
            },
            since: Instant::now(),
        })))
    }

    pub(super) fn status(&self) -> SourceStatus {
        let state = self.0.lock();
        let since_ms = u64::try_from(state.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        SourceStatus {
            since_ms,
            ..state.status.clone()
        }
    }

    /// Changes are heard of; a line when that is news.
    pub(super) fn connected(&self) {
        let mut state = self.0.lock();
        if !state.status.connected {
            if state.status.failures > 0 {
                tracing::info!(
                    source = state.status.name,
                    away_ms = u64::try_from(state.since.elapsed().as_millis()).unwrap_or(u64::MAX),
                    "watch is back; the view is current again"
                );
            }
            state.status.connected = true;
            state.status.error = None;
            state.since = Instant::now();
        }
    }

    /// Changes are no longer heard of; a line when that is news.
    pub(super) fn lost(&self, error: &str) {
        let mut state = self.0.lock();
        state.status.failures += 1;
        if state.status.connected || state.status.error.is_none() {
            match state.status.synced {
                true => tracing::warn!(
                    source = state.status.name,
                    objects = state.status.objects,
                    error,
                    "watch lost; serving from the last view"
                ),
                false => tracing::warn!(source = state.status.name, error, "cannot be listed yet"),
            }
            state.since = Instant::now();
        }
        state.status.connected = false;
        state.status.error = Some(error.to_owned());
    }

    pub(super) fn listed(&self, objects: usize) {
        let mut state = self.0.lock();
        if state.status.synced {
            state.status.resyncs += 1;
            tracing::info!(source = state.status.name, objects, "listed anew");
        }
        state.status.synced = true;
        state.status.objects = objects as u64;
    }

    pub(super) fn holds(&self, objects: usize) {
        self.0.lock().status.objects = objects as u64;
    }

    /// The cluster does not know the kind, which is as good as having none of it.
    pub(super) fn absent(&self) {
        let mut state = self.0.lock();
        if !state.status.synced {
            tracing::info!(
                source = state.status.name,
                "the cluster does not have this kind; it is looked for again"
            );
        }
        state.status.synced = true;
        state.status.objects = 0;
        if !state.status.connected {
            state.status.connected = true;
            state.since = Instant::now();
        }
        state.status.error = None;
    }
}
