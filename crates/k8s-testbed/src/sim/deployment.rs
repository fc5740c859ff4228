//! What does a deployment make of its replica sets?
//!
//! The rules of a rolling update are those of the real controller: never more than replicas plus surge, never fewer
//! available than replicas less the unavailable ones.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::object::{
    self, controller, is_deleting, name, namespace, number, set_condition, text, uid,
};
use crate::store::{Key, Store};

const RESOURCE: &str = "deployments.apps";
pub(super) const SETS: &str = "replicasets.apps";
const HASH: &str = "pod-template-hash";

pub(crate) fn reconcile(store: &Store) {
    let (deployments, _) = store.list(RESOURCE, "");
    for deployment in deployments
        .iter()
        .filter(|deployment| !is_deleting(deployment))
    {
        one(store, deployment);
    }
}

fn one(store: &Store, deployment: &Value) {
    let (sets, _) = store.list(SETS, namespace(deployment));
    let own: Vec<Arc<Value>> = sets
        .iter()
        .filter(|set| controller(set).is_some_and(|owner| text(owner, "/uid") == uid(deployment)))
        .cloned()
        .collect();
    let hash = hash(&deployment["spec"]["template"]);
    let Some(new) = own
        .iter()
        .find(|set| set["metadata"]["labels"][HASH] == hash.as_str())
    else {
        create(store, deployment, &hash, own.len());
        return;
    };
    let old: Vec<&Arc<Value>> = own.iter().filter(|set| uid(set) != uid(new)).collect();
    match text(deployment, "/spec/strategy/type") {
        "Recreate" => recreate(store, deployment, new, &old),
        _ => roll(store, deployment, new, &old),
    }
    status(store, deployment, new, &own);
}

fn hash(template: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    template.to_string().hash(&mut hasher);
    format!("{:010x}", hasher.finish() & 0xff_ffff_ffff)
}

fn create(store: &Store, deployment: &Value, hash: &str, revision: usize) {
    let set_name = format!("{}-{hash}", name(deployment));
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["labels"][HASH] = json!(hash);
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"][HASH] = json!(hash);
    let set = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": set_name,
            "namespace": namespace(deployment),
            "labels": template["metadata"]["labels"],
            "annotations": {"deployment.kubernetes.io/revision": (revision + 1).to_string()},
            "uid": uuid::Uuid::new_v4().to_string(),
            "creationTimestamp": object::now(),
            "generation": 1,
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": name(deployment),
                "uid": uid(deployment), "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
        "status": {"replicas": 0},
    });
    // Another deployment's set of that name is left alone.
    let _ = store.write(
        &Key::new(SETS, namespace(deployment), &set_name),
        |before| Ok(Some(before.cloned().unwrap_or(set))),
    );
}

fn replicas(object: &Value) -> i64 {
    number(object, "/spec/replicas").unwrap_or(0)
}

fn available(set: &Value) -> i64 {
    number(set, "/status/availableReplicas").unwrap_or(0)
}

fn scale(store: &Store, set: &Value, to: i64) {
    let _ = store.write(&Key::new(SETS, namespace(set), name(set)), |before| {
        let Some(before) = before else {
            return Ok(None);
        };
        let mut set = before.clone();
        if replicas(before) != to {
            set["spec"]["replicas"] = json!(to);
            set["metadata"]["generation"] =
                json!(number(before, "/metadata/generation").unwrap_or(0) + 1);
        }
        Ok(Some(set))
    });
}

fn recreate(store: &Store, deployment: &Value, new: &Value, old: &[&Arc<Value>]) {
    for set in old.iter().filter(|set| replicas(set) > 0) {
        scale(store, set, 0);
    }
    let (pods, _) = store.list("pods", namespace(deployment));
    let of_old = |pod: &Arc<Value>| {
        controller(pod).is_some_and(|owner| old.iter().any(|set| text(owner, "/uid") == uid(set)))
    };
    if !pods.iter().any(of_old) {
        scale(store, new, replicas(deployment));
    }
}

