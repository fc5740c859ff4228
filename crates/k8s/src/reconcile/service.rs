//! What is done about one service?

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::apply::{Outcome, apply, delete, recorded};
use super::queue::Key;
use super::{Claim, Context, RESYNC, events, jittered, observe, schedules};
use crate::desired::{self, Facts, Presets, Resolved, annotation, names};
use crate::lint::{self, Finding};
use crate::schedule::Verdict;
use crate::status;
use crate::types::{LlmInferenceService, ServiceStatus};

/// A service that is not where it should be is looked at this often.
const WATCHFUL: Duration = Duration::from_secs(10);
/// `status.annotations`: objects applied, so that those no longer wanted are found after a restart.
const OBJECTS: &str = "prefixgate.dev/objects";
/// Left by KServe's controller.
const KSERVE_FINALIZER: &str = "serving.kserve.io/llmisvc-finalizer";

/// Looks at a service whole. Says when to look again.
///
/// # Errors
/// The API server cannot be reached, conflicts, or refuses in a way that may pass.
pub(super) async fn reconcile(
    context: &Arc<Context>,
    key: &Key,
) -> anyhow::Result<Option<Duration>> {
    let Some(service) = context.views.services.get(&key.namespace, &key.name) else {
        super::apply::forget(context, key);
        return Ok(None);
    };
    if !is_ours(context, &service) {
        return Ok(None);
    }
    if service.metadata.deletion_timestamp.is_some() {
        release(context, &service).await?;
        return Ok(None);
    }
    let settings = &context.options.settings;
    let presets = Presets {
        configs: context
            .views
            .configs
            .all()
            .iter()
            .map(|config| {
                let metadata = &config.metadata;
                let name = (
                    metadata.namespace.clone().unwrap_or_default(),
                    metadata.name.clone().unwrap_or_default(),
                );
                (name, config.spec.clone())
            })
            .collect(),
    };
    let mut resolved = desired::resolve(&service, &presets, settings);
    let now = Timestamp::now();
    let verdict = resolved
        .as_ref()
        .map(|resolved| schedules::verdict(resolved, now))
        .unwrap_or_default();
    if let Some(due) = &verdict.due {
        schedules::start(context, &service, due).await?;
        if let Ok(resolved) = &mut resolved {
            resolved.spec.workload.replicas = Some(due.replicas);
        }
    }
    let facts = match &resolved {
        Ok(resolved) => observe::facts(context, resolved).await,
        Err(_) => Facts::default(),
    };
    let findings = resolved.as_ref().map(lint::findings).unwrap_or_default();
    let mut service_now = (*service).clone();
    let mut refused = Vec::new();
    if let Ok(resolved) = &resolved {
        refused = carry_out(context, resolved, &facts, &findings, &mut service_now).await?;
    }
    let seen = observe::observed(
        context,
        &service_now,
        &resolved,
        &facts,
        &findings,
        refused,
        &verdict,
        now,
    )
    .await;
    let status = status::status(&seen);
    write_status(context, &service, &status).await?;
    Ok(Some(again(&status, &verdict, now)))
}

/// A class or annotation says who reconciles; without one, KServe's own controller goes first where it is installed.
fn is_ours(context: &Context, service: &LlmInferenceService) -> bool {
    match annotation(service, names::CONTROLLER) {
        Some(who) => who == "prefixgate",
        None => match context.options.claim {
            Claim::Annotated => false,
            Claim::Unclaimed => true,
            Claim::Auto => !context.kinds.kserve_installed(),
        },
    }
}

/// Applies what is wanted and deletes what no longer is. Says what was refused.
async fn carry_out(
    context: &Arc<Context>,
    resolved: &Resolved,
    facts: &Facts,
    findings: &[Finding],
    service: &mut LlmInferenceService,
) -> anyhow::Result<Vec<(String, String)>> {
    let key = super::apply::named(service);
    let uid = service.metadata.uid.clone().unwrap_or_default();
    let wanted = desired::desired(resolved, &context.options.settings, facts).objects;
    let before = objects_of(service);
    if desired::is_stopped(service) && observe::has_pods(context, &key) {
        drain(context, resolved, facts).await?;
        return Ok(Vec::new());
    }
    if !desired::is_stopped(service) {
        super::certificate::provide(context, resolved, &key).await?;
    }
    let rolled_out = !findings.iter().any(|finding| finding.fatal);
    let mut refused = Vec::new();
    let mut kept = BTreeSet::new();
    for object in &wanted {
        let name = recorded(object);
        kept.insert(name.clone());
        if !rolled_out && object["kind"] == "Deployment" && name.ends_with("-kserve") {
            continue;
        }
        match apply(context, object).await? {
            Outcome::Applied if !before.contains(&name) => {
                events::created(context, service, &name).await;
            }
            Outcome::Applied | Outcome::Unchanged => {}
            Outcome::Foreign(whose) => refused.push((name, format!("left alone: {whose}"))),
            Outcome::Refused(why) => refused.push((name, why)),
        }
    }
    for gone in before.difference(&kept) {
        if delete(context, &uid, &key.namespace, gone).await? {
            events::deleted(context, service, gone).await;
        }
    }
    remember(service, &kept);
    Ok(refused)
}

