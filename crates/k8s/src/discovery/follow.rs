//! When has what the gateway is to serve changed?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::kinds::{LeanPod, LeanService, Namespace, ReferenceGrant};
use super::source::SourceStatus;
use super::view::{ClusterView, Objects, Seen};
use super::watch::Watched;
use crate::types::{
    Gateway, GatewayClass, HttpRoute, InferenceObjective, InferencePool, LlmInferenceService,
    OlderInferenceObjective,
};

/// Changes that come within this time make one view.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// How often ConfigMaps with scheduling documents are read again; they are few, and not watched.
const CONFIG_EVERY: Duration = Duration::from_secs(30);

/// What is watched.
#[derive(Clone, Debug, Default)]
pub struct DiscoveryConfig {
    /// One namespace; all of them without.
    pub namespace: Option<String>,
    /// Namespace and name of the only Gateway to serve; all of our class without.
    pub gateway: Option<(String, String)>,
    /// Objectives too. They are no source that anyone waits for: a cluster may not have them, or not show them.
    pub objectives: bool,
}

/// The running watches.
#[derive(Clone)]
pub struct Discovery {
    watches: Arc<Watches>,
    /// The newest view; `None` until every kind was listed once.
    pub views: watch::Receiver<Option<Arc<ClusterView>>>,
}

struct Watches {
    pods: Arc<Watched<LeanPod>>,
    pools: Arc<Watched<InferencePool>>,
    services: Arc<Watched<LlmInferenceService>>,
    kube_services: Arc<Watched<LeanService>>,
    routes: Arc<Watched<HttpRoute>>,
    gateways: Arc<Watched<Gateway>>,
    classes: Arc<Watched<GatewayClass>>,
    namespaces: Arc<Watched<Namespace>>,
    grants: Arc<Watched<ReferenceGrant>>,
    objectives: Arc<Watched<InferenceObjective>>,
    older_objectives: Arc<Watched<OlderInferenceObjective>>,
}

impl Discovery {
    /// How current each kind is.
    pub fn sources(&self) -> Vec<SourceStatus> {
        self.watches.sources()
    }
}

impl Watches {
    fn sources(&self) -> Vec<SourceStatus> {
        vec![
            self.pods.source.status(),
            self.pools.source.status(),
            self.services.source.status(),
            self.kube_services.source.status(),
            self.routes.source.status(),
            self.gateways.source.status(),
            self.classes.source.status(),
            self.namespaces.source.status(),
            self.grants.source.status(),
        ]
    }

    fn objects(&self, config: &DiscoveryConfig, config_maps: &ConfigMaps) -> Objects {
        Objects {
            pods: self.pods.all(),
            pools: self.pools.all(),
            services: self.services.all(),
            kube_services: self.kube_services.all(),
            routes: self.routes.all(),
            gateways: self.gateways.all(),
            classes: self.classes.all(),
            namespaces: self.namespaces.all(),
            grants: self.grants.all(),
            objectives: self.objectives.all(),
            older_objectives: self.older_objectives.all(),
            config_maps: config_maps.clone(),
            gateway: config.gateway.clone(),
        }
    }
}

type ConfigMaps = BTreeMap<(String, String), BTreeMap<String, String>>;

/// Connects by kubeconfig or service account, and [`follow`]s.
///
/// # Errors
/// There is neither, or what there is cannot be read. A cluster that does not answer is no error: it is waited for.
pub async fn connect(
    config: DiscoveryConfig,
    stop: &CancellationToken,
    tracker: &TaskTracker,
) -> anyhow::Result<Discovery> {
    Ok(follow(client().await?, config, stop, tracker))
}

/// A client by kubeconfig or service account.
///
/// # Errors
/// There is neither, or what there is cannot be read.
pub async fn client() -> anyhow::Result<Client> {
    Client::try_default()
        .await
        .context("a cluster is found by a kubeconfig (KUBECONFIG or ~/.kube/config) or a pod's service account")
}

