//! Which of our gateways does a pool serve, and how does it stand with each?

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Cluster, attaches, find, turn};
use crate::desired::names::GATEWAY_CONTROLLER;
use crate::reconcile::gateways::Conditions;
use crate::reconcile::queue::Key;
use crate::types::{HttpRoute, InferencePool, ParentRef, PoolParent};

/// Our entries of a pool's status: one for each of our gateways that a route ties to it.
pub(in crate::reconcile) fn pool_parents(
    pool: &InferencePool,
    routes: &[Arc<HttpRoute>],
    old: &[PoolParent],
    cluster: &Cluster<'_>,
) -> Vec<PoolParent> {
    let namespace = pool.metadata.namespace.as_deref().unwrap_or_default();
    let name = pool.metadata.name.as_deref().unwrap_or_default();
    let mut tied: BTreeSet<(String, String)> = BTreeSet::new();
    let mut accepted: BTreeSet<(String, String)> = BTreeSet::new();
    for route in routes
        .iter()
        .filter(|route| leads_to(route, namespace, name))
    {
        for parent in &route.spec.parent_refs {
            if let Some(gateway) = find(parent, route, cluster) {
                let metadata = &gateway.metadata;
                let key = (
                    metadata.namespace.clone().unwrap_or_default(),
                    metadata.name.clone().unwrap_or_default(),
                );
                if attaches(parent, gateway, route, cluster).is_ok() {
                    accepted.insert(key.clone());
                }
                tied.insert(key);
            }
        }
    }
    let picker = pool.spec.endpoint_picker_ref.as_ref();
    let picker_missing = picker.filter(|picker| {
        !cluster
            .services
            .contains(&Key::new(namespace, &picker.name))
    });
    tied.into_iter()
        .map(|(gateway_namespace, gateway)| {
            let parent_ref = ParentRef {
                group: Some("gateway.networking.k8s.io".to_owned()),
                kind: Some("Gateway".to_owned()),
                namespace: Some(gateway_namespace.clone()),
                name: gateway.clone(),
                ..ParentRef::default()
            };
            let before: Conditions = old
                .iter()
                .find(|entry| entry.parent_ref == parent_ref)
                .map(|entry| entry.conditions.clone())
                .unwrap_or_default();
            let good = accepted.contains(&(gateway_namespace, gateway));
            let (reason, message) = if good {
                ("Accepted", "")
            } else {
                (
                    "HTTPRouteNotAccepted",
                    "the route that names the pool is not accepted by the gateway",
                )
            };
            let missing = picker_missing.map(|picker| {
                format!(
                    "there is no Service {namespace}/{} to pick endpoints",
                    picker.name
                )
            });
            PoolParent {
                conditions: vec![
                    turn(
                        &before,
                        "Accepted",
                        good,
                        reason,
                        message,
                        pool.metadata.generation,
                        &cluster.now,
                    ),
                    turn(
                        &before,
                        "ResolvedRefs",
                        missing.is_none(),
                        if missing.is_none() {
                            "ResolvedRefs"
                        } else {
                            "InvalidExtensionRef"
                        },
                        missing.as_deref().unwrap_or_default(),
                        pool.metadata.generation,
                        &cluster.now,
                    ),
                ],
                parent_ref,
                controller_name: Some(GATEWAY_CONTROLLER.to_owned()),
            }
        })
        .collect()
}

fn leads_to(route: &HttpRoute, namespace: &str, name: &str) -> bool {
    let own = route.metadata.namespace.as_deref().unwrap_or_default();
    route
        .spec
        .rules
        .iter()
        .flat_map(|rule| &rule.backend_refs)
        .any(|target| {
            target.kind.as_deref() == Some("InferencePool")
                && target.name == name
                && target.namespace.as_deref().unwrap_or(own) == namespace
        })
}
