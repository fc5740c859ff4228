//! How do the rooms become one running gateway? All wiring is here, leaves first.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use fleet::{Fleet, FleetConfig};
use gateway::{Gateway, PoolRoute};
use kv_index::HashSeed;
use pool::{Clock, Feeds};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Pool};

/// A gateway with its pools fed, listening on both ports.
pub(crate) struct System {
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    /// In the order of the configuration.
    pub(crate) pools: Vec<RunningPool>,
    pub(crate) clock: Clock,
    gateway: Arc<Gateway>,
    seed: u64,
    /// Of `pools`, as the gateway serves them.
    routes: Vec<PoolRoute>,
    stop: CancellationToken,
    servers: TaskTracker,
    feeders: TaskTracker,
    feeders_stop: CancellationToken,
}

/// One pool and what feeds it.
pub(crate) struct RunningPool {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) preset: String,
    /// Held for its tasks, which end with the system; takes changes from sources that are wired here.
    pub(crate) feeds: Feeds,
}

impl System {
    /// Binds, feeds and serves.
    ///
    /// # Errors
    /// A port is taken, an endpoint file is unreadable, a key's variable is unset, scheduling does not compile.
    pub(crate) async fn start(config: Config) -> anyhow::Result<Self> {
        let seed = config.seed.unwrap_or_else(drawn_seed);
        tracing::info!(seed, "prompt hashes and chance are drawn from this seed");
        let endpoints = config.pools.iter().map(|pool| pool.endpoints.len());
        crate::handles::raise_for(endpoints.sum(), config.gateway.max_in_flight);
        let listener = bind(config.listen, "--listen").await?;
        let admin_listener = bind(config.admin_listen, "--admin-listen").await?;
        let clock = Clock::start();
        let (feeders, feeders_stop) = (TaskTracker::new(), CancellationToken::new());
        let mut pools = Vec::new();
        let mut routes = Vec::new();
        for entry in &config.pools {
            let (running, route) =
                start_pool(&config, entry, seed, &clock, &feeders, &feeders_stop)
                    .await
                    .with_context(|| format!("pool `{}` cannot start", entry.name))?;
            pools.push(running);
            routes.push(route);
        }
        let stop = CancellationToken::new();
        let servers = TaskTracker::new();
        let (listen, admin_listen) = (listener.local_addr()?, admin_listener.local_addr()?);
        let gateway = Gateway::new(config.gateway.clone(), routes.clone(), clock.clone(), seed);
        servers.spawn(Arc::clone(&gateway).serve(listener, stop.clone()));
        feeders.spawn(Arc::clone(&gateway).serve_admin(admin_listener, feeders_stop.clone()));
        Ok(Self {
            listen,
            admin_listen,
            pools,
            clock,
            gateway,
            seed,
            routes,
            stop,
            servers,
            feeders,
            feeders_stop,
        })
    }

    /// Serves a cluster's pools and routes beside those of `config`.
    ///
    /// # Errors
    /// There is no cluster to talk to.
    pub(crate) async fn follow_cluster(
        &self,
        config: &Config,
        discovery: k8s::discovery::DiscoveryConfig,
    ) -> anyhow::Result<()> {
        let host = crate::kubernetes::Host {
            gateway: &self.gateway,
            config,
            seed: self.seed,
            clock: &self.clock,
            tracker: &self.feeders,
            stop: &self.feeders_stop,
            configured: self.routes.clone(),
            only: None,
        };
        crate::kubernetes::follow(host, discovery).await
    }

    /// Drains: `/readyz` says 503, requests in flight end, then everything else does.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.servers.close();
        self.servers.wait().await;
        self.feeders_stop.cancel();
        self.feeders.close();
        self.feeders.wait().await;
    }
}

