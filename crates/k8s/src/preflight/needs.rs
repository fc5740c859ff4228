//! What does a manifest need of a cluster?

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::desired::Settings;
use crate::types::{LlmInferenceService, ParentRef, ServiceSpec};

/// Resources that are counted as chips.
const CHIPS: [&str; 3] = ["google.com/tpu", "nvidia.com/gpu", "amd.com/gpu"];

/// Of one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Needs {
    pub namespace: String,
    pub name: String,
    /// `v1alpha1` or `v1alpha2`.
    pub version: String,
    /// Gateways with their namespaces; empty where the service wants no route.
    pub gateways: Vec<(String, String)>,
    /// Requests are to be scheduled, so an InferencePool is made.
    pub pool: bool,
    pub leader_worker_set: bool,
    pub pull_secrets: BTreeSet<String>,
    /// Secrets of the environment, with the keys that are read.
    pub secrets: BTreeMap<String, BTreeSet<String>>,
    /// `hf://…`: the token may be needed.
    pub hugging_face: bool,
    pub replicas: u64,
    /// Chips per replica, by resource.
    pub chips: BTreeMap<String, u64>,
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Value>,
    /// The engine itself is to speak TLS, with a certificate from outside.
    pub tls: bool,
}

impl Needs {
    /// Every LLMInferenceService in `manifest`.
    ///
    /// # Errors
    /// It is no YAML, holds none, or one that cannot be read.
    pub fn of_manifest(manifest: &str) -> anyhow::Result<Vec<Self>> {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(manifest).context("the manifest is no YAML")?;
        let services: Vec<Self> = documents
            .iter()
            .filter(|document| document["kind"] == "LLMInferenceService")
            .map(Self::of)
            .collect::<anyhow::Result<_>>()?;
        ensure!(
            !services.is_empty(),
            "the manifest holds no LLMInferenceService"
        );
        Ok(services)
    }

    fn of(document: &Value) -> anyhow::Result<Self> {
        let service: LlmInferenceService =
            serde_json::from_value(document.clone()).context("the service cannot be read")?;
        let name = service.metadata.name.clone().unwrap_or_default();
        let spec = service
            .typed_spec()
            .with_context(|| format!("the spec of {name} cannot be read"))?;
        let api_version = document["apiVersion"].as_str().unwrap_or_default();
        let namespace = service
            .metadata
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let mut needs = Self {
            version: api_version
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned(),
            gateways: gateways(&spec, &namespace),
            pool: spec
                .router
                .as_ref()
                .is_some_and(|router| router.scheduler.is_some()),
            hugging_face: spec.model.uri.starts_with("hf://"),
            replicas: spec.workload.replicas.unwrap_or(1).into(),
            leader_worker_set: spec.workload.worker.is_some(),
            namespace,
            name,
            ..Self::default()
        };
        if let Some(template) = &spec.workload.template {
            needs.pods(template);
        }
        if let Some(prefill) = spec
            .prefill
            .as_ref()
            .and_then(|prefill| prefill.template.as_ref())
        {
            needs.secrets_of(prefill);
        }
        Ok(needs)
    }

    fn pods(&mut self, template: &Value) {
        self.secrets_of(template);
        let selector = template["nodeSelector"].as_object().into_iter().flatten();
        self.node_selector = selector
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        self.tolerations = items(&template["tolerations"]).to_vec();
        for container in items(&template["containers"]) {
            for chip in CHIPS {
                let resources = &container["resources"];
                let count = amount(&resources["limits"][chip])
                    .or_else(|| amount(&resources["requests"][chip]));
                if let Some(count) = count.filter(|count| *count > 0) {
                    *self.chips.entry(chip.to_owned()).or_default() += count;
                }
            }
            let arguments = items(&container["args"])
                .iter()
                .chain(items(&container["command"]));
            self.tls |= arguments
                .filter_map(Value::as_str)
                .any(|word| word.contains("--ssl-certfile"));
        }
    }

    fn secrets_of(&mut self, template: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.pull_secrets.extend(
            items(&template["imagePullSecrets"])
                .iter()
                .map(|one| text(&one["name"])),
        );
        for container in items(&template["containers"])
            .iter()
            .chain(items(&template["initContainers"]))
        {
            for variable in items(&container["env"]) {
                let reference = &variable["valueFrom"]["secretKeyRef"];
                if reference.is_object() && reference["optional"] != true {
                    self.secrets
                        .entry(text(&reference["name"]))
                        .or_default()
                        .insert(text(&reference["key"]));
                }
            }
        }
    }

    /// `namespace/name`.
    pub fn service(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

fn gateways(spec: &ServiceSpec, namespace: &str) -> Vec<(String, String)> {
    let Some(router) = spec
        .router
        .as_ref()
        .filter(|router| router.route.is_some() || router.gateway.is_some())
    else {
        return Vec::new();
    };
    let named = |reference: &ParentRef| {
        let home = reference
            .namespace
            .clone()
            .unwrap_or_else(|| namespace.to_owned());
        (home, reference.name.clone())
    };
    match router
        .gateway
        .as_ref()
        .map(|gateway| gateway.refs.as_slice())
    {
        Some(refs) if !refs.is_empty() => refs.iter().map(named).collect(),
        _ => vec![named(&Settings::default().default_gateway)],
    }
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A whole count, as a number or as text.
pub(super) fn amount(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
