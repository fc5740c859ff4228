//! What does everyone who carries a request share?

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use fleet::Failure;
use http::HeaderMap;
use pool::Clock;
use scheduler::{NoEndpoint, Rng};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admit::{Gate, Permit};
use crate::body::BodyLimits;
use crate::control::ControlPaths;
use crate::error::Refusal;
use crate::frontend;
use crate::frontend::ext_proc::{self, Certificates, Picker};
use crate::large::LargeBodies;
use crate::metrics::Metrics;
use crate::pick::Chance;
use crate::route::Routes;
use crate::sources::{SourceFigures, Sources};
use crate::stored::StoredResponses;
use crate::wire::Connections;
use crate::{GatewayConfig, PoolRoute, RouteRule, admin, headers};

/// The data path and its admin API; shared by all connections.
pub struct Gateway {
    pub(crate) config: GatewayConfig,
    pub(crate) routes: Arc<ArcSwap<Routes>>,
    pub(crate) clock: Clock,
    pub(crate) control: ControlPaths,
    pub(crate) connections: Connections,
    pub(crate) stored: StoredResponses,
    pub(crate) large: LargeBodies,
    pub(crate) metrics: Metrics,
    pub(crate) started_unix_seconds: u64,
    gate: Gate,
    chance: Chance,
    draining: AtomicBool,
    no_pool: Arc<str>,
    /// As a cluster gives them.
    objectives: ArcSwap<BTreeMap<String, i32>>,
    /// Set where requests are decided for a data plane.
    pub(crate) picker: OnceLock<Arc<Picker>>,
    pub(crate) sources: Arc<OnceLock<Sources>>,
}

impl Gateway {
    /// A gateway before `pools`. `seed` fixes every chance it takes.
    pub fn new(config: GatewayConfig, pools: Vec<PoolRoute>, clock: Clock, seed: u64) -> Arc<Self> {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let routes = Arc::new(ArcSwap::from_pointee(Routes::new(pools)));
        let gate = Gate::new(config.max_in_flight);
        let mut metrics = Metrics::new();
        let sources = Arc::default();
        metrics.add_collector(Box::new(SourceFigures(Arc::clone(&sources))));
        metrics.add_collector(admin::collector(
            Arc::clone(&routes),
            clock.clone(),
            gate.clone(),
        ));
        Arc::new(Self {
            control: ControlPaths::new(&config.forward_paths),
            stored: StoredResponses::new(config.max_stored_responses),
            connections: Connections::default(),
            large: LargeBodies::new(),
            chance: Chance::new(seed),
            started_unix_seconds: unix.map_or(0, |since| since.as_secs()),
            draining: AtomicBool::new(false),
            no_pool: Arc::from(""),
            objectives: ArcSwap::default(),
            picker: OnceLock::new(),
            sources,
            config,
            routes,
            clock,
            metrics,
            gate,
        })
    }

    /// Replaces the pools (configuration reload); requests in flight end where they are.
    pub fn set_pools(&self, pools: Vec<PoolRoute>) {
        self.routes.store(Arc::new(Routes::new(pools)));
    }

    /// Replaces the pools and the rules that lead to them; requests that no rule holds for are answered 404.
    pub fn set_routes(&self, pools: Vec<PoolRoute>, rules: Vec<RouteRule>) {
        self.routes
            .store(Arc::new(Routes::with_rules(pools, rules)));
    }

    /// Has the admin pages say how current the sources of pools and rules are, and readiness wait for them. Once only.
    pub fn watch_sources(&self, sources: Sources) {
        // A second set would only be missing from the pages.
        let _ = self.sources.set(sources);
    }

