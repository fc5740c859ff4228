//! How does each gateway implementation want to be spoken to?

use serde_json::{Value, json};

use super::engine_command::ENGINE_PORT;
use super::{Facts, Owner, Resolved, names, needs_picker, pod, pool};

/// Who implements a gateway class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// This project's gateway: picks in its process, needs nothing beside it.
    Own,
    Gke,
    Istio,
    EnvoyGateway,
    /// Anything else: what the standard says.
    #[default]
    Standard,
}

impl Dialect {
    /// By `spec.controllerName` of the class.
    pub fn of(controller: &str) -> Self {
        match controller {
            names::GATEWAY_CONTROLLER => Self::Own,
            "networking.gke.io/gateway" => Self::Gke,
            "istio.io/gateway-controller" => Self::Istio,
            "gateway.envoyproxy.io/gatewayclass-controller" => Self::EnvoyGateway,
            _ => Self::Standard,
        }
    }

    /// GKE refuses a route that has timeouts (GWCER104).
    pub fn takes_route_timeouts(self) -> bool {
        self != Self::Gke
    }
}

/// Why a class cannot serve an InferencePool, where that is known of it, and what to do.
pub fn pool_unsupported(class: &str, dialect: Dialect) -> Option<String> {
    let global = [
        "gke-l7-global-external-managed",
        "gke-l7-gxlb",
        "gke-l7-cross-regional-internal-managed-mc",
    ];
    let known = dialect == Dialect::Gke
        && (global.contains(&class) || class.ends_with("-mc") || class.starts_with("gke-l7-gxlb"));
    known.then(|| {
        format!(
            "gateway class {class} is global and cannot serve an InferencePool: use a regional one, \
             gke-l7-regional-external-managed or gke-l7-rilb"
        )
    })
}

/// What a gateway needs beside the route, of the kinds that the cluster knows.
pub(super) fn objects(resolved: &Resolved, facts: &Facts, owner: &Owner) -> Vec<Value> {
    let uses = |dialect: Dialect| facts.gateways.iter().any(|(_, used)| *used == dialect);
    let scheduled = resolved.spec.scheduler().is_some();
    let known = |kind: &str| facts.kinds.contains(kind);
    let mut all = Vec::new();
    if uses(Dialect::Gke) && known("HealthCheckPolicy") {
        all.push(health_check(
            owner,
            &names::workload_service(&owner.name),
            "",
            "Service",
            resolved,
        ));
        if scheduled {
            all.push(health_check(
                owner,
                &pool::name(resolved),
                "inference.networking.k8s.io",
                "InferencePool",
                resolved,
            ));
        }
    }
    let picker = scheduled && pool::reference(&resolved.spec).is_none() && needs_picker(facts);
    if uses(Dialect::Istio) && known("DestinationRule") && picker {
        all.push(picker_tls(owner));
    }
    if uses(Dialect::EnvoyGateway)
        && known("BackendTrafficPolicy")
        && resolved.spec.router.is_some()
    {
        all.push(long_requests(owner));
    }
    all
}

/// GKE otherwise asks `/` over HTTPS.
fn health_check(owner: &Owner, name: &str, group: &str, kind: &str, resolved: &Resolved) -> Value {
    let tls = resolved
        .spec
        .workload
        .template
        .as_ref()
        .is_some_and(pod::uses_tls);
    let (protocol, field) = if tls {
        ("HTTPS", "httpsHealthCheck")
    } else {
        ("HTTP", "httpHealthCheck")
    };
    owner.object(
        "networking.gke.io/v1",
        "HealthCheckPolicy",
        name,
        &names::component(&owner.name, "llminferenceservice-router"),
        json!({"spec": {
            "default": {
                "checkIntervalSec": 15,
                "timeoutSec": 15,
                "healthyThreshold": 1,
                "unhealthyThreshold": 2,
                "config": {"type": protocol, field: {"requestPath": "/health", "port": ENGINE_PORT}},
            },
            "targetRef": {"group": group, "kind": kind, "name": name},
        }}),
    )
}

/// The picker's certificate is its own; the mesh is told to take it.
fn picker_tls(owner: &Owner) -> Value {
    let service = names::picker_service(&owner.name);
    owner.object(
        "networking.istio.io/v1",
        "DestinationRule",
        &service,
        &names::component(&owner.name, "llminferenceservice-router"),
        json!({"spec": {
            "host": format!("{service}.{}.svc.cluster.local", owner.namespace),
            "trafficPolicy": {"tls": {"mode": "SIMPLE", "insecureSkipVerify": true}},
        }}),
    )
}

/// Envoy Gateway otherwise ends requests after 15 s and holds no prompt over 32 KiB.
fn long_requests(owner: &Owner) -> Value {
    let route = names::route(&owner.name);
    owner.object(
        "gateway.envoyproxy.io/v1alpha1",
        "BackendTrafficPolicy",
        &route,
        &names::component(&owner.name, "llminferenceservice-router"),
        json!({"spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": route}],
            "timeout": {"http": {"requestTimeout": "0s"}},
            "connection": {"bufferLimit": "32Mi"},
        }}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_global_gke_classes_are_known_not_to_serve_pools() {
        for (class, controller, unsupported) in [
            (
                "gke-l7-global-external-managed",
                "networking.gke.io/gateway",
                true,
            ),
            (
                "gke-l7-regional-external-managed",
                "networking.gke.io/gateway",
                false,
            ),
            ("gke-l7-rilb", "networking.gke.io/gateway", false),
            (
                "gke-l7-global-external-managed",
                "istio.io/gateway-controller",
                false,
            ),
            ("prefixgate", names::GATEWAY_CONTROLLER, false),
        ] {
            let got = pool_unsupported(class, Dialect::of(controller));
            assert_eq!(got.is_some(), unsupported, "{class}");
        }
    }
}
