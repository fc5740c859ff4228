//! What is good to have beside a service: a disruption budget, a monitor, network policies?

use serde_json::{Value, json};

use super::engine_command::ENGINE_PORT;
use super::{Facts, Owner, Resolved, Settings, Wanted, annotation, names, needs_picker, pool};

pub(super) fn objects(
    resolved: &Resolved,
    settings: &Settings,
    facts: &Facts,
    owner: &Owner,
) -> Vec<Value> {
    let wanted = |what: &str, setting: Wanted, sensible: bool| match annotation(
        &resolved.service,
        &format!("prefixgate.dev/{what}"),
    ) {
        Some("true") => true,
        Some("false") => false,
        _ => setting == Wanted::Always || setting == Wanted::Auto && sensible,
    };
    let extras = settings.extras;
    let mut all = Vec::new();
    let several = resolved.spec.replicas() > 1 || resolved.spec.workload.scaling.is_some();
    if wanted(
        "pod-disruption-budget",
        extras.pod_disruption_budget,
        several,
    ) {
        all.push(disruption_budget(owner));
    }
    let monitors = facts.kinds.contains("ServiceMonitor");
    if monitors && wanted("service-monitor", extras.service_monitor, true) {
        all.push(service_monitor(owner));
    }
    if wanted("network-policy", extras.network_policy, false) {
        let picker = resolved.spec.scheduler().is_some()
            && pool::reference(&resolved.spec).is_none()
            && needs_picker(facts);
        all.extend(network_policies(owner, facts, picker));
    }
    all
}

/// One replica away at a time, whoever evicts.
fn disruption_budget(owner: &Owner) -> Value {
    owner.object(
        "policy/v1",
        "PodDisruptionBudget",
        &names::workload(&owner.name),
        &names::component(&owner.name, "llminferenceservice-workload"),
        json!({"spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": names::pods_selector(&owner.name)},
        }}),
    )
}

fn service_monitor(owner: &Owner) -> Value {
    owner.object(
        "monitoring.coreos.com/v1",
        "ServiceMonitor",
        &names::workload(&owner.name),
        &names::component(&owner.name, "llminferenceservice-workload"),
        json!({"spec": {
            "selector": {"matchLabels": names::component(&owner.name, "llminferenceservice-workload")},
            "endpoints": [{"targetPort": ENGINE_PORT, "path": "/metrics", "interval": "15s"}],
        }}),
    )
}

/// Engines take requests from gateways, pickers and monitors and may reach DNS and the model hub; pickers take requests
/// from gateways and may reach engines, DNS and the API server. Selectors are the labels the pods really carry.
fn network_policies(owner: &Owner, facts: &Facts, picker: bool) -> Vec<Value> {
    let mut from: Vec<Value> = facts
        .gateways
        .iter()
        .map(|(gateway, _)| {
            let namespace = gateway.namespace.as_deref().unwrap_or(&owner.namespace);
            json!({
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "podSelector": {"matchLabels": {"gateway.networking.k8s.io/gateway-name": gateway.name}},
            })
        })
        .collect();
    // A load balancer outside of the cluster has no pods to select.
    if facts
        .gateways
        .iter()
        .any(|(_, dialect)| *dialect == super::Dialect::Gke)
    {
        from.push(json!({"ipBlock": {"cidr": "0.0.0.0/0"}}));
    }
    let picker_labels = names::component(&owner.name, "llminferenceservice-router-scheduler");
    let dns = json!({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]});
    let mut engine_from = from.clone();
    engine_from.push(json!({"podSelector": {"matchLabels": picker_labels}}));
    engine_from.push(json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}));
    let labels = names::component(&owner.name, "llminferenceservice-workload");
    let mut all = vec![owner.object(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        &names::workload(&owner.name),
        &labels,
        json!({"spec": {
            "podSelector": {"matchLabels": names::pods_selector(&owner.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": engine_from, "ports": [{"port": ENGINE_PORT, "protocol": "TCP"}]}],
            "egress": [dns, {"ports": [{"port": 443, "protocol": "TCP"}]}],
        }}),
    )];
    if picker {
        let ports = [9002, 9003, 9090].map(|port| json!({"port": port, "protocol": "TCP"}));
        all.push(owner.object(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            &names::picker(&owner.name),
            &picker_labels,
            json!({"spec": {
                "podSelector": {"matchLabels": picker_labels},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": from, "ports": ports}],
                "egress": [
                    dns,
                    {"to": [{"podSelector": {"matchLabels": names::pods_selector(&owner.name)}}], "ports": [{"port": ENGINE_PORT, "protocol": "TCP"}]},
                    {"ports": [{"port": 443, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP"}]},
                ],
            }}),
        ));
    }
    all
}
