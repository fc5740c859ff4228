//! Do requests find the engines?

use super::conditions::Judgement;
use super::{GatewayView, Observed, condition};
use crate::desired::{Dialect, Resolved, dialect, names, needs_picker};
use crate::types::{Condition, GatewayUse, ObjectName, ParentRef, RouterStatus, SchedulerUse};

/// Gateways, route and pool of a service.
pub(super) fn router(seen: &Observed<'_>, resolved: &Resolved) -> Option<RouterStatus> {
    resolved.spec.router.as_ref()?;
    let name = resolved
        .service
        .metadata
        .name
        .as_deref()
        .unwrap_or_default();
    let namespace = resolved
        .service
        .metadata
        .namespace
        .clone()
        .unwrap_or_default();
    let gateways = seen.gateways.iter().map(|view| GatewayUse {
        group: "gateway.networking.k8s.io".to_owned(),
        kind: "Gateway".to_owned(),
        name: view.parent.name.clone(),
        namespace: view
            .parent
            .namespace
            .clone()
            .unwrap_or_else(|| namespace.clone()),
        http_routes: seen
            .route
            .iter()
            .map(|route| named(route.metadata.name.clone().unwrap_or_default(), "HTTPRoute"))
            .collect(),
    });
    let scheduler = resolved.spec.scheduler().map(|_| SchedulerUse {
        inference_pool: Some(named(crate::desired::pool_name(resolved), "InferencePool")),
        service: needs_picker(seen.facts).then(|| named(names::picker_service(name), "Service")),
    });
    Some(RouterStatus {
        gateways: gateways.collect(),
        scheduler,
    })
}

fn named(name: String, kind: &str) -> ObjectName {
    ObjectName {
        name,
        kind: Some(kind.to_owned()),
        ..ObjectName::default()
    }
}

/// `GatewaysReady`, `HTTPRoutesReady`, `InferencePoolReady`, `SchedulerWorkloadReady`, as far as they are asked for.
pub(super) fn judgements(seen: &Observed<'_>, resolved: &Resolved) -> Vec<Judgement> {
    let Some(router) = &resolved.spec.router else {
        return Vec::new();
    };
    let mut all = Vec::new();
    if !seen.gateways.is_empty() {
        all.push(gateways(seen, resolved));
    }
    if router.route.is_some() {
        all.push(route(seen, resolved));
    }
    if let Some(scheduler) = resolved.spec.scheduler() {
        all.push(pool(seen, router.route.is_some()));
        let own_pool = scheduler
            .pool
            .as_ref()
            .is_none_or(|pool| pool.reference.is_none());
        if own_pool && needs_picker(seen.facts) {
            all.push(picker(seen));
        }
    }
    all
}

fn gateways(seen: &Observed<'_>, resolved: &Resolved) -> Judgement {
    let kind = "GatewaysReady";
    let own = resolved
        .service
        .metadata
        .namespace
        .as_deref()
        .unwrap_or_default();
    for view in &seen.gateways {
        let name = format!(
            "{}/{}",
            view.parent.namespace.as_deref().unwrap_or(own),
            view.parent.name
        );
        let Some(gateway) = &view.gateway else {
            return Judgement::bad(
                kind,
                "GatewayNotFound",
                format!(
                    "there is no Gateway {name}: create it, or name another one in spec.router.gateway.refs"
                ),
            );
        };
        let class = &gateway.spec.gateway_class_name;
        let Some(known) = &view.class else {
            return Judgement::bad(
                kind,
                "GatewayClassNotFound",
                format!("Gateway {name} is of class {class}, which does not exist"),
            );
        };
        if resolved.spec.scheduler().is_some()
            && let Some(message) =
                dialect::pool_unsupported(class, Dialect::of(&known.spec.controller_name))
        {
            return Judgement::bad(kind, "GatewayClassUnsupported", message);
        }
        let conditions = gateway
            .status
            .as_ref()
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default();
        match condition(conditions, "Programmed") {
            Some(programmed) if programmed.status == "True" => {}
            Some(programmed) => {
                return Judgement::bad(
                    kind,
                    "GatewayNotProgrammed",
                    format!(
                        "Gateway {name} is not programmed: {} {}",
                        programmed.reason, programmed.message
                    ),
                );
            }
            None => {
                return Judgement::bad(
                    kind,
                    "WaitingForGateway",
                    format!(
                        "Gateway {name} has no status: does the controller of class {class} ({}) run?",
                        known.spec.controller_name
                    ),
                );
            }
        }
    }
    Judgement::good(kind)
}

