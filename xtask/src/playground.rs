//! How does one try the Kubernetes side without a cluster?
//!
//! The in-project API server and its nodes run in this process; controller and gateway run from the built binary, as
//! they would in a cluster, and find the API by its kubeconfig.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use k8s_testbed::{ApiServer, Cluster, ClusterConfig, NodeSpec};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::run::root;
use crate::up;

/// Ports that `playground` takes unless told otherwise.
const API: &str = "127.0.0.1:8001";
const GATEWAY: &str = "127.0.0.1:8000";
const ADMIN: &str = "127.0.0.1:9090";

/// Between SIGTERM and the end of a process that does not heed it.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// Namespaces that the manifests of the guide use.
const NAMESPACES: [&str; 3] = [
    "llm-d-inference-scheduling",
    "opendatahub",
    "prefixgate-system",
];

/// What runs where.
pub(crate) struct Settings {
    pub(crate) api: SocketAddr,
    pub(crate) gateway: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Nodes with four TPU chips each.
    pub(crate) tpu_nodes: usize,
    /// Nodes with one GPU each.
    pub(crate) gpu_nodes: usize,
    /// Factor on everything that takes time in pods.
    pub(crate) time_scale: f64,
}

/// `cargo xtask playground --bare`: an API server with nothing behind it, for the end-to-end list to run against.
#[allow(clippy::print_stdout, reason = "xtask talks to a terminal")]
fn bare(address: SocketAddr) -> anyhow::Result<()> {
    let runtime = Runtime::new().context("cannot start a runtime")?;
    let folder = root().join("target/playground");
    std::fs::create_dir_all(&folder).context("cannot make target/playground")?;
    let kubeconfig = folder.join(format!("kubeconfig-{}", std::process::id()));
    let stop = CancellationToken::new();
    let server = runtime.block_on(ApiServer::start(address, stop.clone()))?;
    server.write_kubeconfig(&kubeconfig)?;
    println!("KUBECONFIG  {}", kubeconfig.display());
    println!("Ctrl-C ends it");
    let ended = runtime.block_on(ended());
    stop.cancel();
    std::fs::remove_file(&kubeconfig)?;
    ended
}

impl Settings {
    /// On free ports, for checks.
    pub(crate) fn free(tpu_nodes: usize) -> anyhow::Result<Self> {
        let port = || -> anyhow::Result<SocketAddr> {
            Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
        };
        Ok(Self {
            api: SocketAddr::from(([127, 0, 0, 1], 0)),
            gateway: port()?,
            admin: port()?,
            tpu_nodes,
            gpu_nodes: 0,
            time_scale: 0.02,
        })
    }
}

/// A running one.
pub(crate) struct Playground {
    pub(crate) runtime: Runtime,
    cluster: Option<Cluster>,
    children: Vec<(&'static str, Child)>,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) gateway: String,
    pub(crate) admin: String,
}

impl Playground {
    /// Starts everything and waits until the gateway has seen the cluster.
    ///
    /// # Errors
    /// A port is taken, a definition is refused, a process ends at once.
    pub(crate) fn start(binary: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let runtime = Runtime::new().context("cannot start a runtime")?;
        let folder = root().join("target/playground");
        std::fs::create_dir_all(&folder).context("cannot make target/playground")?;
        let kubeconfig = folder.join(format!("kubeconfig-{}", std::process::id()));
        let mut config = ClusterConfig::new(binary.to_owned());
        config.address = settings.api;
        config.nodes = (1..=settings.tpu_nodes)
            .map(NodeSpec::tpu)
            .chain((1..=settings.gpu_nodes).map(NodeSpec::gpu))
            .chain([NodeSpec::plain("plain-1")])
            .collect();
        config.time_scale = settings.time_scale;
        config.kubeconfig = Some(kubeconfig.clone());
        let cluster = runtime.block_on(Cluster::start(config))?;
        cluster.api().write_kubeconfig(&kubeconfig)?;
        furnish(&cluster, binary)?;
        let mut playground = Self {
            runtime,
            cluster: Some(cluster),
            children: Vec::new(),
            kubeconfig,
            gateway: format!("http://{}", settings.gateway),
            admin: format!("http://{}", settings.admin),
        };
        let (gateway, admin) = (settings.gateway.to_string(), settings.admin.to_string());
        // The gateway runs beside the cluster, so none is deployed in it.
        let controller = ["controller", "--gateway-address", &gateway];
        playground.child(binary, "controller", &controller, &folder)?;
        let serve = [
            "serve",
            "--kubernetes",
            "--listen",
            &gateway,
            "--admin-listen",
            &admin,
        ];
        playground.child(binary, "gateway", &serve, &folder)?;
        playground.wait("the gateway to have seen the cluster", |playground| {
            playground
                .get(&playground.admin, "/readyz")
                .is_ok_and(|(code, _)| code == 200)
        })?;
        Ok(playground)
    }

