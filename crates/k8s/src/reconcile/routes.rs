//! Which routes attach to which of our gateways, and do they lead somewhere?
//!
//! Pure; the rules are those of the Gateway API.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::core::{PartialObjectMeta, SelectorExt};
use serde_json::Value;

use super::gateways::Conditions;
use super::queue::Key;
use crate::desired::names::GATEWAY_CONTROLLER;
use crate::status::condition;
use crate::types::{
    BackendRef, Condition, Gateway, GatewayAddress, GatewayStatus, HttpRoute, InferencePool,
    Listener, ListenerStatus, ParentRef, PoolParent, RouteKind, RouteParentStatus,
};

/// What routes can lead to and come from.
pub(super) struct Cluster<'a> {
    /// Gateways of our class.
    pub(super) gateways: &'a [Arc<Gateway>],
    pub(super) pools: &'a [Arc<InferencePool>],
    pub(super) services: BTreeSet<Key>,
    pub(super) namespaces: &'a [Arc<PartialObjectMeta<Namespace>>],
    /// RFC 3339, whole seconds.
    pub(super) now: String,
}

/// A condition; its time is kept while its status does not turn.
pub(super) fn turn(
    old: &[Condition],
    kind: &str,
    good: bool,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: &str,
) -> Condition {
    let status = if good { "True" } else { "False" };
    let kept = condition(old, kind)
        .filter(|old| old.status == status && !old.last_transition_time.is_empty());
    Condition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        severity: None,
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: kept
            .map_or_else(|| now.to_owned(), |old| old.last_transition_time.clone()),
        observed_generation: generation,
    }
}

/// Our entries of a route's status, one for each of its parents that is ours.
pub(super) fn route_parents(
    route: &HttpRoute,
    old: &[RouteParentStatus],
    grants: &[Value],
    cluster: &Cluster<'_>,
) -> Vec<RouteParentStatus> {
    let generation = route.metadata.generation;
    route
        .spec
        .parent_refs
        .iter()
        .filter_map(|parent| Some((parent, find(parent, route, cluster)?)))
        .map(|(parent, gateway)| {
            let before = old
                .iter()
                .find(|entry| entry.parent_ref == *parent)
                .map(|entry| entry.conditions.as_slice())
                .unwrap_or_default();
            let (accepted, reason, message) = match attaches(parent, gateway, route, cluster) {
                Ok(()) => (true, "Accepted", String::new()),
                Err((reason, message)) => (false, reason, message),
            };
            let (resolved, why, what) = match unresolved(route, grants, cluster) {
                None => (true, "ResolvedRefs", String::new()),
                Some((reason, message)) => (false, reason, message),
            };
            RouteParentStatus {
                parent_ref: parent.clone(),
                controller_name: GATEWAY_CONTROLLER.to_owned(),
                conditions: vec![
                    turn(
                        before,
                        "Accepted",
                        accepted,
                        reason,
                        &message,
                        generation,
                        &cluster.now,
                    ),
                    turn(
                        before,
                        "ResolvedRefs",
                        resolved,
                        why,
                        &what,
                        generation,
                        &cluster.now,
                    ),
                ],
            }
        })
        .collect()
}

fn find<'a>(
    parent: &ParentRef,
    route: &HttpRoute,
    cluster: &'a Cluster<'_>,
) -> Option<&'a Gateway> {
    if parent.kind.as_deref().is_some_and(|kind| kind != "Gateway") {
        return None;
    }
    let namespace = parent
        .namespace
        .as_deref()
        .or(route.metadata.namespace.as_deref())?;
    cluster
        .gateways
        .iter()
        .find(|gateway| {
            gateway.metadata.name.as_deref() == Some(&parent.name)
                && gateway.metadata.namespace.as_deref() == Some(namespace)
        })
        .map(|gateway| &**gateway)
}

/// Whether some listener takes the route, else why none does.
fn attaches(
    parent: &ParentRef,
    gateway: &Gateway,
    route: &HttpRoute,
    cluster: &Cluster<'_>,
) -> Result<(), (&'static str, String)> {
    let named: Vec<_> = gateway
        .spec
        .listeners
        .iter()
        .filter(|listener| {
            parent
                .section_name
                .as_ref()
                .is_none_or(|section| *section == listener.name)
        })
        .filter(|listener| parent.port.is_none_or(|port| port == listener.port))
        .collect();
    if named.is_empty() {
        return Err((
            "NoMatchingParent",
            "the gateway has no such listener".to_owned(),
        ));
    }
    let allowing: Vec<_> = named
        .into_iter()
        .filter(|listener| allows(listener, gateway, route, cluster))
        .collect();
    if allowing.is_empty() {
        let namespace = route.metadata.namespace.as_deref().unwrap_or_default();
        return Err((
            "NotAllowedByListeners",
            format!("no listener of the gateway allows HTTPRoutes of namespace {namespace}"),
        ));
    }
    if allowing
        .iter()
        .any(|listener| hostnames_meet(listener, &route.spec.hostnames))
    {
        Ok(())
    } else {
        Err((
            "NoMatchingListenerHostname",
            "no hostname of the route is one of the listeners'".to_owned(),
        ))
    }
}

