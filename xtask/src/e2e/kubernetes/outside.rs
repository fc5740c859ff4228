//! How far does the list go on an API server that is not the project's?
//!
//! One without a cluster behind it has no pods: engines run on this machine then and pods are written that point at
//! them. Whatever the server cannot do is skipped, and said. Everything stands in a namespace of its own, which is
//! deleted at the end, as are the definitions that were missing before.

mod cluster;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use cluster::Outside;

const NAME: &str = "qwen2-3b-pattern3";
const ENGINES: usize = 3;
/// Address and port of the first engine; port 8000 is what the manifest's pods listen on.
const FIRST_ENGINE: u8 = 61;

/// What is running; ended when dropped.
#[derive(Default)]
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Ended already: nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Processes {
    fn start(
        &mut self,
        binary: &Path,
        outside: &Outside,
        log: &str,
        words: &[&str],
    ) -> anyhow::Result<()> {
        let folder = crate::run::root().join("target/playground");
        std::fs::create_dir_all(&folder)?;
        let log = std::fs::File::create(folder.join(format!("outside-{log}.log")))?;
        let child = Command::new(binary)
            .args(words)
            .env("KUBECONFIG", &outside.kubeconfig)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start `prefixgate {}`", words.join(" ")))?;
        self.0.push(child);
        Ok(())
    }
}

/// # Errors
/// The first thing that is not as it should be.
pub(super) fn check(binary: &Path, kubeconfig: &Path, tell: &dyn Fn(&str)) -> anyhow::Result<()> {
    if !super::service::has_kubectl() {
        tell("skipped: an API server of yours is driven by kubectl, which is not installed");
        return Ok(());
    }
    let outside = Outside::furnish(binary, kubeconfig, tell)?;
    let settings = crate::playground::Settings::free(0)?;
    let (gateway, admin) = (settings.gateway.to_string(), settings.admin.to_string());
    let namespace = outside.namespace.as_str();
    let mut processes = Processes::default();
    let words = [
        "controller",
        "--namespace",
        namespace,
        "--system-namespace",
        namespace,
        "--gateway-address",
        &gateway,
    ];
    processes.start(binary, &outside, "controller", &words)?;
    let words = [
        "serve",
        "--kubernetes",
        "--namespace",
        namespace,
        "--listen",
        &gateway,
        "--admin-listen",
        &admin,
    ];
    processes.start(binary, &outside, "gateway", &words)?;
    outside.apply(&manifest(namespace)?)?;
    made(&outside)?;
    tell(
        "the manifest became Deployment, Service, HTTPRoute and InferencePool, owned and accepted",
    );
    changed(&outside)?;
    tell("patched to 5, scaled to 2 and back; a label of somebody else survived");
    if outside.makes_pods() {
        says_why(&outside)?;
        tell("this cluster makes pods: the status says how far they are; no request is made");
    } else {
        tell("no Deployment controller: pods are written here, their engines run on this machine");
        serve(binary, &outside, &mut processes, &gateway)?;
        tell("3 engines answered through the gateway, and after one pod was gone");
    }
    outside.kubectl(&["delete", "llmisvc", NAME, "--wait=false"])?;
    let kept = outside.wait_for(Duration::from_secs(30), || {
        outside
            .get("deployment", &format!("{NAME}-kserve"))
            .is_none()
    });
    tell(if kept {
        "deleted with everything that belonged to it"
    } else {
        "no garbage collector: what belonged to the service is left to the namespace"
    });
    Ok(())
}

/// Pattern 3 in `namespace`, through the gateway there.
fn manifest(namespace: &str) -> anyhow::Result<Value> {
    let file = crate::run::root().join("deploy/examples/pattern3-tpu.yaml");
    let mut manifest: Value = serde_saphyr::from_str(&std::fs::read_to_string(file)?)?;
    manifest["metadata"]["namespace"] = json!(namespace);
    manifest["metadata"]["annotations"] = json!({"prefixgate.dev/controller": "prefixgate"});
    manifest["spec"]["router"]["gateway"]["refs"][0] =
        json!({"name": "inference-gateway", "namespace": namespace});
    Ok(manifest)
}

