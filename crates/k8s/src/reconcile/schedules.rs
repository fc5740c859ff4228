//! When does the clock change a service's replica count?

use anyhow::Context as _;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::service::{api, named};
use super::{Context, events};
use crate::desired::{Resolved, is_stopped};
use crate::schedule::{self, Line, Point, Verdict};
use crate::types::LlmInferenceService;

/// Name under which schedules change replica counts: who looks at the object's managed fields sees it was the clock.
const FIELD_MANAGER: &str = "prefixgate-schedule";

/// What the schedules of a service say now. A stopped service stays stopped.
pub(super) fn verdict(resolved: &Resolved, now: Timestamp) -> Verdict {
    if is_stopped(&resolved.service) {
        return Verdict::default();
    }
    let lines: Vec<_> = resolved
        .spec
        .schedules
        .iter()
        .filter_map(|line| Line::parse(line).ok())
        .collect();
    let status = resolved.service.status.as_ref();
    let applied = schedule::applied_at(status.and_then(|status| status.schedule.as_ref()));
    let startup = status.and_then(|status| status.startup.as_ref());
    schedule::verdict(&lines, applied, resolved.spec.replicas(), startup, now)
}

/// Sets the count, as somebody with kubectl would.
pub(super) async fn start(
    context: &Context,
    service: &LlmInferenceService,
    due: &Point,
) -> anyhow::Result<()> {
    let current = service.spec["replicas"].as_u64();
    if current == Some(u64::from(due.replicas)) {
        return Ok(());
    }
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"spec": {"replicas": due.replicas}}));
    api(context, service)
        .patch(&named(service), &parameters, &patch)
        .await
        .context("cannot set the replicas that a schedule asks for")?;
    events::scheduled(context, service, due).await;
    Ok(())
}