    fn child(
        &mut self,
        binary: &Path,
        name: &'static str,
        words: &[&str],
        folder: &Path,
    ) -> anyhow::Result<()> {
        let log = std::fs::File::create(folder.join(format!("{name}.log")))?;
        let child = Command::new(binary)
            .args(words)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start `prefixgate {}`", words.join(" ")))?;
        self.children.push((name, child));
        Ok(())
    }

    /// Calls the API in this process.
    pub(crate) fn api(&self) -> anyhow::Result<k8s_testbed::Client> {
        Ok(self
            .cluster
            .as_ref()
            .context("it was stopped")?
            .api()
            .client())
    }

    /// Makes something go wrong.
    pub(crate) fn inject(&self, fault: k8s_testbed::Fault) {
        if let Some(cluster) = &self.cluster {
            // Faults start tasks of their own.
            let _inside = self.runtime.enter();
            cluster.api().inject(fault);
        }
    }

    /// `kubectl` on this cluster; what it printed.
    pub(crate) fn kubectl(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("kubectl")
            .args(words)
            .env("KUBECONFIG", &self.kubeconfig)
            .output()
            .context("cannot start kubectl")?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "kubectl {} failed: {printed}{}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(printed)
    }

    /// Waits until `done`, or says what was waited for and how everything stood.
    pub(crate) fn wait(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(90) {
            if done(self) {
                return Ok(());
            }
            for (name, child) in &mut self.children {
                if let Some(status) = child.try_wait()? {
                    bail!(
                        "the {name} ended ({status}) while waiting for {what}; its log is target/playground/{name}.log"
                    );
                }
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        bail!("waited 90 s for {what}; {}", self.account())
    }

    /// Pods and services, for a failure's message.
    fn account(&self) -> String {
        let Ok(api) = self.api() else {
            return String::new();
        };
        let pods = api.list("/api/v1/pods").unwrap_or_default();
        let services = api
            .list("/apis/serving.kserve.io/v1alpha2/llminferenceservices")
            .unwrap_or_default();
        let pod = |pod: &Value| format!("{} {}", pod["metadata"]["name"], pod["status"]);
        let service = |service: &Value| {
            format!(
                "{} {}",
                service["metadata"]["name"], service["status"]["conditions"]
            )
        };
        format!(
            "pods: {}; services: {}",
            pods.iter().map(pod).collect::<Vec<_>>().join(", "),
            services.iter().map(service).collect::<Vec<_>>().join(", ")
        )
    }

    /// GET by a plain socket: status and body.
    pub(crate) fn get(&self, url: &str, path: &str) -> anyhow::Result<(u16, String)> {
        crate::http::call(url, "GET", path, None)
    }

    /// POST of JSON: status and body.
    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<(u16, String)> {
        crate::http::call(&self.gateway, "POST", path, Some(body))
    }

    /// Ends controller and gateway, then the cluster with its engines.
    ///
    /// # Errors
    /// One of them did not end well.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        for (name, child) in &mut self.children {
            let sent = Command::new("kill")
                .args(["-TERM", &child.id().to_string()])
                .status();
            ensure!(
                sent.is_ok_and(|status| status.success()),
                "cannot signal the {name}"
            );
        }
        let start = Instant::now();
        for (name, child) in &mut self.children {
            loop {
                if let Some(status) = child.try_wait()? {
                    ensure!(
                        status.success(),
                        "the {name} ended with {status}; its log is target/playground/{name}.log"
                    );
                    break;
                }
                ensure!(
                    start.elapsed() < STOP_WITHIN,
                    "the {name} did not end after SIGTERM"
                );
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
        if let Some(cluster) = self.cluster.take() {
            self.runtime.block_on(cluster.stop());
        }
        Ok(())
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            // Ended already: nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(cluster) = self.cluster.take() {
            self.runtime.block_on(cluster.stop());
        }
        let _ = std::fs::remove_file(&self.kubeconfig);
    }
}

/// Definitions, our gateway class with the gateways that manifests name, and the secrets they refer to.
fn furnish(cluster: &Cluster, binary: &Path) -> anyhow::Result<()> {
    let (api, client) = (cluster.api(), cluster.api().client());
    api.install_gateway_api()?;
    client
        .apply_manifest("playground", &definitions(binary)?)
        .context("the resource definitions cannot be applied")?;
    let create = |object: Value| -> anyhow::Result<()> {
        client.apply(&client.path_of(&object)?, "playground", &object)?;
        Ok(())
    };
    for name in NAMESPACES {
        create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))?;
    }
    create(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "prefixgate"},
        "spec": {"controllerName": "prefixgate.dev/gateway-controller"},
    }))?;
    for (namespace, name) in [
        ("opendatahub", "inference-gateway"),
        ("prefixgate-system", "prefixgate"),
    ] {
        create(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"gatewayClassName": "prefixgate", "listeners": [{
                "name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}},
            }]},
        }))?;
    }
    for (name, kind, key) in [
        (
            "redhat-pull-secret",
            "kubernetes.io/dockerconfigjson",
            ".dockerconfigjson",
        ),
        ("hf-token", "Opaque", "HF_TOKEN"),
    ] {
        create(json!({
            "apiVersion": "v1", "kind": "Secret", "type": kind,
            "metadata": {"name": name, "namespace": NAMESPACES[0]},
            "stringData": {key: "{}", "token": "playground"},
        }))?;
    }
    Ok(())
}

