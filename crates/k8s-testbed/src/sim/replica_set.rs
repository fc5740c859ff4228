//! Which pods does a replica set make and end?

use std::sync::Arc;

use serde_json::{Value, json};

use super::deployment::SETS;
use super::garbage;
use crate::object::{self, condition, controller, is_deleting, name, namespace, number, text, uid};
use crate::store::{Key, Store};
use crate::write::{Write, suffix};

pub(crate) fn reconcile(store: &Store) {
    let (sets, _) = store.list(SETS, "");
    let (pods, _) = store.list("pods", "");
    for set in sets.iter().filter(|set| !is_deleting(set)) {
        let own: Vec<&Arc<Value>> = pods
            .iter()
            .filter(|pod| controller(pod).is_some_and(|owner| text(owner, "/uid") == uid(set)))
            .filter(|pod| {
                !is_deleting(pod) && !matches!(text(pod, "/status/phase"), "Failed" | "Succeeded")
            })
            .collect();
        let wanted = usize::try_from(number(set, "/spec/replicas").unwrap_or(0)).unwrap_or(0);
        for _ in own.len()..wanted {
            create(store, set);
        }
        if own.len() > wanted {
            let mut leaving = own.clone();
            leaving.sort_by_key(|pod| rank(pod));
            for pod in leaving.iter().take(own.len() - wanted) {
                garbage::delete(store, &Key::new("pods", namespace(pod), name(pod)));
            }
        }
        status(store, set, &own);
    }
}

pub(super) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")
}

/// Who goes first: on no node, not ready, cheaper to end, younger.
fn rank(pod: &Value) -> (bool, bool, i64, std::cmp::Reverse<u64>) {
    let cost =
        pod["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"].as_str();
    (
        !text(pod, "/spec/nodeName").is_empty(),
        is_ready(pod),
        cost.and_then(|cost| cost.parse().ok()).unwrap_or(0),
        std::cmp::Reverse(born(pod)),
    )
}

/// Uids are random; creation order is in the annotation that [`create`] leaves.
fn born(pod: &Value) -> u64 {
    pod["metadata"]["annotations"]["testbed.prefixgate/born"]
        .as_str()
        .and_then(|at| at.parse().ok())
        .unwrap_or(0)
}

fn create(store: &Store, set: &Value) {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let Some(kind) = store.kind("", "v1", "pods") else {
        return;
    };
    let template = &set["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["name"] = json!(format!("{}-{}", name(set), suffix()));
    metadata["namespace"] = json!(namespace(set));
    let born = NEXT
        .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
        .to_string();
    metadata["annotations"]["testbed.prefixgate/born"] = json!(born);
    metadata["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name(set), "uid": uid(set),
        "controller": true, "blockOwnerDeletion": true,
    }]);
    let pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
    let write = Write {
        store,
        kind: &kind,
        namespace: namespace(set),
        manager: "kube-controller-manager",
        dry_run: false,
        strict: false,
    };
    if let Err(status) = write.create(pod) {
        super::events::tell(
            store,
            set,
            "replicaset-controller",
            "Warning",
            "FailedCreate",
            &status.message,
        );
    }
}

fn status(store: &Store, set: &Value, pods: &[&Arc<Value>]) {
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let _ = store.write(&Key::new(SETS, namespace(set), name(set)), |before| {
        let Some(before) = before else {
            return Ok(None);
        };
        let mut set = before.clone();
        set["status"] = json!({
            "observedGeneration": object::number(before, "/metadata/generation"),
            "replicas": pods.len(),
            "fullyLabeledReplicas": pods.len(),
            "readyReplicas": ready,
            "availableReplicas": ready,
        });
        Ok(Some(set))
    });
}
