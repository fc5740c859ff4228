//! When does a changed scheduling document come into force?
//!
//! The file is looked at every second. A document that is good replaces the profile of every pool that has none of
//! its own, and nothing learned is lost; one that is not leaves the old in force, and says so in log, metrics and
//! admin state until it is mended.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gateway::{Flow, Gateway, Picker, PoolRoute};
use pool::Clock;
use scheduler::{Document, SchedulingConfig, Wiring};
use tokio_util::sync::CancellationToken;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reads a document.
///
/// # Errors
/// The file cannot be read or is no document; with its name.
pub(super) fn read(path: &Path) -> Result<Document, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Document::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A document's file under watch.
pub(super) struct Watched {
    path: PathBuf,
    seed: u64,
    gateway: Arc<Gateway>,
    picker: Arc<Picker>,
    /// All pools, and whether each is scheduled by this document.
    pools: Vec<(PoolRoute, bool)>,
    text: Option<String>,
    wiring: Option<Wiring>,
    clock: Clock,
}

impl Watched {
    pub(super) fn new(
        path: PathBuf,
        seed: u64,
        gateway: Arc<Gateway>,
        picker: Arc<Picker>,
        pools: Vec<(PoolRoute, bool)>,
        clock: Clock,
    ) -> Self {
        let text = std::fs::read_to_string(&path).ok();
        let wiring = text.as_deref().and_then(|text| {
            let document = Document::parse(text).ok()?;
            let compiled = scheduler::compile(&SchedulingConfig::document(document), seed);
            compiled.ok().map(|compiled| compiled.wiring)
        });
        Self {
            path,
            seed,
            gateway,
            picker,
            pools,
            text,
            wiring,
            clock,
        }
    }

    /// Looks until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let text = tokio::fs::read_to_string(&self.path).await.ok();
            if text == self.text {
                continue;
            }
            self.text = text;
            match self.apply() {
                Ok(()) => {
                    self.picker.config_reloaded(None);
                    tracing::info!(file = %self.path.display(), "scheduling document read again");
                }
                Err(error) => {
                    tracing::error!(
                        "the changed scheduling document is not used, the old one stays: {error}"
                    );
                    self.picker.config_reloaded(Some(error));
                }
            }
        }
    }

    fn apply(&mut self) -> Result<(), String> {
        let document = read(&self.path)?;
        let scheduling = SchedulingConfig::document(document);
        let compile =
            || scheduler::compile(&scheduling, self.seed).map_err(|error| error.to_string());
        let compiled = compile()?;
        for (route, _) in self.pools.iter_mut().filter(|(_, follows)| *follows) {
            // A profile keeps state of its own, so each pool needs one.
            route.fleet.set_profile(compile()?.profile);
            route.parsers = compiled.wiring.parsers.clone();
            let flow = compiled.wiring.flow.clone();
            match &route.flow {
                Some(held) => held.set(flow),
                None if flow.is_some() => {
                    let fleet = Arc::clone(&route.fleet);
                    route.flow = Some(Flow::new(flow, fleet, self.clock.clone()));
                }
                None => {}
            }
        }
        for note in &compiled.notes {
            tracing::warn!("{note}");
        }
        let fixed = |wiring: &Wiring| {
            (
                wiring.prefix.clone(),
                wiring.inflight.clone(),
                wiring.scrape.clone(),
                wiring.latency.clone(),
            )
        };
        if self.wiring.as_ref().map(fixed) != Some(fixed(&compiled.wiring)) {
            tracing::warn!(
                "parameters of producers, data sources and extractors take effect at the next start; the rest of the \
                 document is in force"
            );
        }
        let routes = self.pools.iter().map(|(route, _)| route.clone());
        self.gateway.set_pools(routes.collect());
        self.wiring = Some(compiled.wiring);
        Ok(())
    }
}
