//! What does the list need on somebody's API server, and how is it taken away again?

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

/// Longest wait for one thing.
const LIMIT: Duration = Duration::from_secs(60);

/// The API server, and what was made on it.
pub(super) struct Outside {
    pub(super) kubeconfig: PathBuf,
    pub(super) namespace: String,
    class: String,
    /// Definitions that were not there.
    definitions: Vec<String>,
}

impl Drop for Outside {
    fn drop(&mut self) {
        let mut gone = vec![
            ("namespace", self.namespace.clone()),
            ("gatewayclass", self.class.clone()),
        ];
        gone.extend(self.definitions.iter().map(|name| ("crd", name.clone())));
        for (kind, name) in gone {
            // Best effort: what cannot be deleted is named by the server.
            let _ = self.run(&["delete", kind, &name, "--wait=false"], None);
        }
    }
}

impl Outside {
    /// # Errors
    /// The server does not answer, or refuses.
    pub(super) fn furnish(
        binary: &Path,
        kubeconfig: &Path,
        tell: &dyn Fn(&str),
    ) -> anyhow::Result<Self> {
        let id = std::process::id();
        let mut outside = Self {
            kubeconfig: kubeconfig.to_owned(),
            namespace: format!("prefixgate-e2e-{id}"),
            class: format!("prefixgate-e2e-{id}"),
            definitions: Vec::new(),
        };
        let version = outside.run(&["version", "-o", "json"], None)?;
        let version: Value = serde_json::from_str(&version)?;
        tell(&format!(
            "an API server of yours, {}",
            version["serverVersion"]["gitVersion"]
        ));
        let printed = Command::new(binary)
            .args(["controller", "--print-crds"])
            .output()
            .context("cannot start `prefixgate controller --print-crds`")?;
        let mut definitions: Vec<Value> =
            serde_saphyr::from_multiple(&String::from_utf8_lossy(&printed.stdout))?;
        definitions.extend(k8s_testbed::foreign_definitions());
        for definition in &definitions {
            outside.define(definition)?;
        }
        if outside.definitions.is_empty() {
            tell("every definition was there already, and is left as it is");
        }
        let namespace = outside.namespace.clone();
        outside.apply(
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        )?;
        outside.apply(&json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": outside.class},
            "spec": {"controllerName": "prefixgate.dev/gateway-controller"},
        }))?;
        outside.apply(&json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "inference-gateway", "namespace": namespace},
            "spec": {"gatewayClassName": outside.class, "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
        }))?;
        for secret in ["hf-token", "redhat-pull-secret"] {
            outside.apply(&json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret, "namespace": namespace},
                "stringData": {"token": "none"},
            }))?;
        }
        Ok(outside)
    }

    /// Adds a definition that is not there.
    fn define(&mut self, definition: &Value) -> anyhow::Result<()> {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        if self.run(&["get", "crd", name], None).is_ok() {
            return Ok(());
        }
        self.apply(definition)?;
        self.definitions.push(name.to_owned());
        self.run(
            &[
                "wait",
                "--for=condition=Established",
                "crd",
                name,
                "--timeout=30s",
            ],
            None,
        )
        .map(drop)
    }

    pub(super) fn apply(&self, object: &Value) -> anyhow::Result<()> {
        self.run(&["apply", "-f", "-"], Some(object)).map(drop)
    }

    /// `kubectl` in the namespace; what it printed.
    pub(super) fn kubectl(&self, words: &[&str]) -> anyhow::Result<String> {
        self.run(&[&["-n", &self.namespace], words].concat(), None)
    }

    fn run(&self, words: &[&str], input: Option<&Value>) -> anyhow::Result<String> {
        let mut child = Command::new("kubectl")
            .args(words)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start kubectl")?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            stdin.write_all(input.to_string().as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "kubectl {} failed: {printed}{}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(printed)
    }

    pub(super) fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let printed = self.kubectl(&["get", kind, name, "-o", "json"]).ok()?;
        serde_json::from_str(&printed).ok()
    }

    /// Whether something becomes of Deployments here.
    pub(super) fn makes_pods(&self) -> bool {
        self.wait_for(Duration::from_secs(5), || {
            let listed = self.kubectl(&["get", "replicasets", "-o", "name"]);
            listed.is_ok_and(|listed| !listed.trim().is_empty())
        })
    }

    /// A pod that serves at `address`.
    pub(super) fn pod(&self, name: &str, labels: &Value, address: &str) -> anyhow::Result<()> {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace, "labels": labels},
            "spec": {"containers": [{"name": "main", "image": "example.invalid/engine", "ports": [{"containerPort": 8000}]}]},
        }))?;
        let now = "2026-01-01T00:00:00Z";
        let status = json!({"status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
            "containerStatuses": [{
                "name": "main", "ready": true, "started": true, "restartCount": 0, "image": "example.invalid/engine",
                "imageID": "", "state": {"running": {"startedAt": now}},
            }],
        }});
        let status = status.to_string();
        self.kubectl(&[
            "patch",
            "pod",
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &status,
        ])
        .map(drop)
    }

    pub(super) fn wait_for(&self, limit: Duration, done: impl Fn() -> bool) -> bool {
        let start = Instant::now();
        loop {
            if done() {
                return true;
            }
            if start.elapsed() > limit {
                return false;
            }
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }

    /// # Errors
    /// It did not come; says how the service stood.
    pub(super) fn until(&self, what: &str, done: impl Fn() -> Option<()>) -> anyhow::Result<()> {
        if self.wait_for(LIMIT, || done().is_some()) {
            return Ok(());
        }
        let stood = self
            .kubectl(&["get", "llmisvc", "-o", "jsonpath={.items[*].status}"])
            .unwrap_or_default();
        bail!("waited {} s for {what}; status: {stood}", LIMIT.as_secs())
    }
}

pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let all = object["status"]["conditions"].as_array()?;
    all.iter().find(|one| one["type"] == kind)
}
