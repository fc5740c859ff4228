//! What is true of a service, and what can its operator do about it?
//!
//! Pure: what was seen in, the status out. Whatever is not ready says what it waits for.

mod conditions;
mod last_words;
mod pods;
mod routing;
mod url;
mod workloads;

#[cfg(test)]
mod status_test;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::desired::{Facts, ResolveError, Resolved, Settings, names};
use crate::lint::Finding;
use crate::schedule::Verdict;
use crate::types::{
    Condition, Deployment, EndpointsStatus, Gateway, GatewayClass, HttpRoute, InferencePool,
    LlmInferenceService, ParentRef, PhaseStatus, ScheduleStatus, ServiceStatus, StartupStatus,
    WorkloadPod,
};
pub use pods::{Phase, PodView, view as pod_view};

/// A gateway the service goes through, as far as it exists.
#[derive(Clone, Debug, Default)]
pub struct GatewayView {
    pub parent: ParentRef,
    pub gateway: Option<Gateway>,
    pub class: Option<GatewayClass>,
}

/// Everything seen of a service.
pub struct Observed<'a> {
    pub service: &'a LlmInferenceService,
    pub resolved: Result<&'a Resolved, &'a ResolveError>,
    pub settings: &'a Settings,
    pub facts: &'a Facts,
    pub gateways: Vec<GatewayView>,
    pub route: Option<HttpRoute>,
    pub pool: Option<InferencePool>,
    pub deployment: Option<Deployment>,
    pub prefill: Option<Deployment>,
    pub picker: Option<Deployment>,
    pub pods: Vec<WorkloadPod>,
    /// Last lines of engines that are starting or died, by pod.
    pub logs: BTreeMap<String, String>,
    /// Messages of warnings about pods that have no node, by pod.
    pub events: BTreeMap<String, Vec<String>>,
    /// Secrets that the pods name and the namespace does not have.
    pub missing_secrets: Vec<String>,
    /// Objects the API server refused, and why.
    pub refused: Vec<(String, String)>,
    pub findings: &'a [Finding],
    pub verdict: &'a Verdict,
    pub now: Timestamp,
}

/// What is said about a service.
pub fn status(seen: &Observed<'_>) -> ServiceStatus {
    let before = seen.service.status.clone().unwrap_or_default();
    let views: Vec<_> = seen.pods.iter().map(|pod| pods::view(pod, seen)).collect();
    let mut status = ServiceStatus {
        observed_generation: seen.service.metadata.generation,
        applied_configs: seen
            .resolved
            .map(|resolved| resolved.applied.clone())
            .unwrap_or_default(),
        annotations: before.annotations.clone(),
        selector: selector(seen),
        replicas: u32::try_from(seen.pods.len()).unwrap_or(u32::MAX),
        ready_replicas: u32::try_from(
            views
                .iter()
                .filter(|view| view.phase == Phase::Ready)
                .count(),
        )
        .unwrap_or(u32::MAX),
        endpoints: Some(endpoints(&views)),
        startup: startup(&before, seen),
        schedule: schedule(&before, seen),
        ..ServiceStatus::default()
    };
    let stopped = crate::desired::is_stopped(seen.service);
    if !stopped && let Ok(resolved) = seen.resolved {
        status.workloads = Some(workloads::workloads(seen, resolved));
        status.router = routing::router(seen, resolved);
        status.addresses = url::addresses(seen, resolved);
        status.url = url::preferred(&status.addresses);
    }
    status.phase = Some(phase(&views, &before, seen, stopped));
    status.conditions = conditions::conditions(seen, &views, &before.conditions, stopped);
    status
}

fn selector(seen: &Observed<'_>) -> String {
    let name = seen.service.metadata.name.as_deref().unwrap_or_default();
    let labels: Vec<_> = names::pods_selector(name)
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    labels.join(",")
}

fn endpoints(views: &[PodView]) -> EndpointsStatus {
    let (ready, unready) = views
        .iter()
        .partition::<Vec<_>, _>(|view| view.phase == Phase::Ready);
    let list = |views: Vec<&PodView>| views.into_iter().map(PodView::to_status).collect();
    EndpointsStatus {
        ready: list(ready),
        unready: list(unready),
    }
}

/// How far the pod that is furthest behind has come.
fn phase(
    views: &[PodView],
    before: &ServiceStatus,
    seen: &Observed<'_>,
    stopped: bool,
) -> PhaseStatus {
    let behind = views
        .iter()
        .filter(|view| view.phase != Phase::Draining)
        .min_by_key(|view| (view.phase, view.since));
    let draining = views.iter().any(|view| view.phase == Phase::Draining);
    let (name, since) = match behind {
        _ if stopped && draining => (Phase::Draining.name(), None),
        _ if stopped => ("Stopped", None),
        _ if seen.resolved.is_err() => ("Failed", None),
        Some(view) => (view.phase.name(), view.since),
        None if draining => (Phase::Draining.name(), None),
        None if seen
            .resolved
            .is_ok_and(|resolved| resolved.spec.replicas() == 0) =>
        {
            ("ScaledToZero", None)
        }
        None => (Phase::Node.name(), None),
    };
    let kept = before
        .phase
        .as_ref()
        .filter(|phase| phase.name == name)
        .and_then(|phase| phase.since.parse().ok());
    let since = since.or(kept).unwrap_or(seen.now);
    // In a lasting phase the seconds would change with every look and say nothing.
    let lasting = matches!(name, "Ready" | "Stopped" | "ScaledToZero");
    PhaseStatus {
        name: name.to_owned(),
        since: since.to_string(),
        elapsed_seconds: if lasting {
            0
        } else {
            seen.now.duration_since(since).as_secs().max(0)
        },
    }
}

/// Takes one newly ready pod a look into account.
fn startup(before: &ServiceStatus, seen: &Observed<'_>) -> Option<StartupStatus> {
    let known = before.startup.as_ref();
    let newest = seen
        .pods
        .iter()
        .filter_map(|pod| {
            let created = pod.metadata.creation_timestamp.as_ref()?.0;
            let ready: Timestamp = pod
                .condition("Ready")
                .filter(|ready| ready.status == "True")?
                .last_transition_time
                .parse()
                .ok()?;
            // A pod that was ready before and came back says nothing about starting.
            let restarted = pod.main().is_some_and(|main| main.restart_count > 0);
            (!restarted).then_some((created, ready, pod.metadata.name.as_deref()?))
        })
        .max();
    let Some((created, ready, name)) = newest else {
        return known.cloned();
    };
    if known.is_some_and(|known| known.last_pod.as_deref() == Some(name)) {
        return known.cloned();
    }
    Some(crate::schedule::learn(
        known,
        name,
        ready.duration_since(created).as_secs(),
    ))
}

fn schedule(before: &ServiceStatus, seen: &Observed<'_>) -> Option<ScheduleStatus> {
    let last = match &seen.verdict.due {
        Some(due) => Some(due.to_status()),
        None => before
            .schedule
            .as_ref()
            .and_then(|schedule| schedule.last.clone()),
    };
    let next = seen
        .verdict
        .next
        .as_ref()
        .map(crate::schedule::Point::to_status);
    (last.is_some() || next.is_some()).then_some(ScheduleStatus { last, next })
}

/// A time as conditions hold it: RFC 3339, whole seconds.
pub fn now_text(now: Timestamp) -> String {
    conditions::seconds(now)
}

/// A condition by its type.
pub fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}
