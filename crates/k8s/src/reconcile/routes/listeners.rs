//! What is said of a gateway of ours and of each of its listeners?

use std::sync::Arc;

use super::{Cluster, attaches, find, turn};
use crate::types::{
    Gateway, GatewayAddress, GatewayStatus, HttpRoute, Listener, ListenerStatus, ParentRef,
    RouteKind,
};

/// Status of one of our gateways.
pub(in crate::reconcile) fn gateway_status(
    gateway: &Gateway,
    routes: &[Arc<HttpRoute>],
    addresses: Vec<String>,
    cluster: &Cluster<'_>,
) -> GatewayStatus {
    let old = gateway.status.clone().unwrap_or_default();
    let generation = gateway.metadata.generation;
    let listeners: Vec<_> = gateway
        .spec
        .listeners
        .iter()
        .map(|listener| listener_status(listener, gateway, routes, &old, cluster))
        .collect();
    let served = gateway
        .spec
        .listeners
        .iter()
        .any(|listener| listener.protocol == "HTTP");
    let programmed = served && !addresses.is_empty();
    let (why, what) = match (served, programmed) {
        (_, true) => ("Programmed", ""),
        (false, _) => (
            "Invalid",
            "no listener speaks HTTP; TLS ends before this gateway",
        ),
        _ => (
            "AddressNotAssigned",
            "the gateway's Service has no address yet",
        ),
    };
    let accepted = if served {
        "Accepted"
    } else {
        "ListenersNotValid"
    };
    GatewayStatus {
        conditions: vec![
            turn(
                &old.conditions,
                "Accepted",
                served,
                accepted,
                "",
                generation,
                &cluster.now,
            ),
            turn(
                &old.conditions,
                "Programmed",
                programmed,
                why,
                what,
                generation,
                &cluster.now,
            ),
        ],
        addresses: addresses
            .into_iter()
            .map(|value| {
                let is_ip = value.parse::<std::net::IpAddr>().is_ok();
                GatewayAddress {
                    kind: Some(if is_ip { "IPAddress" } else { "Hostname" }.to_owned()),
                    value: Some(value),
                }
            })
            .collect(),
        listeners,
    }
}

fn listener_status(
    listener: &Listener,
    gateway: &Gateway,
    routes: &[Arc<HttpRoute>],
    old: &GatewayStatus,
    cluster: &Cluster<'_>,
) -> ListenerStatus {
    let before = old
        .listeners
        .iter()
        .find(|old| old.name == listener.name)
        .map(|old| old.conditions.as_slice())
        .unwrap_or_default();
    let generation = gateway.metadata.generation;
    let spoken = listener.protocol == "HTTP";
    let reason = if spoken {
        "Accepted"
    } else {
        "UnsupportedProtocol"
    };
    let takes = |route: &HttpRoute, parent: &ParentRef| {
        find(parent, route, cluster).is_some_and(|found| {
            found.metadata.namespace == gateway.metadata.namespace
                && found.metadata.name == gateway.metadata.name
        }) && attaches(parent, gateway, route, cluster)
            .is_ok_and(|all| all.iter().any(|one| one.listener == listener.name))
    };
    let attached = routes.iter().filter(|route| {
        let parents = &route.spec.parent_refs;
        parents.iter().any(|parent| takes(route, parent))
    });
    ListenerStatus {
        name: listener.name.clone(),
        attached_routes: i32::try_from(attached.count()).unwrap_or(i32::MAX),
        supported_kinds: if spoken {
            vec![RouteKind {
                group: Some("gateway.networking.k8s.io".to_owned()),
                kind: "HTTPRoute".to_owned(),
            }]
        } else {
            Vec::new()
        },
        conditions: vec![
            turn(
                before,
                "Accepted",
                spoken,
                reason,
                "",
                generation,
                &cluster.now,
            ),
            turn(
                before,
                "Programmed",
                spoken,
                if spoken { "Programmed" } else { "Invalid" },
                "",
                generation,
                &cluster.now,
            ),
            turn(
                before,
                "ResolvedRefs",
                true,
                "ResolvedRefs",
                "",
                generation,
                &cluster.now,
            ),
            turn(
                before,
                "Conflicted",
                false,
                "NoConflicts",
                "",
                generation,
                &cluster.now,
            ),
        ],
    }
}
