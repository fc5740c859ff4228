//! What does the controller cost in a cluster of many services?
//!
//! The in-project API server without nodes, and the built controller as a process of its own. Counted are the requests
//! that reach the server, and the controller's resident memory as the kernel has it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_testbed::{ApiServer, Client};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::run::root;

const NAMESPACE: &str = "llm-d-inference-scheduling";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/llm-d-inference-scheduling/deployments";
const SERVICES: &str =
    "/apis/serving.kserve.io/v1alpha2/namespaces/llm-d-inference-scheduling/llminferenceservices";
/// Nothing reached the server for this long: the controller has done what it will.
const QUIET: Duration = Duration::from_secs(8);
/// How long an idle cluster is watched.
const IDLE: Duration = Duration::from_secs(60);

/// A controller process, ended when dropped.
struct Controller(Child);

impl Drop for Controller {
    fn drop(&mut self) {
        // Ended already: nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Controller {
    fn start(binary: &Path, kubeconfig: &Path) -> anyhow::Result<Self> {
        let child = Command::new(binary)
            .args(["controller", "--gateway-address", "127.0.0.1:8000"])
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start `prefixgate controller`")?;
        Ok(Self(child))
    }

    /// Resident memory, MiB.
    fn resident_mib(&self) -> anyhow::Result<f64> {
        // Every system that this builds on has it, in KiB.
        let said = Command::new("ps")
            .args(["-o", "rss=", "-p", &self.0.id().to_string()])
            .output()
            .context("cannot start `ps`")?;
        let kib = String::from_utf8_lossy(&said.stdout).trim().parse::<f64>();
        Ok(kib.context("`ps` does not say how much memory it has")? / 1024.0)
    }
}

/// `cargo xtask services [N]`
///
/// # Errors
/// The controller ends, or does not make what it should.
#[allow(clippy::print_stdout, reason = "xtask talks to a terminal")]
pub(crate) fn run(count: usize) -> anyhow::Result<()> {
    let binary = crate::up::binary()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start a runtime")?;
    let stop = CancellationToken::new();
    let server = runtime.block_on(ApiServer::start(([127, 0, 0, 1], 0).into(), stop.clone()))?;
    let folder = root().join("target/playground");
    std::fs::create_dir_all(&folder)?;
    let kubeconfig = folder.join(format!("kubeconfig-{}", std::process::id()));
    server.write_kubeconfig(&kubeconfig)?;
    let api = server.client();
    furnish(&server, &binary)?;
    let manifest = std::fs::read_to_string(root().join("deploy/examples/pattern3-tpu.yaml"))?;
    let manifest: Value = serde_saphyr::from_str(&manifest)?;
    for number in 0..count {
        let mut service = manifest.clone();
        service["metadata"]["name"] = json!(format!("model-{number:04}"));
        api.apply(&api.path_of(&service)?, "kubectl", &service)?;
    }

    let controller = Controller::start(&binary, &kubeconfig)?;
    let start = Instant::now();
    made(&api, count)?;
    for number in 0..count {
        pods(&api, &format!("model-{number:04}"))?;
    }
    settled(&server);
    let took = start.elapsed().saturating_sub(QUIET);
    println!("{count} services of 3 replicas each, from manifests to Ready");
    println!("  seconds                      {:.1}", took.as_secs_f64());
    println!(
        "  controller, resident MiB     {:.1}",
        controller.resident_mib()?
    );
    let counted = totals(&server, count);
    println!("  requests per service         {counted}");
    std::thread::park_timeout(IDLE);
    println!("idle for {} s", IDLE.as_secs());
    let counted = totals(&server, count);
    println!("  requests per service         {counted}");
    drop(controller);

    let _ = server.take_calls();
    let controller = Controller::start(&binary, &kubeconfig)?;
    std::thread::park_timeout(Duration::from_secs(20));
    settled(&server);
    println!(
        "a controller started anew, which looks at and applies everything once, as a resync does"
    );
    println!(
        "  controller, resident MiB     {:.1}",
        controller.resident_mib()?
    );
    let counted = totals(&server, count);
    println!("  requests per service         {counted}");
    drop(controller);
    stop.cancel();
    std::fs::remove_file(&kubeconfig)?;
    Ok(())
}

fn furnish(server: &ApiServer, binary: &Path) -> anyhow::Result<()> {
    let api = server.client();
    server.install_gateway_api()?;
    let printed = Command::new(binary)
        .args(["controller", "--print-crds"])
        .output()
        .context("cannot start `prefixgate controller --print-crds`")?;
    api.apply_manifest("test", &String::from_utf8(printed.stdout)?)?;
    for namespace in [NAMESPACE, "opendatahub", "prefixgate-system"] {
        let namespace = json!({"metadata": {"name": namespace}});
        api.create("/api/v1/namespaces", &namespace)?;
    }
    for secret in ["hf-token", "redhat-pull-secret"] {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
        api.create(&path, &json!({"metadata": {"name": secret}}))?;
    }
    api.apply_manifest(
        "test",
        "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: prefixgate}
spec: {controllerName: prefixgate.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: inference-gateway, namespace: opendatahub}
spec: {gatewayClassName: prefixgate, listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]}
",
    )?;
    Ok(())
}