fn route(seen: &Observed<'_>, resolved: &Resolved) -> Judgement {
    let kind = "HTTPRoutesReady";
    let refs = resolved
        .spec
        .router
        .as_ref()
        .and_then(|router| router.route.as_ref()?.http.as_ref())
        .map(|http| http.refs.len());
    let Some(route) = &seen.route else {
        return match refs {
            Some(count) if count > 0 => Judgement::good(kind).with(
                "RoutesOfOthers",
                "routes named in the manifest are not looked after",
            ),
            _ => Judgement::bad(kind, "Creating", "the HTTPRoute is not there yet"),
        };
    };
    let namespace = route.metadata.namespace.clone().unwrap_or_default();
    let parents = route
        .status
        .as_ref()
        .map(|status| status.parents.as_slice())
        .unwrap_or_default();
    for wanted in &route.spec.parent_refs {
        let Some(entry) = parents
            .iter()
            .find(|entry| same_parent(&entry.parent_ref, wanted, &namespace))
        else {
            return Judgement::bad(
                kind,
                "WaitingForGateway",
                format!(
                    "Gateway {} has not looked at the route yet: does its controller run, and do its listeners allow routes of namespace {namespace}?",
                    wanted.name
                ),
            );
        };
        if let Some(bad) = refused(&entry.conditions) {
            let unsupported = bad.reason == "InvalidKind" && resolved.spec.scheduler().is_some();
            let reason = if unsupported {
                "GatewayClassUnsupported"
            } else {
                "RouteNotAccepted"
            };
            let hint = if unsupported {
                "; its gateway does not know InferencePools"
            } else {
                ""
            };
            return Judgement::bad(
                kind,
                reason,
                format!(
                    "{} {}: {} {}{hint}",
                    bad.kind, bad.status, bad.reason, bad.message
                ),
            );
        }
    }
    Judgement::good(kind)
}

/// A route's condition that keeps requests from passing.
fn refused(conditions: &[Condition]) -> Option<&Condition> {
    ["Accepted", "ResolvedRefs"]
        .into_iter()
        .find_map(|kind| condition(conditions, kind).filter(|found| found.status == "False"))
}

fn same_parent(a: &ParentRef, b: &ParentRef, namespace: &str) -> bool {
    let place = |parent: &ParentRef| {
        parent
            .namespace
            .clone()
            .unwrap_or_else(|| namespace.to_owned())
    };
    a.name == b.name && place(a) == place(b) && a.section_name == b.section_name
}

fn pool(seen: &Observed<'_>, routed: bool) -> Judgement {
    let kind = "InferencePoolReady";
    let Some(pool) = &seen.pool else {
        return Judgement::bad(
            kind,
            "InferencePoolNotFound",
            "the InferencePool is not there",
        );
    };
    let parents = pool
        .status
        .as_ref()
        .map(|status| status.parents.as_slice())
        .unwrap_or_default();
    if !routed {
        // Nobody asked for a route: the pool is there for whoever names it.
        return Judgement::good(kind);
    }
    for view in &seen.gateways {
        let entry = parents
            .iter()
            .find(|entry| is_gateway(&entry.parent_ref, view));
        let Some(entry) = entry else {
            let class = view
                .class
                .as_ref()
                .map_or("unknown", |class| class.spec.controller_name.as_str());
            return Judgement::bad(
                kind,
                "WaitingForGateway",
                format!(
                    "Gateway {} ({class}) has not accepted the pool: it may not support InferencePools",
                    view.parent.name
                ),
            );
        };
        if let Some(bad) = refused(&entry.conditions) {
            return Judgement::bad(
                kind,
                "InferencePoolNotReady",
                format!(
                    "Gateway {}: {} {}",
                    view.parent.name, bad.reason, bad.message
                ),
            );
        }
    }
    Judgement::good(kind)
}

fn is_gateway(parent: &ParentRef, view: &GatewayView) -> bool {
    let namespaces = parent.namespace.is_none()
        || view.parent.namespace.is_none()
        || parent.namespace == view.parent.namespace;
    parent.name == view.parent.name && namespaces
}

fn picker(seen: &Observed<'_>) -> Judgement {
    let kind = "SchedulerWorkloadReady";
    let available = seen
        .picker
        .as_ref()
        .and_then(|picker| picker.status.as_ref())
        .map_or(0, |status| status.available_replicas);
    if available > 0 {
        return Judgement::good(kind);
    }
    Judgement::unknown(
        kind,
        "SchedulerNotReady",
        "no picker is ready; until one is, gateways send requests to any replica",
    )
    .failed(seen.picker.is_none())
}

impl Judgement {
    /// What is not even there is false, not unknown.
    fn failed(mut self, failed: bool) -> Self {
        if failed {
            self.status = "False";
        }
        self
    }
}