fn allows(
    listener: &Listener,
    gateway: &Gateway,
    route: &HttpRoute,
    cluster: &Cluster<'_>,
) -> bool {
    if listener.protocol != "HTTP" {
        return false;
    }
    let allowed = listener.allowed_routes.clone().unwrap_or_default();
    if !allowed.kinds.is_empty() && !allowed.kinds.iter().any(|kind| kind.kind == "HTTPRoute") {
        return false;
    }
    let namespaces = allowed.namespaces.unwrap_or_default();
    match namespaces.from.as_deref() {
        Some("All") => true,
        Some("None") => false,
        Some("Selector") => {
            let labels = cluster
                .namespaces
                .iter()
                .find(|namespace| namespace.metadata.name == route.metadata.namespace)
                .and_then(|namespace| namespace.metadata.labels.clone())
                .unwrap_or_default();
            namespaces.selector.is_some_and(|selector| {
                kube::core::Selector::try_from(selector)
                    .is_ok_and(|selector| selector.matches(&labels))
            })
        }
        _ => gateway.metadata.namespace == route.metadata.namespace,
    }
}

fn hostnames_meet(listener: &Listener, hostnames: &[String]) -> bool {
    let Some(listener) = listener
        .hostname
        .as_deref()
        .filter(|hostname| !hostname.is_empty())
    else {
        return true;
    };
    hostnames.is_empty()
        || hostnames
            .iter()
            .any(|hostname| meet(listener, hostname) || meet(hostname, listener))
}

/// A wildcard stands for one label or more.
fn meet(pattern: &str, hostname: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => {
            let hostname = hostname.strip_prefix('*').unwrap_or(hostname);
            hostname.len() >= suffix.len()
                && hostname.to_lowercase().ends_with(&suffix.to_lowercase())
        }
        None => pattern.eq_ignore_ascii_case(hostname),
    }
}

/// The first target that cannot be sent to, and why.
fn unresolved(
    route: &HttpRoute,
    grants: &[Value],
    cluster: &Cluster<'_>,
) -> Option<(&'static str, String)> {
    let own = route.metadata.namespace.as_deref().unwrap_or_default();
    let targets = route.spec.rules.iter().flat_map(|rule| &rule.backend_refs);
    targets
        .filter_map(|target| target_problem(target, own, grants, cluster))
        .next()
}

fn target_problem(
    target: &BackendRef,
    own: &str,
    grants: &[Value],
    cluster: &Cluster<'_>,
) -> Option<(&'static str, String)> {
    let group = target.group.as_deref().unwrap_or_default();
    let kind = target.kind.as_deref().unwrap_or("Service");
    let namespace = target.namespace.as_deref().unwrap_or(own);
    let name = &target.name;
    let known = matches!(
        (group, kind),
        ("", "Service") | ("inference.networking.k8s.io", "InferencePool")
    );
    if !known {
        return Some((
            "InvalidKind",
            format!("{group}/{kind} is neither a Service nor an InferencePool"),
        ));
    }
    if namespace != own
        && !grants
            .iter()
            .any(|grant| granted(grant, own, group, kind, name))
    {
        return Some((
            "RefNotPermitted",
            format!("no ReferenceGrant in {namespace} lets routes of {own} name {kind} {name}"),
        ));
    }
    let there = if kind == "Service" {
        cluster.services.contains(&Key::new(namespace, name))
    } else {
        cluster.pools.iter().any(|pool| {
            pool.metadata.name.as_deref() == Some(name)
                && pool.metadata.namespace.as_deref() == Some(namespace)
        })
    };
    (!there).then(|| {
        (
            "BackendNotFound",
            format!("there is no {kind} {namespace}/{name}"),
        )
    })
}

fn granted(grant: &Value, from: &str, group: &str, kind: &str, name: &str) -> bool {
    let list = |field: &str| grant["spec"][field].as_array().cloned().unwrap_or_default();
    let comes = list("from")
        .iter()
        .any(|allowed| allowed["kind"] == "HTTPRoute" && allowed["namespace"] == from);
    let goes = list("to").iter().any(|allowed| {
        allowed["kind"] == kind
            && allowed["group"].as_str().unwrap_or_default() == group
            && allowed["name"]
                .as_str()
                .is_none_or(|allowed| allowed.is_empty() || allowed == name)
    });
    comes && goes
}

/// Our entries of a pool's status: one for each of our gateways that a route ties to it.
pub(super) fn pool_parents(
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

/// Status of one of our gateways.
pub(super) fn gateway_status(
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
    let attached = routes.iter().filter(|route| {
        route.spec.parent_refs.iter().any(|parent| {
            let this = parent
                .section_name
                .as_ref()
                .is_none_or(|section| *section == listener.name);
            this && find(parent, route, cluster).is_some_and(|found| {
                found.metadata.uid == gateway.metadata.uid
                    && found.metadata.name == gateway.metadata.name
            }) && allows(listener, gateway, route, cluster)
                && hostnames_meet(listener, &route.spec.hostnames)
        })
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
