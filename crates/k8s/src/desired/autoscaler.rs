//! Which autoscaler object does a service that asks for one get?

use serde_json::{Value, json};

use super::names::{self, Role};
use super::{Owner, Resolved};
use crate::types::Scaling;

/// An HPA or a ScaledObject for each role that has `scaling`.
pub(super) fn objects(resolved: &Resolved, owner: &Owner) -> Vec<Value> {
    let spec = &resolved.spec;
    let main = spec
        .workload
        .scaling
        .as_ref()
        .map(|scaling| (scaling, Role::Both, ""));
    let prefill = spec
        .prefill
        .as_ref()
        .and_then(|prefill| prefill.scaling.as_ref());
    main.into_iter()
        .chain(prefill.map(|scaling| (scaling, Role::Prefill, "-prefill")))
        .filter_map(|(scaling, role, infix)| object(scaling, role, infix, resolved, owner))
        .collect()
}

fn object(
    scaling: &Scaling,
    role: Role,
    infix: &str,
    resolved: &Resolved,
    owner: &Owner,
) -> Option<Value> {
    let target = names::child(&owner.name, role.suffix());
    let (min, max) = (scaling.min_replicas.unwrap_or(1), scaling.max_replicas?);
    let labels = names::component(&owner.name, "llminferenceservice-workload");
    let hpa = scaling.wva.as_ref().and_then(|wva| wva.get("hpa"));
    if let Some(hpa) = hpa {
        let name = names::child(&owner.name, &format!("-kserve{infix}-hpa"));
        let metric = json!({
            "metric": {"name": "wva_desired_replicas", "selector": {"matchLabels": {"variant_name": name}}},
            "target": {"type": "Value", "value": "1"},
        });
        let mut spec = json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "minReplicas": min,
            "maxReplicas": max,
            "metrics": [{"type": "External", "external": metric}],
        });
        if let Some(behavior) = hpa.get("behavior") {
            spec["behavior"] = behavior.clone();
        }
        let mut object = owner.object(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            &name,
            &labels,
            json!({"spec": spec}),
        );
        discoverable(&mut object, scaling, resolved);
        return Some(object);
    }
    let keda = scaling
        .keda
        .as_ref()
        .or_else(|| scaling.wva.as_ref()?.get("keda"))?;
    let name = names::child(&owner.name, &format!("-kserve{infix}-keda"));
    let mut spec = keda.clone();
    spec["scaleTargetRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": target});
    spec["minReplicaCount"] = json!(min);
    spec["maxReplicaCount"] = json!(max);
    let mut object = owner.object(
        "keda.sh/v1alpha1",
        "ScaledObject",
        &name,
        &labels,
        json!({"spec": spec}),
    );
    if scaling.wva.is_some() {
        discoverable(&mut object, scaling, resolved);
    }
    Some(object)
}

/// Annotations by which the variant autoscaler finds what it is to scale.
fn discoverable(object: &mut Value, scaling: &Scaling, resolved: &Resolved) {
    let cost = scaling
        .wva
        .as_ref()
        .and_then(|wva| wva["variantCost"].as_str())
        .unwrap_or("10.0");
    object["metadata"]["annotations"] = json!({
        "llm-d.ai/managed": "true",
        "llm-d.ai/model-id": resolved.model_name(),
        "llm-d.ai/variant-cost": cost,
    });
    object["metadata"]["labels"]["inference.optimization/acceleratorName"] = json!("unknown");
}