/// Definitions of our own kinds, as the binary has them.
fn definitions(binary: &Path) -> anyhow::Result<String> {
    let printed = Command::new(binary)
        .args(["controller", "--print-crds"])
        .output()
        .context("cannot start `prefixgate controller --print-crds`")?;
    ensure!(
        printed.status.success(),
        "`prefixgate controller --print-crds` failed: {}",
        String::from_utf8_lossy(&printed.stderr)
    );
    Ok(String::from_utf8(printed.stdout)?)
}

/// `cargo xtask playground`: runs until Ctrl-C.
///
/// # Errors
/// It cannot start, or a word is not understood.
#[allow(clippy::print_stdout, reason = "xtask talks to a terminal")]
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let mut settings = Settings {
        api: API.parse()?,
        gateway: GATEWAY.parse()?,
        admin: ADMIN.parse()?,
        tpu_nodes: 5,
        gpu_nodes: 3,
        time_scale: 0.1,
    };
    let mut nothing_behind = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .with_context(|| format!("{word} wants a value"))
        };
        match *word {
            "--bare" => nothing_behind = true,
            "--api" => {
                settings.api = value()?
                    .parse()
                    .context("--api wants an address such as 127.0.0.1:8001")?
            }
            "--gateway" => {
                settings.gateway = value()?
                    .parse()
                    .context("--gateway wants an address such as 127.0.0.1:8000")?
            }
            "--admin" => {
                settings.admin = value()?
                    .parse()
                    .context("--admin wants an address such as 127.0.0.1:9090")?
            }
            "--tpu-nodes" => {
                settings.tpu_nodes = value()?.parse().context("--tpu-nodes wants a number")?
            }
            "--gpu-nodes" => {
                settings.gpu_nodes = value()?.parse().context("--gpu-nodes wants a number")?
            }
            "--time-scale" => {
                settings.time_scale = value()?.parse().context("--time-scale wants a number")?
            }
            other => bail!(
                "playground does not know {other}; it knows --api, --gateway, --admin ADDRESS, --tpu-nodes, --gpu-nodes N, --time-scale FACTOR, --bare"
            ),
        }
    }
    if nothing_behind {
        return bare(settings.api);
    }
    let binary = up::binary()?;
    let playground = Playground::start(&binary, &settings)?;
    println!("KUBECONFIG  {}", playground.kubeconfig.display());
    println!("gateway     {}", playground.gateway);
    println!("admin       {}/admin/state", playground.admin);
    println!(
        "nodes       {} of 4 TPU v6e chips, {} of one GPU, 1 without; all simulated, pods run real engines",
        settings.tpu_nodes, settings.gpu_nodes
    );
    println!("logs        target/playground/controller.log and gateway.log");
    println!();
    println!("  export KUBECONFIG={}", playground.kubeconfig.display());
    println!(
        "  kubectl apply -f deploy/examples/pattern3-tpu.yaml    kubectl get llmisvc -A    kubectl get pods -A -w"
    );
    println!();
    println!("Ctrl-C ends everything");
    playground.runtime.block_on(ended())?;
    playground.stop()
}

async fn ended() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
