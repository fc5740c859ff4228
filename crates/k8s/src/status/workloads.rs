//! Do the engines run?

use super::conditions::Judgement;
use super::{Observed, Phase, PodView, condition};
use crate::desired::{Resolved, names};
use crate::types::{Condition, Deployment, ObjectName, WorkloadUse, WorkloadsStatus};

/// Deployments and Service of a service, as far as they exist.
pub(super) fn workloads(seen: &Observed<'_>, resolved: &Resolved) -> WorkloadsStatus {
    let name = resolved
        .service
        .metadata
        .name
        .as_deref()
        .unwrap_or_default();
    let usage = |deployment: &Option<Deployment>| {
        let deployment = deployment.as_ref()?;
        Some(WorkloadUse {
            kind: "Deployment".to_owned(),
            name: deployment.metadata.name.clone()?,
            ready_replicas: deployment
                .status
                .as_ref()
                .map_or(0, |status| status.ready_replicas),
        })
    };
    WorkloadsStatus {
        primary: usage(&seen.deployment),
        prefill: usage(&seen.prefill),
        scheduler: usage(&seen.picker),
        service: Some(ObjectName {
            name: names::workload_service(name),
            kind: Some("Service".to_owned()),
            ..ObjectName::default()
        }),
    }
}

/// Enough replicas serve.
pub(super) fn main_ready(
    seen: &Observed<'_>,
    resolved: &Resolved,
    views: &[PodView],
    before: &[Condition],
) -> Judgement {
    let kind = "MainWorkloadReady";
    let Some(deployment) = &seen.deployment else {
        return Judgement::bad(kind, "Creating", "the Deployment is not there yet");
    };
    let wanted = match resolved.spec.workload.scaling {
        Some(_) => deployment.spec.replicas.unwrap_or(1),
        None => resolved.spec.replicas(),
    };
    let ready = u32::try_from(
        views
            .iter()
            .filter(|view| view.phase == Phase::Ready)
            .count(),
    )
    .unwrap_or(u32::MAX);
    if wanted == 0 {
        return Judgement::good(kind).with(
            "ScaledToZero",
            "no replicas are asked for; requests are refused",
        );
    }
    if ready >= wanted {
        return Judgement::good(kind);
    }
    let counted = format!("{ready} of {wanted} replicas are ready");
    let waits = waits_for(views, seen);
    // One away is what a rolling update does; it does not take a running service down.
    let was_ready = condition(before, kind).is_some_and(|before| before.status == "True");
    if was_ready && ready >= 1 && ready + 1 >= wanted {
        let (reason, message) = waits.unwrap_or(("RollingOut", "one is being replaced".to_owned()));
        return Judgement::good(kind).with(reason, format!("{counted}: {message}"));
    }
    if !seen.missing_secrets.is_empty() && ready == 0 {
        return Judgement::bad(kind, "SecretMissing", missing_secrets(seen));
    }
    match waits {
        Some((reason, message)) => Judgement::bad(kind, reason, format!("{counted}: {message}")),
        None => Judgement::bad(
            kind,
            "Creating",
            format!(
                "{counted}: pods are being created{}",
                replica_failure(deployment)
            ),
        ),
    }
}

fn missing_secrets(seen: &Observed<'_>) -> String {
    let namespace = seen
        .service
        .metadata
        .namespace
        .as_deref()
        .unwrap_or_default();
    format!(
        "namespace {namespace} has no Secret {}: create it there, pods cannot start without",
        seen.missing_secrets.join(", ")
    )
}

/// The first problem of any pod, else the phase of the one furthest behind.
fn waits_for(views: &[PodView], seen: &Observed<'_>) -> Option<(&'static str, String)> {
    let unready = || {
        views
            .iter()
            .filter(|view| !matches!(view.phase, Phase::Ready | Phase::Draining))
    };
    if let Some((reason, message)) = unready().find_map(|view| view.problem.clone()) {
        return Some((reason, message));
    }
    let behind = unready().min_by_key(|view| view.phase)?;
    let elapsed = behind
        .since
        .map(|since| format!(" for {} s", seen.now.duration_since(since).as_secs().max(0)));
    let doing = match behind.phase {
        Phase::Node => "waits for a node",
        Phase::ImagePull => "pulls its image",
        Phase::ModelDownload => "downloads the model",
        Phase::AcceleratorStart => "starts the engine and its accelerator",
        Phase::Compile => "compiles",
        Phase::Ready | Phase::Draining => "waits",
    };
    let reason = match behind.phase {
        Phase::Node => "WaitingForNode",
        Phase::ImagePull => "PullingImage",
        Phase::ModelDownload => "DownloadingModel",
        Phase::AcceleratorStart => "StartingEngine",
        _ => "Compiling",
    };
    Some((
        reason,
        format!("{} {doing}{}", behind.pod, elapsed.unwrap_or_default()),
    ))
}

/// Pods that could not even be made, for a quota or a webhook.
fn replica_failure(deployment: &Deployment) -> String {
    let conditions = deployment
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    condition(conditions, "ReplicaFailure")
        .filter(|failure| failure.status == "True")
        .map(|failure| format!("; {}", failure.message))
        .unwrap_or_default()
}

/// The prefill Deployment is available.
pub(super) fn prefill_ready(seen: &Observed<'_>) -> Option<Judgement> {
    let prefill = seen.prefill.as_ref()?;
    let ready = prefill
        .status
        .as_ref()
        .map_or(0, |status| status.ready_replicas);
    let wanted = prefill.spec.replicas.unwrap_or(1);
    let kind = "PrefillWorkloadReady";
    Some(if ready >= wanted {
        Judgement::good(kind)
    } else {
        Judgement::bad(
            kind,
            "PrefillNotReady",
            format!("{ready} of {wanted} prefill replicas are ready"),
        )
    })
}
