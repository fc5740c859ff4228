//! Which endpoints have running feeds?

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fleet::{EndpointSpec, EndpointView, View};
use kv_index::Slot;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::watched::{Shared, Watched, answers};

/// How often the fleet's view is compared with what runs, where nobody says that it changed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The feeds that run, by slot (a slot's next tenant has another generation, so another key).
pub(crate) struct Membership {
    shared: Arc<Shared>,
    running: Mutex<HashMap<Slot, Running>>,
    /// Membership changed: look now.
    pub(crate) changed: Notify,
}

struct Running {
    name: Arc<str>,
    /// `None` where the endpoint's URL is of no use.
    watched: Option<Arc<Watched>>,
    stop: CancellationToken,
    /// Picks when last looked at.
    picks: u64,
    /// Health when last looked at.
    health: &'static str,
}

impl Membership {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            running: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Follows the fleet's view until stopped.
    pub(crate) async fn run(&self) {
        let mut last: Arc<View> = Arc::default();
        loop {
            let view = self.shared.fleet.view();
            if !Arc::ptr_eq(&view, &last) {
                self.follow(&view);
                last = view;
            }
            self.nudge_scrapes();
            // Either way it is time to look.
            let _ = tokio::time::timeout(LOOK_EVERY, self.changed.notified()).await;
        }
    }

    /// Asks for a health check of `slot` now.
    pub(crate) fn probe_now(&self, slot: Slot) {
        let running = self.running.lock();
        if let Some(watched) = running.get(&slot).and_then(|one| one.watched.as_ref()) {
            watched.probe.notify_one();
        }
    }

    /// The endpoint that `choose` picks by number from all that are watched.
    pub(crate) fn find(
        &self,
        choose: impl FnOnce(&[&EndpointSpec]) -> Option<usize>,
    ) -> Option<Arc<Watched>> {
        let running = self.running.lock();
        let watched: Vec<&Arc<Watched>> = running
            .values()
            .filter_map(|one| one.watched.as_ref())
            .collect();
        let specs: Vec<&EndpointSpec> = watched.iter().map(|one| &*one.spec).collect();
        choose(&specs).map(|number| Arc::clone(watched[number]))
    }

    /// Starts what is new, stops what has left, and has those checked at once that were seen from
    /// elsewhere not to answer.
    fn follow(&self, view: &View) {
        let mut running = self.running.lock();
        running.retain(|slot, one| {
            let stays = view.get(*slot).is_some();
            if !stays {
                tracing::info!(endpoint = one.name.as_ref(), "endpoint left");
                one.stop.cancel();
            }
            stays
        });
        // Known before the first one starts: their pace depends on it.
        self.shared.endpoints.store(view.endpoints.len(), Relaxed);
        for endpoint in view.endpoints.iter() {
            let Some(one) = running.get_mut(&endpoint.slot) else {
                let stop = self.shared.stop.child_token();
                let watched = Watched::start(endpoint, &self.shared, stop.clone());
                let one = Running {
                    name: Arc::clone(&endpoint.spec.name),
                    watched,
                    stop,
                    picks: 0,
                    health: endpoint.health.name(),
                };
                running.insert(endpoint.slot, one);
                continue;
            };
            let before = std::mem::replace(&mut one.health, endpoint.health.name());
            if before != one.health {
                tell(endpoint, before);
            }
            if !answers(&endpoint.health)
                && let Some(watched) = &one.watched
                && watched.healthy.load(Relaxed)
            {
                watched.probe.notify_one();
            }
        }
    }

    /// Wakes the scrapes of idle endpoints that were picked since the last look.
    fn nudge_scrapes(&self) {
        for one in self.running.lock().values_mut() {
            let Some(watched) = &one.watched else {
                continue;
            };
            let picks = watched.state.picks();
            if picks != one.picks {
                one.picks = picks;
                watched.traffic.notify_one();
            }
        }
    }
}

/// One line for the log when an endpoint goes in or out of rotation; one that was never in is no warning yet.
fn tell(endpoint: &EndpointView, before: &str) {
    let (name, health) = (&*endpoint.spec.name, endpoint.health.name());
    match endpoint.health.reason() {
        Some(reason) if before != "ready" => {
            tracing::info!(endpoint = name, health, reason, "endpoint not in rotation");
        }
        Some(reason) => tracing::warn!(endpoint = name, health, reason, "endpoint out of rotation"),
        None => tracing::info!(endpoint = name, health, "endpoint health changed"),
    }
}
