//! Which node takes which pod, and why does none?

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::events;
use crate::object::{self, condition, is_deleting, list, name, namespace, set_condition, text};
use crate::store::{Key, Store};

pub(crate) fn reconcile(store: &Store) {
    let (nodes, _) = store.list("nodes", "");
    let (pods, _) = store.list("pods", "");
    let mut placed: Vec<Arc<Value>> = pods
        .iter()
        .filter(|pod| {
            !text(pod, "/spec/nodeName").is_empty()
                && !matches!(text(pod, "/status/phase"), "Failed" | "Succeeded")
        })
        .cloned()
        .collect();
    let waiting = pods
        .iter()
        .filter(|pod| text(pod, "/spec/nodeName").is_empty() && !is_deleting(pod));
    for pod in waiting {
        match choose(pod, &nodes, &placed) {
            Ok(node) => placed.extend(bind(store, pod, &node)),
            Err(why) => refuse(store, pod, &why),
        }
    }
}

/// A node's name, or the scheduler's words on why there is none.
fn choose(pod: &Value, nodes: &[Arc<Value>], placed: &[Arc<Value>]) -> Result<String, String> {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut best: Option<(usize, &str)> = None;
    for node in nodes {
        match fits(pod, node, placed) {
            Ok(()) => {
                let load = placed
                    .iter()
                    .filter(|one| text(one, "/spec/nodeName") == name(node))
                    .count();
                if best.is_none_or(|(least, _)| load < least) {
                    best = Some((load, name(node)));
                }
            }
            Err(why) => *reasons.entry(why).or_default() += 1,
        }
    }
    if let Some((_, node)) = best {
        return Ok(node.to_owned());
    }
    let reasons: Vec<String> = reasons
        .iter()
        .map(|(why, count)| format!("{count} {why}"))
        .collect();
    Err(format!(
        "0/{} nodes are available: {}.",
        nodes.len(),
        reasons.join(", ")
    ))
}

fn fits(pod: &Value, node: &Value, placed: &[Arc<Value>]) -> Result<(), String> {
    if node["spec"]["unschedulable"] == true {
        return Err("node(s) were unschedulable".to_owned());
    }
    if condition(node, "Ready").is_none_or(|ready| ready["status"] != "True") {
        return Err("node(s) had untolerated taint {node.kubernetes.io/unreachable: }".to_owned());
    }
    let labels = &node["metadata"]["labels"];
    let selector = pod.pointer("/spec/nodeSelector").and_then(Value::as_object);
    if selector
        .into_iter()
        .flatten()
        .any(|(key, value)| labels[key] != *value)
    {
        return Err("node(s) didn't match Pod's node affinity/selector".to_owned());
    }
    for taint in list(node, "/spec/taints") {
        if !list(pod, "/spec/tolerations")
            .iter()
            .any(|one| tolerates(one, taint))
        {
            return Err(format!(
                "node(s) had untolerated taint {{{}: {}}}",
                text(taint, "/key"),
                text(taint, "/value")
            ));
        }
    }
    let here = placed
        .iter()
        .filter(|one| text(one, "/spec/nodeName") == name(node));
    let here: Vec<&Arc<Value>> = here.collect();
    for (resource, wanted) in requests(pod) {
        let room = amount(&node["status"]["allocatable"][&resource]);
        let used: f64 = here
            .iter()
            .filter_map(|one| requests(one).remove(&resource))
            .sum();
        if used + wanted > room {
            return Err(format!("Insufficient {resource}"));
        }
    }
    Ok(())
}

fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let effect = text(toleration, "/effect");
    let key = text(toleration, "/key");
    let any_value = text(toleration, "/operator") == "Exists";
    (effect.is_empty() || effect == text(taint, "/effect"))
        && (key == text(taint, "/key") || (key.is_empty() && any_value))
        && (any_value || text(toleration, "/value") == text(taint, "/value"))
}

/// What a pod's containers ask for; a limit without a request is one.
fn requests(pod: &Value) -> BTreeMap<String, f64> {
    let mut sum: BTreeMap<String, f64> = BTreeMap::new();
    for container in list(pod, "/spec/containers") {
        let resources = &container["resources"];
        let mut own: BTreeMap<&String, f64> = BTreeMap::new();
        for kind in ["limits", "requests"] {
            for (name, value) in resources[kind].as_object().into_iter().flatten() {
                own.insert(name, amount(value));
            }
        }
        for (name, value) in own {
            *sum.entry(name.clone()).or_default() += value;
        }
    }
    sum
}

/// A quantity as a number.
pub(super) fn amount(quantity: &Value) -> f64 {
    let text = match quantity {
        Value::String(text) => text.as_str(),
        other => return other.as_f64().unwrap_or(0.0),
    };
    let split = text
        .find(|letter: char| letter.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => 1.0,
    };
    number.parse::<f64>().unwrap_or(0.0) * factor
}

fn bind(store: &Store, pod: &Value, node: &str) -> Option<Arc<Value>> {
    let key = Key::new("pods", namespace(pod), name(pod));
    let done = store.write(&key, |before| {
        let Some(before) = before else {
            return Ok(None);
        };
        let mut pod = before.clone();
        pod["spec"]["nodeName"] = json!(node);
        let mut conditions = list(before, "/status/conditions").to_vec();
        set_condition(&mut conditions, "PodScheduled", "True", "", "");
        pod["status"]["conditions"] = json!(conditions);
        pod["status"]["phase"] = json!("Pending");
        Ok(Some(pod))
    });
    let placed = done.ok().flatten()?;
    let words = format!(
        "Successfully assigned {}/{} to {node}",
        namespace(pod),
        name(pod)
    );
    events::tell(
        store,
        &placed,
        "default-scheduler",
        "Normal",
        "Scheduled",
        &words,
    );
    Some(placed)
}

fn refuse(store: &Store, pod: &Value, why: &str) {
    let known = condition(pod, "PodScheduled").is_some_and(|one| one["message"] == why);
    if known {
        return;
    }
    let key = Key::new("pods", namespace(pod), name(pod));
    let _ = store.write(&key, |before| {
        let Some(before) = before else {
            return Ok(None);
        };
        let mut pod = before.clone();
        let mut conditions = list(before, "/status/conditions").to_vec();
        set_condition(
            &mut conditions,
            "PodScheduled",
            "False",
            "Unschedulable",
            why,
        );
        pod["status"]["conditions"] = json!(conditions);
        pod["status"]["phase"] = json!("Pending");
        Ok(Some(pod))
    });
    events::tell(
        store,
        pod,
        "default-scheduler",
        "Warning",
        "FailedScheduling",
        why,
    );
    tracing::debug!(pod = object::name(pod), why, "not scheduled");
}
