//! Do a route's targets exist, and may the route name them?

use serde_json::Value;

use super::Cluster;
use crate::reconcile::queue::Key;
use crate::types::{BackendRef, HttpRoute};

/// The first target that cannot be sent to, and why.
pub(super) fn unresolved(
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