/// Starts the watches on `tracker`; they end with `stop`.
pub fn follow(
    client: Client,
    config: DiscoveryConfig,
    stop: &CancellationToken,
    tracker: &TaskTracker,
) -> Discovery {
    let watches = Arc::new(Watches {
        pods: Watched::new("pods"),
        pools: Watched::new("inferencepools"),
        services: Watched::new("llminferenceservices"),
        kube_services: Watched::new("services"),
        routes: Watched::new("httproutes"),
        gateways: Watched::new("gateways"),
        classes: Watched::new("gatewayclasses"),
        namespaces: Watched::new("namespaces"),
        grants: Watched::new("referencegrants"),
        objectives: Watched::new("inferenceobjectives"),
        older_objectives: Watched::new("inferenceobjectives of the older group"),
    });
    let changed = Arc::new(Notify::new());
    let own = config.namespace.clone();
    macro_rules! run {
        ($watched:expr, $namespace:expr) => {{
            let run = Arc::clone(&$watched).run(client.clone(), $namespace, Arc::clone(&changed));
            let stop = stop.clone();
            tracker.spawn(async move { stop.run_until_cancelled(run).await });
        }};
    }
    run!(watches.pods, own.clone());
    run!(watches.pools, own.clone());
    run!(watches.services, own.clone());
    run!(watches.kube_services, own.clone());
    run!(watches.routes, own.clone());
    // A gateway often stands in a namespace of its own.
    run!(watches.gateways, None);
    run!(watches.classes, None);
    run!(watches.namespaces, None);
    run!(watches.grants, None);
    if config.objectives {
        run!(watches.objectives, own.clone());
        run!(watches.older_objectives, own);
    }
    let (sender, views) = watch::channel(None);
    let making = make(client, config, Arc::clone(&watches), changed, sender);
    let stop = stop.clone();
    tracker.spawn(async move { stop.run_until_cancelled(making).await });
    Discovery { watches, views }
}

async fn make(
    client: Client,
    config: DiscoveryConfig,
    watches: Arc<Watches>,
    changed: Arc<Notify>,
    views: watch::Sender<Option<Arc<ClusterView>>>,
) {
    let mut seen = Seen::default();
    let mut maps = ConfigMaps::new();
    let mut read_at: Option<tokio::time::Instant> = None;
    loop {
        // Either way it is time to look.
        let _ = tokio::time::timeout(CONFIG_EVERY, changed.notified()).await;
        tokio::time::sleep(DEBOUNCE).await;
        if !watches.sources().iter().all(|source| source.synced) {
            continue;
        }
        let wanted = wanted_maps(&watches);
        if read_at.is_none_or(|at| at.elapsed() >= CONFIG_EVERY)
            || wanted.iter().any(|name| !maps.contains_key(name))
        {
            maps = read_maps(&client, &wanted, maps).await;
            read_at = Some(tokio::time::Instant::now());
        }
        let view = ClusterView::of(&watches.objects(&config, &maps), &mut seen);
        views.send_if_modified(|held| {
            let news = held.as_deref() != Some(&view);
            if news {
                *held = Some(Arc::new(view));
            }
            news
        });
    }
}

/// ConfigMaps that services name.
fn wanted_maps(watches: &Watches) -> Vec<(String, String)> {
    let named = |service: &Arc<LlmInferenceService>| {
        let name = service
            .spec
            .pointer("/router/scheduler/config/ref/name")?
            .as_str()?
            .to_owned();
        Some((service.metadata.namespace.clone()?, name))
    };
    watches.services.all().iter().filter_map(named).collect()
}

/// One that cannot be read now keeps what it said last.
async fn read_maps(
    client: &Client,
    wanted: &[(String, String)],
    mut last: ConfigMaps,
) -> ConfigMaps {
    let mut maps = ConfigMaps::new();
    for (namespace, name) in wanted {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let key = (namespace.clone(), name.clone());
        let held = last.remove(&key);
        match api.get_opt(name).await {
            Ok(Some(map)) => drop(maps.insert(key, map.data.unwrap_or_default())),
            Ok(None) => tracing::warn!(
                namespace,
                name,
                "the ConfigMap with the scheduling document is missing"
            ),
            Err(error) => {
                tracing::warn!(namespace, name, %error, "a scheduling document cannot be read");
                maps.extend(held.map(|held| (key, held)));
            }
        }
    }
    maps
}
