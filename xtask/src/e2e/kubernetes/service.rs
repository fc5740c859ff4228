//! How does a service stand: in the API, in its pods, in the gateway?

use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::playground::Playground;

pub(super) const NAMESPACE: &str = "llm-d-inference-scheduling";
const SERVICES: &str =
    "/apis/serving.kserve.io/v1alpha1/namespaces/llm-d-inference-scheduling/llminferenceservices";

/// One service of the guide.
#[derive(Clone, Copy)]
pub(super) struct Service {
    pub(super) name: &'static str,
    /// Below `deploy/examples`.
    manifest: &'static str,
    by_kubectl: bool,
}

impl Service {
    /// By `kubectl`, word for word as the guide has it, where it is installed.
    pub(super) fn new(name: &'static str, manifest: &'static str) -> Self {
        Self {
            name,
            manifest,
            by_kubectl: has_kubectl(),
        }
    }

    fn object(&self) -> String {
        format!("{SERVICES}/{}", self.name)
    }

    /// Where the gateway serves it.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/{NAMESPACE}/{}{rest}", self.name)
    }

    pub(super) fn apply(&self, playground: &Playground) -> anyhow::Result<()> {
        let file = crate::run::root()
            .join("deploy/examples")
            .join(self.manifest);
        if self.by_kubectl {
            return playground
                .kubectl(&["apply", "-f", &file.display().to_string()])
                .map(drop);
        }
        let manifest = std::fs::read_to_string(file)?;
        playground.api()?.apply_manifest("e2e", &manifest)?;
        Ok(())
    }

    fn patch(&self, playground: &Playground, patch: &Value) -> anyhow::Result<()> {
        if !self.by_kubectl {
            let content = "application/json-patch+json";
            playground.api()?.patch(&self.object(), content, patch)?;
            return Ok(());
        }
        let patch = patch.to_string();
        let words = ["patch", "llmisvc", self.name, "--type=json", "-p", &patch];
        let patched = playground.kubectl(&[&["-n", NAMESPACE], words.as_slice()].concat())?;
        ensure!(patched.contains("patched"), "kubectl said: {patched}");
        Ok(())
    }

    pub(super) fn scale(&self, playground: &Playground, replicas: usize) -> anyhow::Result<()> {
        let patch = json!([{"op": "replace", "path": "/spec/replicas", "value": replicas}]);
        self.patch(playground, &patch)?;
        if !self.by_kubectl {
            return Ok(());
        }
        let listed = playground.kubectl(&["-n", NAMESPACE, "get", "llmisvc"])?;
        let head = listed.lines().next().unwrap_or_default();
        for column in ["NAME", "URL", "READY", "REASON", "AGE"] {
            ensure!(
                head.contains(column),
                "`kubectl get llmisvc` has no column {column}: {head}"
            );
        }
        Ok(())
    }

    /// Changes what the engines run with, so that every one is replaced.
    pub(super) fn change_template(&self, playground: &Playground) -> anyhow::Result<()> {
        let variable = json!({"name": "ROLLED", "value": "1"});
        let path = "/spec/template/containers/0/env/-";
        self.patch(
            playground,
            &json!([{"op": "add", "path": path, "value": variable}]),
        )
    }

    pub(super) fn delete(&self, playground: &Playground) -> anyhow::Result<()> {
        if self.by_kubectl {
            return playground
                .kubectl(&["-n", NAMESPACE, "delete", "llmisvc", self.name])
                .map(drop);
        }
        playground.api()?.delete(&self.object())?;
        Ok(())
    }

    /// Waits until that many pods, no more, are ready, the status says so, and the gateway picks among them.
    pub(super) fn ready(&self, playground: &mut Playground, replicas: usize) -> anyhow::Result<()> {
        let name = self.name;
        playground.wait(&format!("{replicas} ready pods of {name}"), |playground| {
            let pods = self.pods(playground);
            pods.len() == replicas && pods.iter().all(is_ready)
        })?;
        playground.wait(
            &format!("{replicas} endpoints of {name} in the gateway"),
            |playground| self.endpoints(playground) == Some(replicas),
        )?;
        playground.wait("the service's status to be Ready", |playground| {
            let api = playground.api().ok();
            let service = api.and_then(|api| api.get(&self.object()).ok());
            service.is_some_and(|service| is_ready(&service))
        })
    }

    /// Pods of the engine.
    pub(super) fn pods(&self, playground: &Playground) -> Vec<Value> {
        let selector = format!(
            "kserve.io/component%3Dworkload,serving.kserve.io/inferenceservice%3D{}",
            self.name
        );
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={selector}");
        let api = playground.api().ok();
        api.and_then(|api| api.list(&path).ok()).unwrap_or_default()
    }

    /// Endpoints of the service's pool, when the gateway may pick each of them.
    fn endpoints(&self, playground: &Playground) -> Option<usize> {
        let state = state(playground)?;
        let own = format!("{NAMESPACE}/{}", self.name);
        let pools = state["pools"].as_array()?;
        let pool = pools.iter().find(|pool| pool["pool"] == own)?;
        let all = pool["endpoints"].as_array()?;
        // One that still leaves is none too few, and one too many.
        all.iter()
            .all(|one| one["health"] == "ready")
            .then_some(all.len())
    }

    /// What clients call the model.
    pub(super) fn model(&self, playground: &Playground) -> anyhow::Result<String> {
        let path = self.path("/v1/models");
        let (code, body) = playground.get(&playground.gateway, &path)?;
        ensure!(code == 200, "{path} answered {code}: {body}");
        let models: Value = serde_json::from_str(&body)?;
        let first = models["data"][0]["id"].as_str();
        first.map(str::to_owned).context("no model is listed")
    }

    /// A completion.
    pub(super) fn ask(&self, playground: &Playground, model: &str) -> anyhow::Result<()> {
        let path = self.path("/v1/chat/completions");
        let (code, body) = playground.post(&path, &super::load::question(model, 0))?;
        ensure!(code == 200, "{path} answered {code}: {body}");
        Ok(())
    }

    /// Waits until nothing of the service is left, and its path leads nowhere.
    pub(super) fn gone(&self, playground: &mut Playground) -> anyhow::Result<()> {
        let label = format!("app.kubernetes.io/name%3D{}", self.name);
        let collections = [
            format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments?labelSelector={label}"),
            format!("/api/v1/namespaces/{NAMESPACE}/services?labelSelector={label}"),
            format!("/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={label}"),
            format!(
                "/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes?labelSelector={label}"
            ),
            format!(
                "/apis/inference.networking.k8s.io/v1/namespaces/{NAMESPACE}/inferencepools?labelSelector={label}"
            ),
        ];
        let what = format!("everything of {} to be gone", self.name);
        playground.wait(&what, |playground| {
            let Ok(api) = playground.api() else {
                return false;
            };
            let empty = |path: &String| api.list(path).is_ok_and(|all| all.is_empty());
            api.get(&self.object()).is_err() && collections.iter().all(empty)
        })?;
        playground.wait("its path to lead nowhere", |playground| {
            let answered = playground.get(&playground.gateway, &self.path("/v1/models"));
            answered.is_ok_and(|(code, _)| code == 404)
        })
    }
}

/// Whether `kubectl` can be started.
pub(super) fn has_kubectl() -> bool {
    let version = Command::new("kubectl")
        .args(["version", "--client"])
        .output();
    version.is_ok_and(|output| output.status.success())
}

/// The condition `Ready` of a pod or a service.
fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| {
        all.iter()
            .any(|one| one["type"] == "Ready" && one["status"] == "True")
    })
}

/// What the gateway knows.
pub(super) fn state(playground: &Playground) -> Option<Value> {
    let (_, body) = playground.get(&playground.admin, "/admin/state").ok()?;
    serde_json::from_str(&body).ok()
}
