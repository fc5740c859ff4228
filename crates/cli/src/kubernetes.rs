//! How do a cluster's pools and routes become the gateway's?

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use fleet::Change;
use gateway::{
    Gateway, HeaderEdits, PathMatch, PathRewrite, Pattern, PoolRoute, RequestMatch, RouteRule,
    RouteTarget, SourceReport, TextMatch,
};
use http::header::{HeaderName, HeaderValue};
use k8s::discovery::{
    ClusterView, Discovery, DiscoveryConfig, Endpoint, PairMatch, PathKind, PoolView, Rule,
    SourceStatus,
};
use scheduler::SchedulingConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Pool};
use crate::system::{RunningPool, start_pool};

/// Name of the source under which endpoints are known.
const SOURCE: &str = "kubernetes";

/// The memory cap of all prefix indexes is shared out among this many pools.
const INDEX_SHARES: usize = 16;

/// Rounds in turn: what a plain Service promises.
const PLAIN_PRESET: &str = "round-robin";

/// Where discovery's pools go.
pub(crate) struct ClusterPools {
    gateway: Arc<Gateway>,
    config: Config,
    seed: u64,
    clock: pool::Clock,
    tracker: TaskTracker,
    stop: CancellationToken,
    /// Pools of the configuration, served beside the cluster's.
    configured: Vec<PoolRoute>,
    only: Option<Only>,
    running: BTreeMap<String, Running>,
}

struct Running {
    pool: RunningPool,
    route: PoolRoute,
    stop: CancellationToken,
    view: PoolView,
}

/// The one InferencePool that a picker is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Only {
    pub(crate) namespace: String,
    pub(crate) pool: String,
}

impl Only {
    /// Pools that a service owns go by the service's name.
    fn is(&self, name: &str) -> bool {
        let own = name.strip_prefix(&self.namespace);
        let own = own.and_then(|rest| rest.strip_prefix('/'));
        own.is_some_and(|own| own == self.pool || self.pool == format!("{own}{POOL_SUFFIX}"))
    }
}

/// What the controller adds to a service's name for its pool's.
const POOL_SUFFIX: &str = "-inference-pool";

/// What of a running system discovery needs.
pub(crate) struct Host<'a> {
    pub(crate) gateway: &'a Arc<Gateway>,
    pub(crate) config: &'a Config,
    pub(crate) seed: u64,
    pub(crate) clock: &'a pool::Clock,
    pub(crate) tracker: &'a TaskTracker,
    pub(crate) stop: &'a CancellationToken,
    pub(crate) configured: Vec<PoolRoute>,
    /// Nothing else of the cluster is served, and no route of it is looked at.
    pub(crate) only: Option<Only>,
}

/// Follows the cluster until the system stops.
///
/// # Errors
/// There is no cluster to talk to: no kubeconfig, and no service account.
pub(crate) async fn follow(host: Host<'_>, discovery: DiscoveryConfig) -> anyhow::Result<()> {
    let found = k8s::discovery::connect(discovery, host.stop, host.tracker)
        .await
        .context("--kubernetes needs a cluster")?;
    host.gateway.watch_sources(Box::new({
        let found = found.clone();
        move || found.sources().into_iter().map(report).collect()
    }));
    let pools = ClusterPools {
        gateway: Arc::clone(host.gateway),
        config: Config {
            index_max_bytes: host.config.index_max_bytes / INDEX_SHARES,
            pools: Vec::new(),
            ..host.config.clone()
        },
        seed: host.seed,
        clock: host.clock.clone(),
        tracker: host.tracker.clone(),
        stop: host.stop.clone(),
        configured: host.configured,
        only: host.only,
        running: BTreeMap::new(),
    };
    let stop = host.stop.clone();
    host.tracker
        .spawn(async move { stop.run_until_cancelled(pools.run(found)).await });
    Ok(())
}

fn report(source: SourceStatus) -> SourceReport {
    SourceReport {
        name: source.name.to_owned(),
        connected: source.connected,
        synced: source.synced,
        since_ms: source.since_ms,
        objects: source.objects,
        failures: source.failures,
        resyncs: source.resyncs,
        error: source.error,
    }
}

