//! Does one manifest become running, routed, scaled replicas?
//!
//! Against the in-project API server and nodes, with real controller, gateway and engine processes; by `kubectl`, word for
//! word as the guide has it, where it is installed, else by the API.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_testbed::Fault;
use serde_json::{Value, json};

use crate::playground::{Playground, Settings};

const NAMESPACE: &str = "llm-d-inference-scheduling";
const NAME: &str = "qwen2-3b-pattern3";
const SERVICES: &str =
    "/apis/serving.kserve.io/v1alpha1/namespaces/llm-d-inference-scheduling/llminferenceservices";

/// Clients that ask all the time while replicas come and go.
const CLIENTS: usize = 4;

/// The manifest of the pattern, as far as it says something other than its defaults.
const MANIFEST: &str = r#"
apiVersion: serving.kserve.io/v1alpha1
kind: LLMInferenceService
metadata:
  name: qwen2-3b-pattern3
  namespace: llm-d-inference-scheduling
spec:
  model:
    uri: hf://Qwen/Qwen2.5-3B-Instruct
    name: Qwen/Qwen2.5-3B-Instruct
  replicas: 3
  router:
    route: {}
    gateway:
      refs:
      - name: inference-gateway
        namespace: opendatahub
    scheduler: {}
  template:
    imagePullSecrets:
    - name: redhat-pull-secret
    nodeSelector:
      cloud.google.com/gke-tpu-accelerator: tpu-v6e-slice
      cloud.google.com/gke-tpu-topology: 2x2
    tolerations:
    - key: google.com/tpu
      operator: Equal
      value: present
      effect: NoSchedule
    containers:
    - name: main
      image: registry.redhat.io/rhaiis/vllm-tpu-rhel9:3.2.5
      env:
      - name: HF_TOKEN
        valueFrom:
          secretKeyRef:
            name: hf-token
            key: HF_TOKEN
      resources:
        limits:
          google.com/tpu: "4"
        requests:
          google.com/tpu: "4"
"#;