/// Children are there, belong to the service, and the gateway's side took them.
fn made(outside: &Outside) -> anyhow::Result<()> {
    for (kind, name) in [
        ("deployment", format!("{NAME}-kserve")),
        ("service", format!("{NAME}-kserve-workload-svc")),
        ("httproute", format!("{NAME}-kserve-route")),
        ("inferencepool", format!("{NAME}-inference-pool")),
    ] {
        outside.until(&format!("{kind} {name}"), || {
            let object = outside.get(kind, &name)?;
            (object["metadata"]["ownerReferences"][0]["name"] == NAME).then_some(())
        })?;
    }
    outside.until("the route and the pool to be accepted", || {
        let route = outside.get("httproute", &format!("{NAME}-kserve-route"))?;
        let pool = outside.get("inferencepool", &format!("{NAME}-inference-pool"))?;
        let good = |object: &Value| {
            let conditions = object["status"]["parents"][0]["conditions"].as_array();
            conditions.is_some_and(|all| all.iter().all(|one| one["status"] == "True"))
        };
        (good(&route) && good(&pool)).then_some(())
    })
}

fn changed(outside: &Outside) -> anyhow::Result<()> {
    let deployment = format!("{NAME}-kserve");
    let replicas = |wanted: u64| {
        outside.until(&format!("{wanted} replicas"), || {
            let found = outside.get("deployment", &deployment)?;
            (found["spec"]["replicas"] == wanted).then_some(())
        })
    };
    outside.kubectl(&["label", "deployment", &deployment, "team=ml"])?;
    let patch = r#"[{"op":"replace","path":"/spec/replicas","value":5}]"#;
    outside.kubectl(&["patch", "llmisvc", NAME, "--type=json", "-p", patch])?;
    replicas(5)?;
    outside.kubectl(&["scale", "llmisvc", NAME, "--replicas", "2"])?;
    replicas(2)?;
    outside.kubectl(&["scale", "llmisvc", NAME, "--replicas", "3"])?;
    replicas(3)?;
    let found = outside.get("deployment", &deployment).unwrap_or_default();
    ensure!(
        found["metadata"]["labels"]["team"] == "ml",
        "a label that somebody else set is gone"
    );
    Ok(())
}

/// Not ready, and why.
fn says_why(outside: &Outside) -> anyhow::Result<()> {
    outside.until("the status to say something of the pods", || {
        let service = outside.get("llmisvc", NAME)?;
        let ready = cluster::condition(&service, "Ready")?;
        let said = ready["status"] == "True" || ready["message"].as_str() != Some("");
        (said && service["status"]["phase"]["name"].is_string()).then_some(())
    })
}

/// Pods that point at engines of this machine.
fn serve(
    binary: &Path,
    outside: &Outside,
    processes: &mut Processes,
    gateway: &str,
) -> anyhow::Result<()> {
    let deployment = outside.get("deployment", &format!("{NAME}-kserve"));
    let labels = deployment.unwrap_or_default()["spec"]["template"]["metadata"]["labels"].clone();
    for number in 0..ENGINES {
        let address = format!("127.0.0.{}", usize::from(FIRST_ENGINE) + number);
        let words = [
            "engine",
            "--host",
            &address,
            "--port",
            "8000",
            "--time-scale",
            "0.05",
            "--served-model-name",
            "Qwen/Qwen2.5-3B-Instruct",
        ];
        processes.start(binary, outside, &format!("engine-{number}"), &words)?;
        outside.pod(&format!("{NAME}-{number}"), &labels, &address)?;
    }
    outside.until("the service to be Ready", || {
        let service = outside.get("llmisvc", NAME)?;
        let ready = cluster::condition(&service, "Ready")?;
        (ready["status"] == "True").then_some(())
    })?;
    let url = format!("http://{gateway}");
    let path = format!("/{}/{NAME}/v1/chat/completions", outside.namespace);
    let question = super::load::question("Qwen/Qwen2.5-3B-Instruct", 1);
    let answers = || {
        let answered = crate::http::call(&url, "POST", &path, Some(&question));
        answered.is_ok_and(|(code, _)| code == 200).then_some(())
    };
    outside.until("a completion through the gateway", answers)?;
    outside.kubectl(&[
        "delete",
        "pod",
        &format!("{NAME}-0"),
        "--grace-period=0",
        "--force",
    ])?;
    for _ in 0..20 {
        ensure!(
            answers().is_some(),
            "a request failed after one pod was deleted"
        );
    }
    Ok(())
}