fn made(api: &Client, count: usize) -> anyhow::Result<()> {
    let start = Instant::now();
    while api.list(DEPLOYMENTS)?.len() < count {
        ensure!(
            start.elapsed() < Duration::from_secs(600),
            "the controller made {} of {count} Deployments",
            api.list(DEPLOYMENTS)?.len()
        );
        std::thread::park_timeout(Duration::from_millis(200));
    }
    Ok(())
}

/// Three that serve.
fn pods(api: &Client, service: &str) -> anyhow::Result<()> {
    let deployment = api.get(&format!("{DEPLOYMENTS}/{service}-kserve"))?;
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let now = "2026-01-01T00:00:00Z";
    for number in 0..3 {
        let pod = json!({
            "metadata": {"name": format!("{service}-{number}"), "labels": labels},
            "spec": {"nodeName": "n", "containers": [{"name": "main", "image": "i"}]},
            "status": {
                "phase": "Running", "podIP": format!("10.0.0.{number}"),
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
                "containerStatuses": [{"name": "main", "ready": true, "started": true, "image": "i", "imageID": "", "restartCount": 0, "state": {"running": {"startedAt": now}}}],
            },
        });
        api.create(&format!("/api/v1/namespaces/{NAMESPACE}/pods"), &pod)?;
    }
    Ok(())
}

/// Waits until every service is Ready and nobody writes any more.
fn settled(server: &ApiServer) {
    let api = server.client();
    let version = || api.get(SERVICES).unwrap_or_default()["metadata"]["resourceVersion"].clone();
    let (mut last, mut since) = (version(), Instant::now());
    while since.elapsed() < QUIET {
        std::thread::park_timeout(Duration::from_secs(1));
        let now = version();
        // The lease is renewed every two seconds; anything else is more than five writes in eight.
        let step = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
        if step(&now).unwrap_or(0) > step(&last).unwrap_or(0) + 5 {
            (last, since) = (now, Instant::now());
        }
    }
}

/// Requests since the last count, per service, by verb.
fn totals(server: &ApiServer, count: usize) -> String {
    let mut by_verb = std::collections::BTreeMap::<String, u64>::new();
    for ((verb, resource), times) in server.take_calls() {
        if !resource.starts_with("leases") {
            *by_verb.entry(verb).or_default() += times;
        }
    }
    let total: u64 = by_verb.values().sum();
    let parts: Vec<String> = by_verb
        .iter()
        .map(|(verb, times)| format!("{verb} {times}"))
        .collect();
    format!(
        "{:.2}   ({} in all: {})",
        total as f64 / count as f64,
        total,
        parts.join(", ")
    )
}
