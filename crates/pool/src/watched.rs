//! What do the feeds of one endpoint share?

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use engine_api::dialect::Dialect;
use fleet::{EndpointSpec, EndpointView, Event, Fleet, Health, SlotState};
use http::header::HeaderValue;
use kv_index::Slot;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::{Client, Target};
use crate::kv_events::{Figures, Inbox};
use crate::{Clock, PoolConfig, PoolError, health, kv_events, models, scrape};

/// What the feeds of a pool share.
pub(crate) struct Shared {
    pub(crate) config: PoolConfig,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) clock: Clock,
    pub(crate) dialect: Option<&'static Dialect>,
    pub(crate) stop: CancellationToken,
    pub(crate) tracker: TaskTracker,
    /// Endpoints watched now.
    pub(crate) endpoints: AtomicUsize,
    authorization: Option<HeaderValue>,
    /// Built at the first `https` endpoint: reading the system's certificates takes a while.
    tls: OnceLock<Result<Arc<rustls::ClientConfig>, String>>,
}

impl Shared {
    pub(crate) fn new(
        config: &PoolConfig,
        fleet: Arc<Fleet>,
        clock: Clock,
        api_key: Option<&str>,
        stop: CancellationToken,
        tracker: TaskTracker,
    ) -> Result<Self, PoolError> {
        config.check()?;
        let authorization = api_key.map(crate::http::bearer).transpose();
        let authorization = authorization.map_err(|_| {
            crate::config::setting(
                "api_key_env",
                "the key holds bytes that no header may carry",
            )
        })?;
        let shared = Self {
            dialect: config.scrape.dialect()?,
            config: config.clone(),
            fleet,
            clock,
            stop,
            tracker,
            endpoints: AtomicUsize::new(0),
            authorization,
            tls: OnceLock::new(),
        };
        if config.tls != crate::TlsConfig::default() {
            shared.tls().map_err(PoolError::Tls)?;
        }
        Ok(shared)
    }

    /// Tells the fleet what was seen, at the time it was seen.
    pub(crate) fn apply(&self, event: Event) {
        self.fleet.apply(event, self.clock.now());
    }

    fn tls(&self) -> Result<Arc<rustls::ClientConfig>, String> {
        let built = self.tls.get_or_init(|| {
            let config = self.config.tls.client_config();
            config.map(Arc::new).map_err(|error| match error {
                PoolError::Tls(reason) => reason,
                other => other.to_string(),
            })
        });
        built.clone()
    }

    fn target(&self, spec: &EndpointSpec) -> Result<Target, String> {
        Target::new(
            &spec.url,
            self.authorization.clone(),
            || self.tls(),
            self.config.tls.server_name.as_deref(),
        )
    }
}

/// One endpoint in one slot while its feeds run.
pub(crate) struct Watched {
    pub(crate) slot: Slot,
    pub(crate) spec: Arc<EndpointSpec>,
    pub(crate) state: Arc<SlotState>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) client: Client,
    /// The metrics page's client, where it has a port of its own.
    pub(crate) metrics_client: Option<Client>,
    /// The last health check ended well, so the next one is not soon. Set before the fleet is told: a failure that
    /// is seen elsewhere right after is then never missed.
    pub(crate) healthy: AtomicBool,
    /// A health check is wanted now.
    pub(crate) probe: Notify,
    /// Work came: scrape soon.
    pub(crate) traffic: Notify,
    /// What its metrics said last, as far as its cache events are judged by it.
    pub(crate) figures: Figures,
    /// A connection that its engine made to us, to publish cache events on.
    pub(crate) kv_inbox: Inbox,
    /// There is one.
    pub(crate) kv_arrived: Notify,
}

impl Watched {
    fn new(
        endpoint: &EndpointView,
        shared: &Arc<Shared>,
        stop: &CancellationToken,
    ) -> Result<Self, String> {
        let target = shared.target(&endpoint.spec)?;
        let client = |target| Client::new(target, stop.clone(), shared.tracker.clone());
        let port = shared.config.scrape.port;
        Ok(Self {
            slot: endpoint.slot,
            spec: Arc::clone(&endpoint.spec),
            state: Arc::clone(&endpoint.state),
            metrics_client: port.map(|port| client(target.on_port(port))),
            client: client(target),
            shared: Arc::clone(shared),
            healthy: AtomicBool::new(false),
            probe: Notify::new(),
            traffic: Notify::new(),
            figures: Figures::default(),
            kv_inbox: Inbox::default(),
            kv_arrived: Notify::new(),
        })
    }

    /// Starts health, model, scrape and cache-event feeds, which end with `stop`. An endpoint whose URL cannot be used is told to
    /// the fleet as unready, and has no feeds.
    pub(crate) fn start(
        endpoint: &EndpointView,
        shared: &Arc<Shared>,
        stop: CancellationToken,
    ) -> Option<Arc<Self>> {
        let watched = match Self::new(endpoint, shared, &stop) {
            Ok(watched) => Arc::new(watched),
            Err(reason) => {
                tracing::warn!(endpoint = %endpoint.spec.name, %reason, "endpoint cannot be watched");
                shared.apply(Event::Probe {
                    slot: endpoint.slot,
                    result: Err(reason),
                });
                return None;
            }
        };
        let run = Arc::clone(&watched);
        shared.tracker.spawn(async move {
            let feeds = async {
                tokio::join!(
                    health::run(&run),
                    models::run(&run),
                    scrape::run(&run),
                    kv_events::run(&run)
                );
            };
            stop.run_until_cancelled(feeds).await;
        });
        Some(watched)
    }

    /// Whether it was seen to answer and not seen to fail since; ejected and draining ones answer.
    pub(crate) fn answers(&self) -> bool {
        let view = self.shared.fleet.view();
        view.get(self.slot)
            .is_some_and(|endpoint| answers(&endpoint.health))
    }

    /// Endpoints of the pool that are watched now.
    pub(crate) fn count(&self) -> usize {
        self.shared.endpoints.load(Relaxed)
    }
}

/// Ejected and draining ones answer too.
pub(crate) fn answers(health: &Health) -> bool {
    !matches!(health, Health::Unknown | Health::Unready { .. })
}
