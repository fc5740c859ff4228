//! Do all replicas find chips?

use std::collections::BTreeMap;

use serde_json::Value;

use super::facts::{Facts, NodeFacts};
use super::{Hints, Needs, Verdict};

/// Label that names a node's pool.
const POOL_LABELS: [&str; 3] = [
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "agentpool",
];

/// What was found out, and what to do.
pub(super) type Found = (Verdict, String, Option<String>);

/// For one resource of which each replica takes `each`.
pub(super) fn judge(
    needs: &Needs,
    facts: &Facts,
    hints: Hints,
    resource: &str,
    each: u64,
) -> Found {
    let wanted = needs.replicas * each;
    let nodes = match &facts.nodes {
        Ok(nodes) => nodes,
        Err(why) => return (Verdict::Unknown, format!("nodes: {why}"), None),
    };
    let fitting: Vec<&NodeFacts> = nodes
        .iter()
        .filter(|node| fits(node, needs, resource))
        .collect();
    let per_node = fitting.iter().map(|node| node.allocatable[resource]).max();
    let used = match &facts.pods {
        Ok(pods) => {
            let mut used: BTreeMap<&str, u64> = BTreeMap::new();
            for pod in pods.iter().filter(|pod| !pod.own) {
                *used.entry(pod.node.as_str()).or_default() +=
                    pod.chips.get(resource).copied().unwrap_or(0);
            }
            used
        }
        Err(why) => {
            return (
                Verdict::Unknown,
                format!("what other pods use: {why}"),
                None,
            );
        }
    };
    let room = |node: &&NodeFacts| {
        let free = node.allocatable[resource]
            .saturating_sub(used.get(node.name.as_str()).copied().unwrap_or(0));
        if node.usable { free / each } else { 0 }
    };
    let now: u64 = fitting.iter().map(room).sum();
    let seen = format!(
        "{} replicas x {each} {resource} = {wanted}; {} nodes match, with room for {now} replicas",
        needs.replicas,
        fitting.len()
    );
    if now >= needs.replicas {
        return (Verdict::Ok, seen, None);
    }
    let pool = fitting
        .iter()
        .find_map(|node| POOL_LABELS.iter().find_map(|label| node.labels.get(*label)));
    let Some(max) = most(facts, hints, pool) else {
        let why = match &facts.group_max {
            Err(why) => format!("the node pool's maximum: {why}"),
            Ok(_) => "the node pool's maximum is not told by the cluster".to_owned(),
        };
        let fix = "tell the maximum with --node-pool-max N, or look: `gcloud container node-pools describe POOL --format='value(autoscaling.maxNodeCount)'`";
        return (
            Verdict::Unknown,
            format!("{seen}; {why}"),
            Some(fix.to_owned()),
        );
    };
    let Some(per_node) = per_node else {
        let evidence =
            format!("{seen}; a pool that has no node yet does not say how many chips a node has");
        let fix = "check that node selector and tolerations of the manifest are those of the pool";
        return (Verdict::Unknown, evidence, Some(fix.to_owned()));
    };
    let grown = max * (per_node / each);
    let evidence = format!(
        "{seen}; the pool may grow to {max} nodes of {per_node}: room for {grown} replicas"
    );
    match grown >= needs.replicas {
        true => (Verdict::Ok, evidence, None),
        false => {
            let nodes = needs.replicas.div_ceil((per_node / each).max(1));
            let fix = format!(
                "raise the node pool's maximum to at least {nodes}, or ask for fewer replicas"
            );
            (Verdict::Failed, evidence, Some(fix))
        }
    }
}

fn most(facts: &Facts, hints: Hints, pool: Option<&String>) -> Option<u64> {
    let told = || {
        let pool = pool?;
        let groups = facts.group_max.as_ref().ok()?;
        let mut own = groups
            .iter()
            .filter(|(name, _)| name.contains(pool.as_str()))
            .map(|(_, max)| *max);
        let first = own.next()?;
        Some(first + own.sum::<u64>())
    };
    hints.node_pool_max.or_else(told)
}

fn fits(node: &NodeFacts, needs: &Needs, resource: &str) -> bool {
    let selected = needs
        .node_selector
        .iter()
        .all(|(key, value)| node.labels.get(key) == Some(value));
    let tolerated = node
        .taints
        .iter()
        .filter(|taint| taint["effect"] != "PreferNoSchedule")
        .all(|taint| {
            taint_of_the_moment(taint) || needs.tolerations.iter().any(|one| tolerates(one, taint))
        });
    selected
        && tolerated
        && node
            .allocatable
            .get(resource)
            .is_some_and(|count| *count > 0)
}

/// Set by the cluster itself while a node is not well; `usable` says that already.
fn taint_of_the_moment(taint: &Value) -> bool {
    taint["key"]
        .as_str()
        .is_some_and(|key| key.starts_with("node.kubernetes.io/"))
}

fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let exists = text(toleration, "operator") == "Exists";
    let key = text(toleration, "key");
    let effect = text(toleration, "effect");
    (effect.is_empty() || effect == text(taint, "effect"))
        && (key == text(taint, "key") || (key.is_empty() && exists))
        && (exists || text(toleration, "value") == text(taint, "value"))
}
