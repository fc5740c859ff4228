//! What do all requests to one engine share?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use anyhow::Context;
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::core::Core;
use crate::fault::{Fault, Faults};
use crate::kv_events::KvEvents;
use crate::log::Log;
use crate::loras::Loras;
use crate::metrics::HttpStats;
use crate::seen::{Progress, Seen};
use crate::settings::Settings;

/// One engine behind its HTTP surface.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) core: Core,
    pub(crate) loras: Loras,
    pub(crate) faults: Arc<Faults>,
    pub(crate) http: Mutex<HttpStats>,
    pub(crate) seen: Seen,
    pub(crate) log: Log,
    /// What `/kv_event_sources` answers.
    pub(crate) kv_event_sources: serde_json::Value,
    /// Shutting down: health is fine, new requests are refused.
    pub(crate) draining: AtomicBool,
    open_requests: AtomicI64,
}

impl Shell {
    pub(crate) fn start(settings: Settings, log: Log) -> anyhow::Result<Arc<Self>> {
        let clock = Clock::start();
        let faults = Arc::new(Faults::new(settings.args.seed));
        for fault in &settings.args.fault {
            faults
                .arm(Fault::clone(fault), clock.now())
                .map_err(anyhow::Error::msg)?;
        }
        let (kv_events, kv_event_sources) = kv_events(&settings)?;
        let core = Core::start(
            settings.batch_model()?,
            clock,
            Arc::clone(&faults),
            kv_events,
        );
        Ok(Arc::new(Self {
            loras: settings.loras(),
            settings,
            clock,
            core,
            faults,
            http: Mutex::default(),
            seen: Seen::default(),
            log,
            kv_event_sources,
            draining: AtomicBool::new(false),
            open_requests: AtomicI64::new(0),
        }))
    }

    /// Open generation requests, where they are counted.
    pub(crate) fn open_requests(&self) -> i64 {
        self.open_requests.load(Ordering::Relaxed)
    }

    /// Requests the model is at work on or has queued.
    pub(crate) fn live_requests(&self) -> usize {
        let snapshot = self.core.stats.lock().snapshot;
        snapshot.running + snapshot.waiting
    }
}

/// The publisher of cache events, where there is one, and what is told of it.
fn kv_events(settings: &Settings) -> anyhow::Result<(Option<KvEvents>, serde_json::Value)> {
    let config = &settings.args.kv_events_config;
    if !config.is_on() {
        return Ok((None, serde_json::json!({})));
    }
    let form = settings.event_form();
    let (events, source) =
        KvEvents::start(config, form, &settings.args.host).context("--kv-events-config")?;
    let sources = serde_json::json!({ (form.rank.to_string()): source });
    Ok((Some(events), sources))
}

/// Counts one open generation request until dropped.
pub(crate) struct OpenRequest(Arc<Shell>);

impl OpenRequest {
    pub(crate) fn new(shell: &Arc<Shell>) -> Self {
        shell.open_requests.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shell))
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open_requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The entry of one request in [`Seen`]; dropped before its end it is an aborted one.
pub(crate) struct Track {
    pub(crate) shell: Arc<Shell>,
    pub(crate) number: u64,
}

impl Track {
    pub(crate) fn first_token(&self, cached_tokens: usize) {
        self.shell
            .seen
            .set(self.number, Progress::FirstToken, Some(cached_tokens));
    }

    pub(crate) fn finished(&self) {
        self.shell.seen.set(self.number, Progress::Finished, None);
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        // No effect after `finished`.
        self.shell.seen.set(self.number, Progress::Aborted, None);
    }
}
