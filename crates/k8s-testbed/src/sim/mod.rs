//! What makes objects live: controllers, a scheduler and the nodes of a small cluster.
//!
//! One loop looks at everything whenever something has changed, as the parts of a real cluster do; pods run in tasks
//! of their own. Times that pods wait for (probes, hooks, back-off) are shortened by `time_scale`.

mod addresses;
mod command;
mod container;
mod defaults;
mod deployment;
mod events;
mod foreign;
mod garbage;
mod kubelet;
mod logs;
mod nodes;
mod placement;
mod pod;
mod probe;
mod replica_set;
mod secrets;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::server::ApiServer;
use crate::store::Store;

pub(crate) use defaults::{base64, defaults};
pub(crate) use logs::Logs;
pub use nodes::NodeSpec;

/// Changes that come within this time are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(5);

/// How often the loop looks without any change: conditions also change with time.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a cluster consists of.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Address of the API; port 0 takes a free one.
    pub address: SocketAddr,
    /// The `prefixgate` binary, which engines and our own gateway run from.
    pub binary: PathBuf,
    pub nodes: Vec<NodeSpec>,
    /// Factor on every time that pods wait for, and on the engines' simulated durations.
    pub time_scale: f64,
    /// Further flags of every engine.
    pub engine_flags: Vec<String>,
    /// Registries whose images are only pulled with a secret.
    pub private_registries: Vec<String>,
    /// For pods that run `prefixgate` itself: where they find the API.
    pub kubeconfig: Option<PathBuf>,
}

impl ClusterConfig {
    /// Three TPU nodes of four chips and one without accelerator.
    pub fn new(binary: PathBuf) -> Self {
        let mut nodes: Vec<NodeSpec> = (1..=3).map(NodeSpec::tpu).collect();
        nodes.push(NodeSpec::plain("plain-1"));
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            binary,
            nodes,
            time_scale: 0.02,
            engine_flags: Vec::new(),
            private_registries: vec!["registry.redhat.io".to_owned()],
            kubeconfig: None,
        }
    }
}

/// An API server with nodes behind it.
pub struct Cluster {
    api: ApiServer,
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Cluster {
    /// Starts it; nodes are ready when this returns.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn start(config: ClusterConfig) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let api = ApiServer::start(config.address, stop.clone()).await?;
        let tracker = TaskTracker::new();
        let world = Arc::new(World {
            store: Arc::clone(&api.shared.store),
            logs: api.shared.logs.clone(),
            config,
            stop: stop.clone(),
        });
        nodes::register(&world);
        let faults = api.shared.outside.subscribe();
        let running = Arc::clone(&world);
        tracker.spawn(async move { run(running, faults).await });
        Ok(Self { api, stop, tracker })
    }

    /// Its API.
    pub fn api(&self) -> &ApiServer {
        &self.api
    }

    /// Ends everything that runs, and waits until it has.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// What every part of the simulation shares.
pub(crate) struct World {
    pub(crate) store: Arc<Store>,
    pub(crate) logs: Logs,
    pub(crate) config: ClusterConfig,
    pub(crate) stop: CancellationToken,
}

impl World {
    /// A cluster's time as it passes here.
    pub(crate) fn scaled(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64((seconds * self.config.time_scale).max(0.0))
    }
}

async fn run(world: Arc<World>, mut faults: tokio::sync::broadcast::Receiver<crate::Fault>) {
    let mut changes = world.store.changes();
    let mut kubelet = kubelet::Kubelet::new(Arc::clone(&world));
    loop {
        changes.borrow_and_update();
        garbage::collect(&world.store);
        deployment::reconcile(&world.store);
        replica_set::reconcile(&world.store);
        placement::reconcile(&world.store);
        foreign::reconcile(&world.store);
        kubelet.reconcile();
        tokio::select! {
            () = world.stop.cancelled() => break,
            fault = faults.recv() => if let Ok(fault) = fault { kubelet.suffer(&fault); },
            _ = changes.changed() => tokio::time::sleep(DEBOUNCE).await,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    kubelet.stop().await;
}