impl ClusterPools {
    async fn run(mut self, mut found: Discovery) {
        while found.views.changed().await.is_ok() {
            let view = found.views.borrow_and_update().clone();
            if let Some(view) = view {
                self.take(&view).await;
            }
        }
    }

    async fn take(&mut self, view: &ClusterView) {
        let only = self.only.clone();
        let served = |name: &str| only.as_ref().is_none_or(|only| only.is(name));
        for wanted in view.pools.values().filter(|pool| served(&pool.name)) {
            if self
                .running
                .get(&wanted.name)
                .is_some_and(|held| !same_settings(&held.view, wanted))
                && let Some(old) = self.running.remove(&wanted.name)
            {
                tracing::info!(pool = wanted.name, "pool's settings changed");
                old.stop.cancel();
            }
            match self.running.get_mut(&wanted.name) {
                Some(held) => held.update(wanted),
                None => self.start(wanted).await,
            }
        }
        self.running.retain(|name, held| {
            let stays = view.pools.contains_key(name);
            if !stays {
                tracing::info!(pool = name, "pool left");
                held.stop.cancel();
            }
            stays
        });
        let routes = self
            .configured
            .iter()
            .cloned()
            .chain(self.running.values().map(Running::route));
        // A picker's data plane has chosen the pool already.
        let rules = match &self.only {
            Some(_) => Vec::new(),
            None => view.rules.iter().filter_map(rule).collect(),
        };
        if let Some(only) = &self.only {
            let own = (only.namespace.clone(), only.pool.clone());
            let objectives = view.objectives.get(&own).cloned();
            self.gateway.set_objectives(objectives.unwrap_or_default());
        }
        self.gateway.set_routes(routes.collect(), rules);
    }

    async fn start(&mut self, wanted: &PoolView) {
        // A picker is told its document by its own flags.
        let mut scheduling = match &self.only {
            Some(_) => None,
            None => scheduling(wanted),
        };
        loop {
            let entry = entry(wanted, scheduling.clone());
            let stop = self.stop.child_token();
            match start_pool(
                &self.config,
                &entry,
                self.seed,
                &self.clock,
                &self.tracker,
                &stop,
            )
            .await
            {
                Ok((pool, route)) => {
                    tracing::info!(
                        pool = wanted.name,
                        preset = pool.preset,
                        endpoints = wanted.endpoints.len(),
                        "pool found"
                    );
                    let mut running = Running {
                        pool,
                        route,
                        stop,
                        view: PoolView {
                            endpoints: Vec::new(),
                            ..wanted.clone()
                        },
                    };
                    running.update(wanted);
                    self.running.insert(wanted.name.clone(), running);
                    return;
                }
                // A document that does not compile must not take the pool down.
                Err(error) if scheduling.is_some() => {
                    stop.cancel();
                    tracing::error!(
                        pool = wanted.name,
                        "its scheduling document is not used: {error:#}"
                    );
                    scheduling = None;
                }
                Err(error) => {
                    stop.cancel();
                    tracing::error!(pool = wanted.name, "cannot be served: {error:#}");
                    return;
                }
            }
        }
    }
}

impl Running {
    /// Brings the endpoints up to date.
    fn update(&mut self, wanted: &PoolView) {
        let specs = |list: &[Endpoint]| list.iter().map(|one| one.spec.clone()).collect::<Vec<_>>();
        if specs(&self.view.endpoints) != specs(&wanted.endpoints) {
            self.pool.feeds.apply(Change::Resync {
                source: SOURCE.into(),
                endpoints: specs(&wanted.endpoints),
            });
        }
        for endpoint in &wanted.endpoints {
            let before = self
                .view
                .endpoints
                .iter()
                .find(|one| one.spec.name == endpoint.spec.name);
            if before.map_or(endpoint.draining, |before| {
                before.draining != endpoint.draining
            }) {
                self.pool.feeds.apply(Change::Drain {
                    name: Arc::clone(&endpoint.spec.name),
                    draining: endpoint.draining,
                });
            }
        }
        self.view = wanted.clone();
    }

    fn route(&self) -> PoolRoute {
        PoolRoute {
            path: self.view.path.clone(),
            by_model: self.view.schedules && self.view.routed,
            ..self.route.clone()
        }
    }
}

