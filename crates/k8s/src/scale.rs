//! How does somebody set a replica count and see what comes of it?

use std::time::Duration;

use anyhow::{Context, bail};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::status::condition;
use crate::types::{LlmInferenceService, ServiceStatus};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// A controller that runs has looked within this time.
const CONTROLLER_LOOKS: Duration = Duration::from_secs(5);

/// A service, and how many replicas it is to have.
#[derive(Clone, Debug)]
pub struct Request {
    /// The client's own namespace when absent.
    pub namespace: Option<String>,
    pub name: String,
    pub replicas: u32,
    /// How long to wait for it; zero: not at all.
    pub wait: Duration,
}

/// Sets the count; with a wait, tells each change until the service has exactly as many ready replicas and no other pod.
///
/// # Errors
/// There is no such service, the API server refuses, or the time is over: says how far it got and what it waits for.
pub async fn scale(
    client: Client,
    request: &Request,
    mut tell: impl FnMut(&str),
) -> anyhow::Result<()> {
    let namespace = request
        .namespace
        .clone()
        .unwrap_or_else(|| client.default_namespace().to_owned());
    let api = Api::<LlmInferenceService>::namespaced(client, &namespace);
    let name = &request.name;
    let before = api
        .get_opt(name)
        .await
        .with_context(|| format!("cannot read the service {namespace}/{name}"))?
        .with_context(|| format!("there is no LLMInferenceService {name} in namespace {namespace}: kubectl get llmisvc -A lists them"))?;
    if !before.spec["scaling"].is_null() {
        bail!(
            "{namespace}/{name} has spec.scaling: an autoscaler sets its replicas; change minReplicas and maxReplicas instead"
        );
    }
    let patch = Patch::Merge(json!({"spec": {"replicas": request.replicas}}));
    let patched = api
        .patch(name, &PatchParams::default(), &patch)
        .await
        .with_context(|| format!("cannot set the replicas of {namespace}/{name}"))?;
    let old = before.spec["replicas"].as_u64().unwrap_or(1);
    tell(&format!(
        "{namespace}/{name}: {old} -> {} replicas",
        request.replicas
    ));
    if request.wait.is_zero() {
        return Ok(());
    }
    let generation = patched.metadata.generation.unwrap_or_default();
    let followed = tokio::time::timeout(
        request.wait,
        follow(&api, name, request.replicas, generation, &mut tell),
    )
    .await;
    if let Ok(result) = followed {
        return result;
    }
    let status = api
        .get(name)
        .await
        .ok()
        .and_then(|service| service.status)
        .unwrap_or_default();
    bail!(
        "{namespace}/{name} is not there after {} s: {}",
        request.wait.as_secs(),
        progress(&status, request.replicas)
    )
}

async fn follow(
    api: &Api<LlmInferenceService>,
    name: &str,
    replicas: u32,
    generation: i64,
    tell: &mut impl FnMut(&str),
) -> anyhow::Result<()> {
    let mut told = String::new();
    let mut away = false;
    let started = tokio::time::Instant::now();
    loop {
        match api.get_opt(name).await {
            Ok(None) => bail!("the service {name} was deleted meanwhile"),
            Ok(Some(service)) => {
                away = false;
                let status = service.status.unwrap_or_default();
                let current = status.observed_generation.unwrap_or_default() >= generation;
                let line = if current {
                    progress(&status, replicas)
                } else if started.elapsed() < CONTROLLER_LOOKS {
                    told.clone()
                } else {
                    "the controller has not looked yet: does it run?".to_owned()
                };
                if line != told {
                    tell(&line);
                    told = line;
                }
                if current && status.replicas == replicas && status.ready_replicas == replicas {
                    return Ok(());
                }
            }
            Err(error) if !away => {
                away = true;
                tell(&format!(
                    "the API server does not answer, trying on: {error}"
                ));
            }
            Err(_) => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Where a service stands, on one line.
fn progress(status: &ServiceStatus, replicas: u32) -> String {
    let endpoints = status.endpoints.clone().unwrap_or_default();
    let draining = endpoints
        .unready
        .iter()
        .filter(|endpoint| endpoint.phase.as_deref() == Some("Draining"))
        .count();
    let mut line = format!("{} of {replicas} ready", status.ready_replicas);
    if draining > 0 {
        line.push_str(&format!(", {draining} end their requests"));
    }
    let ready = condition(&status.conditions, "Ready").filter(|ready| !ready.message.is_empty());
    if let Some(ready) =
        ready.filter(|ready| ready.status != "True" || status.ready_replicas != replicas)
    {
        line.push_str(&format!(": {}", ready.message));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Condition, EndpointStatus, EndpointsStatus};

    #[test]
    fn progress_says_what_is_waited_for() {
        let status = ServiceStatus {
            ready_replicas: 3,
            endpoints: Some(EndpointsStatus {
                unready: vec![EndpointStatus {
                    phase: Some("Draining".to_owned()),
                    ..EndpointStatus::default()
                }],
                ..EndpointsStatus::default()
            }),
            conditions: vec![Condition {
                kind: "Ready".to_owned(),
                status: "False".to_owned(),
                message: "3 of 5 replicas are ready: not enough google.com/tpu free".to_owned(),
                ..Condition::default()
            }],
            ..ServiceStatus::default()
        };
        let line = progress(&status, 5);
        assert_eq!(
            line,
            "3 of 5 ready, 1 end their requests: 3 of 5 replicas are ready: not enough google.com/tpu free"
        );
    }
}