fn roll(store: &Store, deployment: &Value, new: &Value, old: &[&Arc<Value>]) {
    let wanted = replicas(deployment);
    let (surge, unavailable) = bounds(deployment, wanted);
    let old_total: i64 = old.iter().map(|set| replicas(set)).sum();
    let mut new_now = replicas(new);
    if new_now > wanted {
        scale(store, new, wanted);
        return;
    }
    let room = wanted + surge - old_total - new_now;
    if new_now < wanted && room > 0 {
        new_now += room.min(wanted - new_now);
        scale(store, new, new_now);
    }
    if old_total == 0 {
        return;
    }
    let least = wanted - unavailable;
    let new_unavailable = new_now - available(new).min(new_now);
    let mut spare = old_total + new_now - least - new_unavailable;
    // Those that do not serve go first, then whatever may be missing.
    for set in old {
        let sick = replicas(set) - available(set).min(replicas(set));
        let gone = sick.min(spare).max(0);
        if gone > 0 {
            scale(store, set, replicas(set) - gone);
            spare -= gone;
        }
    }
    let serving: i64 = old.iter().map(|set| available(set)).sum::<i64>() + available(new);
    let mut spare = (serving - least).min(spare);
    for set in old {
        let healthy = available(set).min(replicas(set));
        let gone = healthy.min(spare).max(0);
        if gone > 0 {
            scale(store, set, replicas(set) - gone);
            spare -= gone;
        }
    }
}

/// Surge and unavailable, as numbers: surge is rounded up, unavailable down, and not both are 0.
fn bounds(deployment: &Value, wanted: i64) -> (i64, i64) {
    let of = |pointer: &str, up: bool| match deployment.pointer(pointer) {
        Some(Value::String(percent)) => {
            let percent: i64 = percent.trim_end_matches('%').parse().unwrap_or(0);
            if up {
                (wanted * percent + 99) / 100
            } else {
                wanted * percent / 100
            }
        }
        Some(value) => value.as_i64().unwrap_or(0),
        None => 0,
    };
    let surge = of("/spec/strategy/rollingUpdate/maxSurge", true);
    let unavailable = of("/spec/strategy/rollingUpdate/maxUnavailable", false);
    if surge == 0 && unavailable == 0 {
        (0, 1)
    } else {
        (surge, unavailable)
    }
}

fn status(store: &Store, deployment: &Value, new: &Value, own: &[Arc<Value>]) {
    let sum = |pointer: &str| -> i64 {
        own.iter()
            .map(|set| number(set, pointer).unwrap_or(0))
            .sum()
    };
    let wanted = replicas(deployment);
    let (total, ready, available) = (
        sum("/status/replicas"),
        sum("/status/readyReplicas"),
        sum("/status/availableReplicas"),
    );
    let updated = number(new, "/status/replicas").unwrap_or(0);
    let (_, unavailable) = bounds(deployment, wanted);
    let enough = available >= wanted - unavailable && (available > 0 || wanted == 0);
    let done = updated == wanted && total == wanted && available == wanted;
    let _ = store.write(
        &Key::new(RESOURCE, namespace(deployment), name(deployment)),
        |before| {
            let Some(before) = before else {
                return Ok(None);
            };
            let mut deployment = before.clone();
            let mut conditions = object::list(before, "/status/conditions").to_vec();
            match enough {
                true => set_condition(
                    &mut conditions,
                    "Available",
                    "True",
                    "MinimumReplicasAvailable",
                    "Deployment has minimum availability.",
                ),
                false => set_condition(
                    &mut conditions,
                    "Available",
                    "False",
                    "MinimumReplicasUnavailable",
                    "Deployment does not have minimum availability.",
                ),
            }
            let set = name(new);
            match done {
                true => set_condition(
                    &mut conditions,
                    "Progressing",
                    "True",
                    "NewReplicaSetAvailable",
                    &format!("ReplicaSet \"{set}\" has successfully progressed."),
                ),
                false => set_condition(
                    &mut conditions,
                    "Progressing",
                    "True",
                    "ReplicaSetUpdated",
                    &format!("ReplicaSet \"{set}\" is progressing."),
                ),
            }
            deployment["status"] = json!({
                "observedGeneration": number(before, "/metadata/generation"),
                "replicas": total,
                "updatedReplicas": updated,
                "readyReplicas": ready,
                "availableReplicas": available,
                "unavailableReplicas": (wanted - available).max(0),
                "conditions": conditions,
            });
            Ok(Some(deployment))
        },
    );
}