/// Whether one pool's feeds and scheduling can stay for the other.
fn same_settings(a: &PoolView, b: &PoolView) -> bool {
    let of = |pool: &PoolView| {
        (
            pool.scheduling.clone(),
            pool.metrics_port,
            pool.health_path.clone(),
            pool.schedules,
        )
    };
    // Before it has pods, nothing is known of how they are asked.
    let unknown = a.endpoints.is_empty() && b.endpoints.is_empty();
    unknown || of(a) == of(b)
}

fn scheduling(pool: &PoolView) -> Option<SchedulingConfig> {
    if !pool.schedules {
        return Some(SchedulingConfig::preset(PLAIN_PRESET));
    }
    // By way of text, so that a mistake is told with its place.
    let text = serde_json::to_string_pretty(pool.scheduling.as_ref()?).ok()?;
    match serde_saphyr::from_str(&text) {
        Ok(document) => Some(SchedulingConfig {
            preset: None,
            config: Some(document),
        }),
        Err(error) => {
            tracing::error!(pool = pool.name, %error, "its scheduling document is not used");
            None
        }
    }
}

fn entry(pool: &PoolView, scheduling: Option<SchedulingConfig>) -> Pool {
    let mut entry = Pool {
        name: pool.name.clone(),
        path: pool.path.clone(),
        scheduling,
        prefix_routing: Some(pool.schedules),
        ..Pool::default()
    };
    entry.health.path.clone_from(&pool.health_path);
    entry.scrape.port = pool.metrics_port;
    // Engines in a cluster have certificates of their own making; traffic stays inside of it.
    entry.tls.insecure_skip_verify = true;
    entry
}

/// `None`, said, where a header or a method of the route is none.
fn rule(rule: &Rule) -> Option<RouteRule> {
    let read = read(rule);
    if read.is_none() {
        tracing::warn!(
            route = rule.route,
            "a rule is left out: a method or header name in it is none"
        );
    }
    read
}

fn text(pair: &PairMatch) -> Option<TextMatch> {
    Some(match pair.pattern {
        true => TextMatch::Pattern(Pattern::new(&pair.value).ok()?),
        false => TextMatch::Exact(pair.value.clone()),
    })
}

fn read(rule: &Rule) -> Option<RouteRule> {
    let pairs = |list: &[(String, String)]| -> Option<Vec<(HeaderName, HeaderValue)>> {
        list.iter()
            .map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)))
            .collect()
    };
    let rewrite = match (&rule.replace_prefix, &rule.replace_path) {
        (Some(prefix), _) => Some(PathRewrite::Prefix(prefix.clone())),
        (None, Some(path)) => Some(PathRewrite::Full(path.clone())),
        (None, None) => None,
    };
    let matches: Option<Vec<RequestMatch>> = rule
        .matches
        .iter()
        .map(|found| {
            let headers = found
                .headers
                .iter()
                .map(|pair| Some((pair.name.parse().ok()?, text(pair)?)));
            let query = found
                .query
                .iter()
                .map(|pair| Some((pair.name.clone(), text(pair)?)));
            Some(RequestMatch {
                path: match found.how {
                    PathKind::Exact => PathMatch::Exact(found.path.clone()),
                    PathKind::Prefix => PathMatch::Prefix(found.path.clone()),
                    PathKind::Pattern => PathMatch::Pattern(Pattern::new(&found.path).ok()?),
                },
                method: match &found.method {
                    Some(method) => Some(method.parse().ok()?),
                    None => None,
                },
                headers: headers.collect::<Option<_>>()?,
                query: query.collect::<Option<_>>()?,
            })
        })
        .collect();
    Some(RouteRule {
        route: rule.route.clone(),
        created_unix_seconds: rule.created_unix_seconds,
        hosts: rule.hosts.clone(),
        matches: matches?,
        targets: rule
            .targets
            .iter()
            .map(|target| RouteTarget {
                pool: target.pool.clone(),
                weight: target.weight,
            })
            .collect(),
        rewrite,
        headers: HeaderEdits {
            set: pairs(&rule.set_headers)?,
            add: pairs(&rule.add_headers)?,
            remove: rule
                .remove_headers
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect(),
        },
    })
}
