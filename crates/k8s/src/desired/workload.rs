//! Which Deployments and which Service do the engines run behind?

use serde_json::{Value, json};

use super::engine_command::ENGINE_PORT;
use super::names::{self, Role};
use super::{Facts, Owner, Resolved, Settings, pod, rollout};
use crate::types::Workload;

/// A Deployment for each role.
pub(super) fn deployments(
    resolved: &Resolved,
    settings: &Settings,
    facts: &Facts,
    owner: &Owner,
) -> Vec<Value> {
    let spec = &resolved.spec;
    let role = if spec.prefill.is_some() {
        Role::Decode
    } else {
        Role::Both
    };
    let mut all = vec![deployment(
        resolved,
        &spec.workload,
        role,
        settings,
        facts,
        owner,
    )];
    if let Some(prefill) = &spec.prefill {
        all.push(deployment(
            resolved,
            prefill,
            Role::Prefill,
            settings,
            facts,
            owner,
        ));
    }
    all
}

fn deployment(
    resolved: &Resolved,
    workload: &Workload,
    role: Role,
    settings: &Settings,
    facts: &Facts,
    owner: &Owner,
) -> Value {
    let selector = names::workload_selector(&owner.name, role);
    let mut labels = selector.clone();
    labels.insert(names::SERVICE_LABEL.to_owned(), owner.name.clone());
    let template = pod::template(resolved, workload, &selector, settings);
    let limit_s = super::probes::startup_limit_s(pod::main(&template["spec"]));
    let mut spec = json!({
        "selector": {"matchLabels": selector},
        "strategy": rollout::strategy(&template["spec"], workload.rollout_strategy.as_ref(), facts),
        // A start that its own probe still allows is not yet a failed roll-out.
        "progressDeadlineSeconds": limit_s.unwrap_or(600).max(600) + 600,
        "template": template,
    });
    // An autoscaler's count is not ours to set.
    if workload.scaling.is_none() {
        spec["replicas"] = json!(workload.replicas.unwrap_or(1));
    }
    let name = names::child(&owner.name, role.suffix());
    owner.object(
        "apps/v1",
        "Deployment",
        &name,
        &labels,
        json!({"spec": spec}),
    )
}

/// The Service before every workload pod.
pub(super) fn service(resolved: &Resolved, owner: &Owner) -> Value {
    // Never https because it was asked for somewhere, only when the engine really is given a certificate.
    let tls = resolved
        .spec
        .workload
        .template
        .as_ref()
        .is_some_and(pod::uses_tls);
    let protocol = if tls { "https" } else { "http" };
    owner.object(
        "v1",
        "Service",
        &names::workload_service(&owner.name),
        &names::component(&owner.name, "llminferenceservice-workload"),
        json!({"spec": {
            "type": "ClusterIP",
            "selector": names::pods_selector(&owner.name),
            "ports": [{
                "name": protocol,
                "appProtocol": protocol,
                "port": ENGINE_PORT,
                "targetPort": ENGINE_PORT,
                "protocol": "TCP",
            }],
        }}),
    )
}