/// Builds a pool and starts what feeds it.
///
/// # Errors
/// An endpoint file is unreadable, a key's variable is unset, scheduling does not compile.
pub(crate) async fn start_pool(
    config: &Config,
    entry: &Pool,
    seed: u64,
    clock: &Clock,
    feeders: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<(RunningPool, PoolRoute)> {
    let scheduling = entry.scheduling.as_ref().unwrap_or(&config.scheduling);
    let compiled = scheduler::compile(scheduling, seed)?;
    let fleet_config = FleetConfig {
        pool: entry.name.clone(),
        index_max_bytes: config.index_max_bytes / config.pools.len().max(1),
        seed: HashSeed(seed),
        unready_after_probes: entry.health.unready_after,
        wiring: compiled.wiring.clone(),
        ..FleetConfig::default()
    };
    let fleet = Arc::new(Fleet::new(fleet_config, compiled.profile));
    let key = api_key(entry)?;
    let feeds = Feeds::start(
        &scraped_as(entry.feeds(), &compiled.wiring.scrape),
        Arc::clone(&fleet),
        clock.clone(),
        key.clone(),
        stop.clone(),
        feeders,
    )
    .await?;
    let preset = preset_name(scheduling);
    let route = PoolRoute {
        path: entry.path.clone(),
        prefix_routing: entry.prefix_routing.unwrap_or(true),
        preset: preset.clone(),
        model_rewrite: entry.model_rewrite.clone(),
        parsers: compiled.wiring.parsers,
        engine_api_key: key,
        tls: Some(Arc::new(entry.tls.client_config()?)),
        tls_server_name: entry.tls.server_name.clone(),
        tokens: tokens(entry, seed)?,
        flow: compiled
            .wiring
            .flow
            .map(|flow| gateway::Flow::new(Some(flow), Arc::clone(&fleet), clock.clone())),
        pass_client_authorization: entry.pass_client_authorization.unwrap_or(true),
        ..PoolRoute::new(entry.name.clone(), Arc::clone(&fleet))
    };
    let running = RunningPool {
        fleet,
        preset,
        feeds,
    };
    Ok((running, route))
}

/// The pool's tokenizer, where its engines' events are followed.
fn tokens(entry: &Pool, seed: u64) -> anyhow::Result<Option<Arc<gateway::Tokens>>> {
    entry.tokenizer.check()?;
    if !entry.kv_events.enabled {
        return Ok(None);
    }
    let tokens = gateway::Tokens::new(entry.tokenizer.clone(), &hub_cache(), seed)?;
    Ok(Some(Arc::new(tokens)))
}

/// Where Hugging Face's libraries keep what they fetched.
fn hub_cache() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let home = || named("HOME").unwrap_or_default().join(".cache/huggingface");
    named("HF_HUB_CACHE")
        .or_else(|| named("HUGGINGFACE_HUB_CACHE"))
        .unwrap_or_else(|| named("HF_HOME").unwrap_or_else(home).join("hub"))
}

/// What a scheduling document says about scraping holds over the pool's own settings where it says anything.
fn scraped_as(mut feeds: pool::PoolConfig, wiring: &scheduler::ScrapeWiring) -> pool::PoolConfig {
    let standard = scheduler::ScrapeWiring::default();
    if wiring.path != standard.path {
        feeds.scrape.path.clone_from(&wiring.path);
    }
    if let Some(interval) = wiring.interval {
        let interval_ms = u64::try_from(interval.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        (feeds.scrape.min_interval_ms, feeds.scrape.max_interval_ms) = (interval_ms, interval_ms);
    }
    feeds.scrape.port = wiring.port.or(feeds.scrape.port);
    feeds.scrape.dialect = wiring.default_engine.clone().or(feeds.scrape.dialect);
    feeds
}

/// For display: the preset's name, or that a document is in force.
fn preset_name(scheduling: &scheduler::SchedulingConfig) -> String {
    match (&scheduling.preset, &scheduling.config) {
        (Some(preset), _) => preset.clone(),
        (None, Some(_)) => "document".to_owned(),
        (None, None) => scheduler::DEFAULT_PRESET.to_owned(),
    }
}

fn api_key(entry: &Pool) -> anyhow::Result<Option<String>> {
    let Some(variable) = &entry.api_key_env else {
        return Ok(None);
    };
    let key = std::env::var(variable).with_context(|| {
        format!("`api_key_env` names {variable}, which is not set in the environment")
    })?;
    Ok(Some(key))
}

/// Binds, or says which port is busy and which flag moves it.
pub(crate) async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{address} is in use by another program; stop it or choose another address with {flag}")
        }
        _ => anyhow::anyhow!("cannot listen on {address} ({flag}): {error}"),
    })
}

/// A seed from the process's own randomness, for when none is configured.
pub(crate) fn drawn_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};

    RandomState::new().hash_one(std::process::id())
}
