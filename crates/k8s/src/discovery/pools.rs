//! Which pools are there, and what has each to say for itself?

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::endpoints::{endpoints, selects};
use super::kinds::{LeanPod, LeanService};
use super::view::{Objects, PoolView, Seen};
use crate::types::{InferencePool, LlmInferenceService};

/// Annotation by which a pod says where its metrics are.
const METRICS_PORT: &str = "prometheus.io/port";

/// Name of a container port that serves only metrics.
const METRICS: &str = "metrics";

/// Paths of a readiness probe that are no better than the default.
const DEFAULT_HEALTH: &str = "/health";

/// The service that made a pool, or that names it.
fn service_of<'a>(
    pool: &InferencePool,
    services: &'a [Arc<LlmInferenceService>],
) -> Option<&'a Arc<LlmInferenceService>> {
    let mut near = services
        .iter()
        .filter(|service| service.metadata.namespace == pool.metadata.namespace);
    let owners = pool
        .metadata
        .owner_references
        .as_deref()
        .unwrap_or_default();
    near.find(|service| {
        let owned = owners.iter().any(|owner| {
            owner.kind == "LLMInferenceService"
                && Some(&owner.name) == service.metadata.name.as_ref()
        });
        let named = service
            .spec
            .pointer("/router/scheduler/pool/ref/name")
            .and_then(Value::as_str);
        owned || (named.is_some() && named == pool.metadata.name.as_deref())
    })
}

/// The pool that an InferencePool stands for.
pub(super) fn of_pool(pool: &InferencePool, objects: &Objects, seen: &mut Seen) -> PoolView {
    let service = service_of(pool, &objects.services);
    let namespace = pool.metadata.namespace.clone().unwrap_or_default();
    let own = pool.metadata.name.clone().unwrap_or_default();
    let name = service.and_then(|service| service.metadata.name.clone());
    let ports: Vec<u16> = pool
        .spec
        .target_ports
        .iter()
        .map(|port| port.number)
        .collect();
    let pods = pods(objects, &namespace, &pool.spec.selector.match_labels);
    let facts = Facts::of(&pods, ports.first().copied());
    PoolView {
        path: name.as_ref().map(|name| format!("/{namespace}/{name}")),
        scheduling: service.and_then(|service| scheduling(service, objects)),
        endpoints: endpoints(&pods, &|_| ports.clone(), facts.scheme, seen),
        name: format!("{namespace}/{}", name.unwrap_or(own)),
        metrics_port: facts.metrics_port,
        health_path: facts.health_path,
        schedules: true,
        routed: false,
    }
}

/// The pool that a port of a Service stands for: its pods, in turn.
pub(super) fn of_service(
    service: &LeanService,
    port: u16,
    objects: &Objects,
    seen: &mut Seen,
) -> PoolView {
    let namespace = service.metadata.namespace.clone().unwrap_or_default();
    let name = service.metadata.name.clone().unwrap_or_default();
    let pods = pods(objects, &namespace, &service.spec.selector);
    let target = |pod: &LeanPod| {
        target_port(service, port, pod)
            .into_iter()
            .collect::<Vec<u16>>()
    };
    let facts = Facts::of(
        &pods,
        pods.first().and_then(|pod| target(pod).first().copied()),
    );
    PoolView {
        name: service_pool_name(&namespace, &name, port),
        path: None,
        endpoints: endpoints(&pods, &target, facts.scheme, seen),
        scheduling: None,
        metrics_port: facts.metrics_port,
        health_path: facts.health_path,
        schedules: false,
        routed: false,
    }
}

pub(super) fn service_pool_name(namespace: &str, name: &str, port: u16) -> String {
    format!("{namespace}/service/{name}:{port}")
}

/// The container port behind a Service's.
pub(super) fn target_port(service: &LeanService, port: u16, pod: &LeanPod) -> Option<u16> {
    let entry = service.spec.ports.iter().find(|one| one.port == port)?;
    match &entry.target_port {
        Value::String(name) => name.parse().ok().or_else(|| pod.port_named(name)),
        Value::Number(number) => number
            .as_u64()
            .and_then(|number| u16::try_from(number).ok()),
        _ => Some(port),
    }
}

fn pods<'a>(
    objects: &'a Objects,
    namespace: &str,
    selector: &BTreeMap<String, String>,
) -> Vec<&'a Arc<LeanPod>> {
    let chosen = |pod: &&Arc<LeanPod>| {
        pod.metadata.namespace.as_deref() == Some(namespace)
            && selects(selector, pod.metadata.labels.as_ref())
    };
    objects.pods.iter().filter(chosen).collect()
}

/// The scheduling document of a service: written in it, or in the ConfigMap it names.
fn scheduling(service: &LlmInferenceService, objects: &Objects) -> Option<Value> {
    let config = service.spec.pointer("/router/scheduler/config")?;
    if let Some(inline) = config.get("inline").filter(|inline| !inline.is_null()) {
        return Some(inline.clone());
    }
    let (name, key) = (
        config["ref"]["name"].as_str()?,
        config["ref"]["key"].as_str().unwrap_or("epp"),
    );
    let namespace = service.metadata.namespace.clone().unwrap_or_default();
    let text = objects
        .config_maps
        .get(&(namespace, name.to_owned()))?
        .get(key)?;
    serde_saphyr::from_str(text).ok()
}

/// What pods say about how they are to be asked.
struct Facts {
    metrics_port: Option<u16>,
    health_path: String,
    scheme: &'static str,
}

impl Facts {
    /// `serving` is the port of requests.
    fn of(pods: &[&Arc<LeanPod>], serving: Option<u16>) -> Self {
        let metrics = |pod: &&Arc<LeanPod>| {
            let annotated = pod
                .metadata
                .annotations
                .as_ref()
                .and_then(|all| all.get(METRICS_PORT)?.parse().ok());
            annotated.or_else(|| pod.port_named(METRICS))
        };
        let probe = pods.iter().find_map(|pod| {
            let asked = pod.spec.containers.iter().filter_map(|container| {
                let get = container.readiness_probe.as_ref()?.http_get.as_ref()?;
                let port = match &get.port {
                    Value::String(name) => pod.port_named(name),
                    other => other.as_u64().and_then(|port| u16::try_from(port).ok()),
                };
                (port == serving).then_some(get)
            });
            asked.into_iter().next()
        });
        let path = probe.and_then(|get| get.path.clone()).unwrap_or_default();
        // A model list is a heavy answer to a small question, and engines have the other path too.
        let path = if path.is_empty() || path.starts_with("/v1/") {
            DEFAULT_HEALTH.to_owned()
        } else {
            path
        };
        let https = probe.is_some_and(|get| get.scheme.as_deref() == Some("HTTPS"));
        Self {
            metrics_port: pods
                .iter()
                .find_map(metrics)
                .filter(|port| Some(*port) != serving),
            health_path: path,
            scheme: if https { "https" } else { "http" },
        }
    }
}