/// Takes the replicas away while route, pool and picker stay, so that requests that run can end.
async fn drain(context: &Context, resolved: &Resolved, facts: &Facts) -> anyhow::Result<()> {
    let mut running = resolved.clone();
    if let Some(annotations) = &mut running.service.metadata.annotations {
        annotations.remove(names::STOP);
    }
    for mut object in desired::desired(&running, &context.options.settings, facts).objects {
        let engine =
            object["spec"]["template"]["metadata"]["labels"]["kserve.io/component"] == "workload";
        if object["kind"] == "Deployment" && engine {
            object["spec"]["replicas"] = json!(0);
            apply(context, &object).await?;
        }
    }
    Ok(())
}

fn objects_of(service: &LlmInferenceService) -> BTreeSet<String> {
    let recorded = service
        .status
        .as_ref()
        .and_then(|status| status.annotations.get(OBJECTS));
    recorded
        .map(|all| {
            all.split(',')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect()
        })
        .unwrap_or_default()
}

fn remember(service: &mut LlmInferenceService, objects: &BTreeSet<String>) {
    let status = service.status.get_or_insert_default();
    let list = objects
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(",");
    status.annotations.insert(OBJECTS.to_owned(), list);
}

/// Children go with their owner; what KServe's controller left to itself on a service that is now ours is let go.
async fn release(context: &Context, service: &LlmInferenceService) -> anyhow::Result<()> {
    let finalizers = service.metadata.finalizers.clone().unwrap_or_default();
    let explicitly = annotation(service, names::CONTROLLER) == Some("prefixgate");
    if explicitly
        && finalizers
            .iter()
            .any(|finalizer| finalizer == KSERVE_FINALIZER)
    {
        let rest: Vec<_> = finalizers
            .into_iter()
            .filter(|finalizer| finalizer != KSERVE_FINALIZER)
            .collect();
        let patch = json!({"metadata": {"finalizers": rest, "resourceVersion": service.metadata.resource_version}});
        api(context, service)
            .patch(
                &named(service),
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await
            .context("cannot let the service go")?;
    }
    Ok(())
}

/// Writes the status when it says something new.
async fn write_status(
    context: &Context,
    service: &LlmInferenceService,
    status: &ServiceStatus,
) -> anyhow::Result<()> {
    let old = service.status.clone().unwrap_or_default();
    if !worth_writing(&old, status) {
        return Ok(());
    }
    events::turned(context, service, &old, status).await;
    let new = serde_json::to_value(status)?;
    let mut patch = new.clone();
    remove_absent(&serde_json::to_value(&old)?, &mut patch);
    let patch = json!({"status": patch});
    let written = api(context, service)
        .patch_status(
            &named(service),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await;
    match written {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(gone)) if gone.code == 404 => Ok(()),
        Err(error) => Err(error).context("cannot write the status"),
    }
}

/// In a merge patch a field that is no longer there has to be said so.
fn remove_absent(old: &Value, new: &mut Value) {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return;
    };
    for (key, value) in old {
        match new.get_mut(key) {
            Some(inner) => remove_absent(value, inner),
            None => {
                new.insert(key.clone(), Value::Null);
            }
        }
    }
}

/// Elapsed seconds alone are worth a write every ten of them.
fn worth_writing(old: &ServiceStatus, new: &ServiceStatus) -> bool {
    let plain = |status: &ServiceStatus| {
        let mut status = status.clone();
        if let Some(phase) = &mut status.phase {
            phase.elapsed_seconds /= 10;
        }
        for condition in &mut status.conditions {
            // "… for 12 s": the phase says it too.
            if let Some(at) = condition.message.rfind(" for ") {
                condition.message.truncate(at);
            }
        }
        status
    };
    plain(old) != plain(new)
}

fn again(status: &ServiceStatus, verdict: &Verdict, now: Timestamp) -> Duration {
    let ready =
        status::condition(&status.conditions, "Ready").is_some_and(|ready| ready.status == "True");
    let settled = ready
        && status
            .endpoints
            .as_ref()
            .is_none_or(|endpoints| endpoints.unready.is_empty());
    let stopped = status
        .phase
        .as_ref()
        .is_some_and(|phase| phase.name == "Stopped");
    let mut wait = if settled || stopped {
        jittered(RESYNC)
    } else {
        jittered(WATCHFUL)
    };
    if let Some(next) = &verdict.next {
        let until = next
            .start_at
            .duration_since(now)
            .as_secs()
            .max(0)
            .unsigned_abs();
        // A clock that was set is noticed within the resync.
        wait = wait.min(Duration::from_secs(until) + Duration::from_millis(100));
    }
    wait
}

pub(super) fn api(context: &Context, service: &LlmInferenceService) -> Api<LlmInferenceService> {
    Api::namespaced(
        context.client.clone(),
        service.metadata.namespace.as_deref().unwrap_or_default(),
    )
}

pub(super) fn named(service: &LlmInferenceService) -> String {
    service.metadata.name.clone().unwrap_or_default()
}
