//! Which routes attach to which of our gateways, and do they lead somewhere?
//!
//! Pure; the rules are those of the Gateway API.

mod listeners;
mod pools;
mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::queue::Key;
use crate::desired::names::GATEWAY_CONTROLLER;
use crate::discovery::{ListenerHosts, Unattached, attach, unsupported};
use crate::status::condition;
use crate::types::{Condition, Gateway, HttpRoute, InferencePool, ParentRef, RouteParentStatus};
pub(super) use listeners::gateway_status;
pub(super) use pools::pool_parents;
use targets::unresolved;

/// What routes can lead to and come from.
pub(super) struct Cluster<'a> {
    /// Gateways of our class.
    pub(super) gateways: &'a [Arc<Gateway>],
    pub(super) pools: &'a [Arc<InferencePool>],
    pub(super) services: BTreeSet<Key>,
    /// Labels of each namespace.
    pub(super) namespaces: BTreeMap<String, BTreeMap<String, String>>,
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
            let odd = unsupported(route);
            let none_left = !odd.is_empty() && odd.len() >= route.spec.rules.len();
            let (accepted, reason, message) = match attaches(parent, gateway, route, cluster) {
                Ok(_) if none_left => (false, "UnsupportedValue", odd.join("; ")),
                Ok(_) => (true, "Accepted", String::new()),
                Err((reason, message)) => (false, reason, message),
            };
            let (resolved, why, what) = match unresolved(route, grants, cluster) {
                None => (true, "ResolvedRefs", String::new()),
                Some((reason, message)) => (false, reason, message),
            };
            let mut conditions = vec![
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
            ];
            if accepted && !odd.is_empty() {
                conditions.push(turn(
                    before,
                    "PartiallyInvalid",
                    true,
                    "UnsupportedValue",
                    &odd.join("; "),
                    generation,
                    &cluster.now,
                ));
            }
            RouteParentStatus {
                parent_ref: parent.clone(),
                controller_name: GATEWAY_CONTROLLER.to_owned(),
                conditions,
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

/// Listeners that take the route, else why none does.
fn attaches(
    parent: &ParentRef,
    gateway: &Gateway,
    route: &HttpRoute,
    cluster: &Cluster<'_>,
) -> Result<Vec<ListenerHosts>, (&'static str, String)> {
    let namespace = route.metadata.namespace.as_deref().unwrap_or_default();
    attach(route, parent, gateway, &cluster.namespaces).map_err(|why| {
        let message = match why {
            Unattached::NoMatchingParent => "the gateway has no such listener".to_owned(),
            Unattached::NotAllowedByListeners => {
                format!("no listener of the gateway allows HTTPRoutes of namespace {namespace}")
            }
            Unattached::NoMatchingListenerHostname => {
                "no hostname of the route is one of the listeners'".to_owned()
            }
        };
        (why.reason(), message)
    })
}