    /// Serves clients until `stop`; then `/readyz` turns 503, nothing new is accepted and requests in flight may
    /// end within `drain_timeout_ms`. Returns once all connections are closed.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        frontend::serve(self, listener, stop).await;
    }

    /// Decides requests for a data plane (Envoy's external processing) until `stop`; then says that it is not ready,
    /// serves on for the picker's drain time, and returns once all streams have ended. Plain text without `tls`.
    pub async fn serve_picker(
        self: Arc<Self>,
        picker: Arc<Picker>,
        listener: TcpListener,
        tls: Option<Certificates>,
        stop: CancellationToken,
    ) {
        // A second picker would only be missing from the admin pages.
        let _ = self.picker.set(Arc::clone(&picker));
        ext_proc::serve(self, picker, listener, tls, stop).await;
    }

    /// Serves the gRPC health protocol until `stop`.
    pub async fn serve_grpc_health(
        self: Arc<Self>,
        listener: TcpListener,
        stop: CancellationToken,
    ) {
        ext_proc::serve_health(self, listener, stop).await;
    }

    /// As [`Gateway::serve_admin`], but `/admin/…` to this machine only: for a port that others scrape.
    pub async fn serve_picker_admin(
        self: Arc<Self>,
        listener: TcpListener,
        stop: CancellationToken,
    ) {
        admin::serve(self, listener, admin::Trusted::Local, stop).await;
    }

    /// Serves `/metrics`, `/healthz`, `/readyz` and `/admin/…` until `stop`.
    pub async fn serve_admin(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        admin::serve(self, listener, admin::Trusted::Everyone, stop).await;
    }

    /// Whether a stop was asked for.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Whether requests can be served: some endpoint is ready, or all sources of endpoints were read, and no stop was
    /// asked for.
    pub fn is_ready(&self) -> bool {
        let known = || match self.sources.get() {
            Some(sources) => sources().iter().all(|source| source.synced),
            None => self.routes.load().any_ready(),
        };
        !self.is_draining() && known()
    }

    /// Whether it is known who is there: every pool has endpoints, of which each was probed at least once.
    pub(crate) fn is_synced(&self) -> bool {
        let routes = self.routes.load();
        routes.pools.iter().all(|pool| {
            let view = pool.fleet().view();
            let probed = |endpoint: &fleet::EndpointView| endpoint.health != fleet::Health::Unknown;
            view.endpoints.iter().all(probed)
        })
    }

    /// Requests admitted and not ended.
    pub fn in_flight(&self) -> usize {
        self.gate.inside()
    }

    pub(crate) fn begin_draining(&self) {
        self.draining.store(true, Relaxed);
    }

    pub(crate) fn rng(&self) -> Rng {
        self.chance.rng()
    }

    /// At least 0, less than 1.
    pub(crate) fn chance_of_share(&self) -> f64 {
        use rand::Rng as _;

        self.chance.rng().random()
    }

    /// Replaces the priorities that a cluster gives to objectives; those of the configuration go before them.
    pub fn set_objectives(&self, objectives: BTreeMap<String, i32>) {
        self.objectives.store(Arc::new(objectives));
    }

    /// Of the objective that a request names; 0 where it names none that is known.
    pub(crate) fn priority(&self, headers: &HeaderMap) -> i32 {
        let (configured, found) = (&self.config.objectives, self.objectives.load());
        if configured.is_empty() && found.is_empty() {
            return 0;
        }
        let named = headers::spelt(headers, headers::OBJECTIVE.as_str()).map(str::trim);
        let known = named.and_then(|name| configured.get(name).or_else(|| found.get(name)));
        known.copied().unwrap_or(0)
    }

    pub(crate) fn no_pool(&self) -> Arc<str> {
        Arc::clone(&self.no_pool)
    }

    pub(crate) fn body_limits(&self) -> BodyLimits {
        BodyLimits {
            max_bytes: self.config.max_body_bytes,
            silence: Duration::from_millis(self.config.body_read_timeout_ms),
            max_kept_bytes: self.config.max_replay_bytes,
        }
    }

    pub(crate) fn admit(&self) -> Result<Permit, Refusal> {
        self.gate.admit().ok_or_else(|| self.shed())
    }

    /// Refuses before a body is read when there is no room anyway.
    pub(crate) fn shed_early(&self) -> Result<(), Refusal> {
        if self.gate.is_full() {
            return Err(self.shed());
        }
        Ok(())
    }

    fn shed(&self) -> Refusal {
        self.metrics.shed.inc();
        Refusal::Shed {
            retry_after_seconds: self.config.retry_after_seconds,
        }
    }

    pub(crate) fn no_endpoint(&self, reason: NoEndpoint) -> Refusal {
        Refusal::NoEndpoint {
            reason,
            retry_after_seconds: self.config.retry_after_seconds,
        }
    }

    /// `sent_once` when the body was passed on as it came and could not be sent to another endpoint.
    pub(crate) fn all_failed(&self, last: Failure, sent_once: bool) -> Refusal {
        Refusal::AllFailed {
            last,
            kept_bytes: sent_once.then_some(self.config.max_replay_bytes),
            retry_after_seconds: self.config.retry_after_seconds,
        }
    }
}