/// The whole story, told quickly.
///
/// # Errors
/// The first thing that is not as it should be.
#[allow(clippy::print_stdout, reason = "xtask talks to a terminal")]
pub(super) fn check(binary: &Path, _: &[&str]) -> anyhow::Result<()> {
    println!("=== e2e kubernetes");
    let start = Instant::now();
    let tell = |what: &str| println!("    {:5.1} s  {what}", start.elapsed().as_secs_f64());
    let mut playground = Playground::start(binary, &Settings::free(5)?)?;
    let by_kubectl = Command::new("kubectl")
        .arg("version")
        .arg("--client")
        .output()
        .is_ok();
    if !by_kubectl {
        println!("    kubectl is not installed: the API is called directly");
    }
    tell("API server, nodes, controller and gateway are up");

    apply(&playground, by_kubectl)?;
    ready(&mut playground, 3)?;
    tell("3 replicas are ready, and the gateway knows them");
    let model = model(&playground)?;
    let (code, body) = ask(&playground, &model)?;
    ensure!(code == 200, "the gateway answered {code}: {body}");
    tell("a completion through /{namespace}/{name}/v1/chat/completions");

    scale(&playground, by_kubectl, 5)?;
    ready(&mut playground, 5)?;
    tell("patched to 5 replicas");

    let load = Load::start(&playground, &model);
    scale(&playground, by_kubectl, 1)?;
    ready(&mut playground, 1)?;
    load.end("scaling from 5 to 1")?;
    tell("scaled to 1 under load, no request failed");

    away(&mut playground, &model)?;
    tell("API server away: served on from the last view, said so, and came back");

    delete(&playground, by_kubectl)?;
    gone(&mut playground)?;
    tell("deleted with everything that belonged to it");
    playground.stop()?;
    println!("=== e2e kubernetes: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn apply(playground: &Playground, by_kubectl: bool) -> anyhow::Result<()> {
    if !by_kubectl {
        playground.api()?.apply_manifest("e2e", MANIFEST)?;
        return Ok(());
    }
    let file = crate::run::root().join("target/playground/e2e.yaml");
    std::fs::write(&file, MANIFEST)?;
    playground
        .kubectl(&["apply", "-f", &file.display().to_string()])
        .map(drop)
}

fn scale(playground: &Playground, by_kubectl: bool, replicas: usize) -> anyhow::Result<()> {
    let patch = format!(r#"[{{"op":"replace","path":"/spec/replicas","value":{replicas}}}]"#);
    if by_kubectl {
        let patched = playground.kubectl(&[
            "-n",
            NAMESPACE,
            "patch",
            "llmisvc",
            NAME,
            "--type=json",
            "-p",
            &patch,
        ])?;
        ensure!(patched.contains("patched"), "kubectl said: {patched}");
        let listed = playground.kubectl(&["-n", NAMESPACE, "get", "llmisvc"])?;
        let head = listed.lines().next().unwrap_or_default();
        for column in ["NAME", "URL", "READY", "REASON", "AGE"] {
            ensure!(
                head.contains(column),
                "`kubectl get llmisvc` has no column {column}: {head}"
            );
        }
        return Ok(());
    }
    let path = format!("{SERVICES}/{NAME}");
    playground.api()?.patch(
        &path,
        "application/json-patch+json",
        &serde_json::from_str(&patch)?,
    )?;
    Ok(())
}

fn delete(playground: &Playground, by_kubectl: bool) -> anyhow::Result<()> {
    if by_kubectl {
        return playground
            .kubectl(&["-n", NAMESPACE, "delete", "llmisvc", NAME])
            .map(drop);
    }
    playground.api()?.delete(&format!("{SERVICES}/{NAME}"))?;
    Ok(())
}

/// Waits until that many pods, no more, are ready, the status says so, and the gateway picks among them.
fn ready(playground: &mut Playground, replicas: usize) -> anyhow::Result<()> {
    playground.wait(&format!("{replicas} ready pods"), |playground| {
        let pods = pods(playground);
        pods.len() == replicas && pods.iter().all(is_ready)
    })?;
    playground.wait(
        &format!("{replicas} endpoints in the gateway"),
        |playground| endpoints(playground) == Some(replicas),
    )?;
    playground.wait("the service's status to be Ready", |playground| {
        let service = playground
            .api()
            .ok()
            .and_then(|api| api.get(&format!("{SERVICES}/{NAME}")).ok());
        let conditions = service
            .as_ref()
            .and_then(|service| service["status"]["conditions"].as_array());
        conditions.is_some_and(|all| {
            all.iter()
                .any(|one| one["type"] == "Ready" && one["status"] == "True")
        })
    })
}

/// Pods of the engine.
fn pods(playground: &Playground) -> Vec<Value> {
    let path =
        format!("/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=kserve.io/component%3Dworkload");
    playground
        .api()
        .ok()
        .and_then(|api| api.list(&path).ok())
        .unwrap_or_default()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|all| {
        all.iter()
            .any(|one| one["type"] == "Ready" && one["status"] == "True")
    })
}

/// Endpoints of the service's pool that the gateway may pick.
fn endpoints(playground: &Playground) -> Option<usize> {
    let state = state(playground)?;
    let pools = state["pools"].as_array()?;
    let pool = pools
        .iter()
        .find(|pool| pool["pool"] == format!("{NAMESPACE}/{NAME}"))?;
    let all = pool["endpoints"].as_array()?;
    // One that still leaves is none too few, and one too many.
    all.iter()
        .all(|one| one["health"] == "ready")
        .then_some(all.len())
}

fn state(playground: &Playground) -> Option<Value> {
    let (_, body) = playground.get(&playground.admin, "/admin/state").ok()?;
    serde_json::from_str(&body).ok()
}

/// What clients call the model.
fn model(playground: &Playground) -> anyhow::Result<String> {
    let (code, body) = playground.get(
        &playground.gateway,
        &format!("/{NAMESPACE}/{NAME}/v1/models"),
    )?;
    ensure!(code == 200, "/v1/models answered {code}: {body}");
    let models: Value = serde_json::from_str(&body)?;
    models["data"][0]["id"]
        .as_str()
        .map(str::to_owned)
        .context("no model is listed")
}

fn ask(playground: &Playground, model: &str) -> anyhow::Result<(u16, String)> {
    playground.post(
        &format!("/{NAMESPACE}/{NAME}/v1/chat/completions"),
        &question(model, 0),
    )
}

fn question(model: &str, number: u64) -> Value {
    json!({
        "model": model,
        "max_tokens": 16,
        "messages": [{"role": "user", "content": format!("Explain replica {number} in one sentence.")}],
    })
}

/// Clients that ask all the time.
struct Load {
    end: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    clients: Vec<std::thread::JoinHandle<Option<String>>>,
}

impl Load {
    fn start(playground: &Playground, model: &str) -> Self {
        let (end, asked) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let clients = (0..CLIENTS).map(|_| {
            let (end, asked) = (Arc::clone(&end), Arc::clone(&asked));
            let (url, model) = (playground.gateway.clone(), model.to_owned());
            std::thread::spawn(move || {
                while !end.load(Relaxed) {
                    let question = question(&model, asked.fetch_add(1, Relaxed));
                    let path = format!("/{NAMESPACE}/{NAME}/v1/chat/completions");
                    match crate::http::call(&url, "POST", &path, Some(&question)) {
                        Ok((200, _)) => {}
                        Ok((code, body)) => return Some(format!("{code}: {body}")),
                        Err(error) => return Some(format!("{error:#}")),
                    }
                }
                None
            })
        });
        Self {
            clients: clients.collect(),
            end,
            asked,
        }
    }

    fn end(self, during: &str) -> anyhow::Result<()> {
        self.end.store(true, Relaxed);
        for client in self.clients {
            let failed = client.join().ok().flatten();
            ensure!(
                failed.is_none(),
                "a request failed during {during}: {}",
                failed.unwrap_or_default()
            );
        }
        let asked = self.asked.load(Relaxed);
        ensure!(
            asked > CLIENTS as u64,
            "only {asked} requests were made during {during}"
        );
        Ok(())
    }
}

/// The data plane outlives its API server.
fn away(playground: &mut Playground, model: &str) -> anyhow::Result<()> {
    playground.inject(Fault::Away {
        for_how_long: Duration::from_secs(3),
    });
    let connected = |playground: &Playground, wanted: bool| {
        let sources = state(playground).and_then(|state| state["discovery"].as_array().cloned());
        sources
            .is_some_and(|all| !all.is_empty() && all.iter().all(|one| one["connected"] == wanted))
    };
    playground.wait("the gateway to say that its view is old", |playground| {
        connected(playground, false)
    })?;
    let (code, body) = ask(playground, model)?;
    ensure!(
        code == 200,
        "without the API server the gateway answered {code}: {body}"
    );
    let (_, metrics) = playground.get(&playground.admin, "/metrics")?;
    ensure!(
        metrics.contains("prefixgate_discovery_connected{source=\"pods\"} 0"),
        "the metrics do not say that the watch of pods is lost"
    );
    playground.wait("the gateway to be current again", |playground| {
        connected(playground, true)
    })
}

/// Nothing of the service is left, and its path leads nowhere.
fn gone(playground: &mut Playground) -> anyhow::Result<()> {
    let collections = [
        SERVICES.to_owned(),
        format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments"),
        format!("/api/v1/namespaces/{NAMESPACE}/services"),
        format!("/api/v1/namespaces/{NAMESPACE}/pods"),
        format!("/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes"),
        format!("/apis/inference.networking.k8s.io/v1/namespaces/{NAMESPACE}/inferencepools"),
    ];
    playground.wait("everything of the service to be gone", |playground| {
        let api = playground.api().ok();
        let empty = |path: &String| {
            api.as_ref()
                .is_some_and(|api| api.list(path).is_ok_and(|all| all.is_empty()))
        };
        collections.iter().all(empty)
    })?;
    playground.wait("its path to lead nowhere", |playground| {
        let answered = playground.get(
            &playground.gateway,
            &format!("/{NAMESPACE}/{NAME}/v1/models"),
        );
        answered.is_ok_and(|(code, _)| code == 404)
    })
}
