//! What runs for one pool, and who can nudge it?

use std::sync::Arc;
use std::time::Duration;

use fleet::{Change, EndpointSpec, Event, Fleet};
use kv_index::Slot;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::discovery::{self, static_list};
use crate::index_writer;
use crate::kv_events::Listener;
use crate::membership::Membership;
use crate::watched::Shared;
use crate::{Clock, PoolConfig, PoolError};

/// How often the fleet ends ejections.
const TICK_EVERY: Duration = Duration::from_millis(100);

/// The running feeds of one pool; they end with the token given to [`Feeds::start`], not with this value.
pub struct Feeds {
    shared: Arc<Shared>,
    membership: Arc<Membership>,
}

impl Feeds {
    /// Starts discovery, probes, scrapes, model reads and the fleet's tick, all on `tracker`. When it returns, the
    /// endpoints of the static list and of the file are members; none has been probed yet.
    ///
    /// # Errors
    /// A mistake in `config`, or an endpoint file that cannot be read.
    pub async fn start(
        config: &PoolConfig,
        fleet: Arc<Fleet>,
        clock: Clock,
        api_key: Option<String>,
        stop: CancellationToken,
        tracker: &TaskTracker,
    ) -> Result<Self, PoolError> {
        let shared = Shared::new(
            config,
            fleet,
            clock,
            api_key.as_deref(),
            stop.clone(),
            tracker.clone(),
        )?;
        let listener = listener(config).await?;
        let shared = Arc::new(shared);
        let (first, later) = discovery::start(config, &stop, tracker).await?;
        for change in first {
            shared.apply(Event::Change(change));
        }
        let membership = Arc::new(Membership::new(Arc::clone(&shared)));
        let feeds = Self { shared, membership };
        feeds.spawn(later, &stop, tracker);
        if let Some(listener) = listener {
            let membership = Arc::clone(&feeds.membership);
            tracker.spawn(listener.run(membership, stop.clone(), tracker.clone()));
        }
        Ok(feeds)
    }

    fn spawn(
        &self,
        later: mpsc::Receiver<Change>,
        stop: &CancellationToken,
        tracker: &TaskTracker,
    ) {
        let (shared, membership) = (Arc::clone(&self.shared), Arc::clone(&self.membership));
        let stopped = stop.clone();
        tracker.spawn(async move {
            let all = async {
                tokio::join!(membership.run(), take(&shared, &membership, later));
            };
            stopped.run_until_cancelled(all).await;
        });
        let (shared, stopped) = (Arc::clone(&self.shared), stop.clone());
        tracker.spawn(async move { stopped.run_until_cancelled(tick(&shared)).await });
        let (shared, stopped) = (Arc::clone(&self.shared), stop.clone());
        tracker.spawn(async move {
            let writing = index_writer::run(&shared.fleet, &stopped);
            stopped.run_until_cancelled(writing).await;
        });
    }

    /// Replaces the static list (a reload, or replicas that `up` started or gave up): what is not in it leaves.
    pub fn update_endpoints(&self, endpoints: Vec<EndpointSpec>) {
        let change = static_list::membership(endpoints);
        self.shared.apply(Event::Change(change));
        self.membership.changed.notify_one();
    }

    /// Takes a change from a source that runs elsewhere.
    pub fn apply(&self, change: Change) {
        self.shared.apply(Event::Change(change));
        self.membership.changed.notify_one();
    }

    /// Asks for a health check of `slot` now instead of at its time; nothing happens where it has left.
    pub fn probe_now(&self, slot: Slot) {
        self.membership.probe_now(slot);
    }
}

/// Where engines connect to publish their cache events, if they do.
async fn listener(config: &PoolConfig) -> Result<Option<Listener>, PoolError> {
    let events = &config.kv_events;
    match &events.bind {
        Some(bind) if events.enabled => Listener::bind(bind, &events.topic).await.map(Some),
        _ => Ok(None),
    }
}

/// Applies what the sources say.
async fn take(shared: &Shared, membership: &Membership, mut later: mpsc::Receiver<Change>) {
    while let Some(change) = later.recv().await {
        shared.apply(Event::Change(change));
        membership.changed.notify_one();
    }
}

async fn tick(shared: &Shared) {
    let mut every = tokio::time::interval(TICK_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        shared.fleet.tick(shared.clock.now());
    }
}
