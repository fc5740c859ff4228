//! Which endpoints are a set of pods, and which of them leave?

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::EndpointSpec;

use super::kinds::LeanPod;
use super::view::{Endpoint, Seen};

/// Ports of a pod that are live, where not all of the pool's are: comma list.
const ACTIVE_PORTS: [&str; 2] = [
    "llm-d.ai/active-ports",
    "inference.networking.k8s.io/active-ports",
];

/// Whether `labels` has every pair of `selector`, of which there is at least one.
pub(super) fn selects(
    selector: &BTreeMap<String, String>,
    labels: Option<&BTreeMap<String, String>>,
) -> bool {
    let holds = |labels: &BTreeMap<String, String>| {
        selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    };
    !selector.is_empty() && labels.is_some_and(holds)
}

/// Endpoints of `pods` on `ports` of each: one per port, ranks of a data-parallel engine where there are several.
///
/// A pod counts from when it is first ready until it is gone. In between, while it is not ready or is on its way out, its
/// endpoints drain: they keep their requests and what we know of their caches, and get nothing new.
pub(super) fn endpoints(
    pods: &[&Arc<LeanPod>],
    ports: &dyn Fn(&LeanPod) -> Vec<u16>,
    scheme: &str,
    seen: &mut Seen,
) -> Vec<Endpoint> {
    let mut all = Vec::new();
    for pod in pods {
        let (Some(ip), Some(uid)) = (&pod.status.pod_ip, &pod.metadata.uid) else {
            continue;
        };
        if matches!(pod.status.phase.as_deref(), Some("Failed" | "Succeeded")) {
            continue;
        }
        let leaves = pod.metadata.deletion_timestamp.is_some();
        let ready = pod.is_ready();
        if ready && !leaves {
            seen.ready(uid);
        }
        if !seen.was_ready(uid) {
            continue;
        }
        let ports = live(pod, ports(pod));
        let several = ports.len() > 1;
        for (rank, port) in ports.iter().enumerate() {
            all.push(Endpoint {
                spec: spec(pod, ip, *port, several.then_some(rank), scheme),
                draining: leaves || !ready,
            });
        }
    }
    all
}

fn spec(pod: &LeanPod, ip: &str, port: u16, rank: Option<usize>, scheme: &str) -> EndpointSpec {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let host = if ip.contains(':') {
        format!("[{ip}]")
    } else {
        ip.to_owned()
    };
    let address = format!("{host}:{port}");
    let name = match rank {
        Some(rank) => format!("{namespace}/{name}-rank-{rank}"),
        None => format!("{namespace}/{name}"),
    };
    EndpointSpec {
        name: name.into(),
        url: format!("{scheme}://{address}").into(),
        address: address.into(),
        // Each rank has an address of its own here.
        rank: None,
        labels: pod.metadata.labels.clone().unwrap_or_default(),
    }
}

fn live(pod: &LeanPod, ports: Vec<u16>) -> Vec<u16> {
    let annotations = pod.metadata.annotations.as_ref();
    let active = ACTIVE_PORTS.iter().find_map(|key| annotations?.get(*key));
    let Some(active) = active else { return ports };
    let active: Vec<u16> = active
        .split(',')
        .filter_map(|port| port.trim().parse().ok())
        .collect();
    ports
        .into_iter()
        .filter(|port| active.contains(port))
        .collect()
}
