//! What do operators read in `kubectl describe`?

use kube::Client;
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use super::Context;
use crate::schedule::Point;
use crate::status::condition;
use crate::types::{LlmInferenceService, ServiceStatus};

/// Publishes Events; one that cannot be published is no reason to fail.
pub(crate) struct Events {
    recorder: Recorder,
}

impl Events {
    pub(crate) fn new(client: Client) -> Self {
        let reporter = Reporter {
            controller: "prefixgate-controller".to_owned(),
            instance: None,
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    async fn publish(
        &self,
        service: &LlmInferenceService,
        kind: EventType,
        reason: &str,
        note: String,
    ) {
        let event = Event {
            type_: kind,
            reason: reason.to_owned(),
            // The API server takes no more than a kilobyte.
            note: Some(note.chars().take(1000).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self
            .recorder
            .publish(&event, &service.object_ref(&()))
            .await
        {
            tracing::debug!("cannot publish an Event: {error}");
        }
    }
}

pub(super) async fn created(context: &Context, service: &LlmInferenceService, object: &str) {
    context
        .events
        .publish(
            service,
            EventType::Normal,
            "Created",
            format!("Created {object}"),
        )
        .await;
}

pub(super) async fn deleted(context: &Context, service: &LlmInferenceService, object: &str) {
    context
        .events
        .publish(
            service,
            EventType::Normal,
            "Deleted",
            format!("Deleted {object}"),
        )
        .await;
}

pub(super) async fn scheduled(context: &Context, service: &LlmInferenceService, due: &Point) {
    let note = format!(
        "schedule {}: {} replicas by {}",
        due.name, due.replicas, due.at
    );
    context
        .events
        .publish(service, EventType::Normal, "ScheduleApplied", note)
        .await;
}

/// Says when readiness or its reason turned.
pub(super) async fn turned(
    context: &Context,
    service: &LlmInferenceService,
    old: &ServiceStatus,
    new: &ServiceStatus,
) {
    let Some(ready) = condition(&new.conditions, "Ready") else {
        return;
    };
    let before = condition(&old.conditions, "Ready");
    if before.is_some_and(|before| before.status == ready.status && before.reason == ready.reason) {
        return;
    }
    if ready.status == "True" {
        context
            .events
            .publish(
                service,
                EventType::Normal,
                "LLMInferenceServiceReady",
                ready.message.clone(),
            )
            .await;
    } else {
        let routine = [
            "Creating",
            "WaitingForNode",
            "PullingImage",
            "DownloadingModel",
            "StartingEngine",
            "Compiling",
            "Stopped",
        ];
        let kind = if routine.contains(&ready.reason.as_str()) {
            EventType::Normal
        } else {
            EventType::Warning
        };
        let note = format!("{}: {}", ready.reason, ready.message);
        context
            .events
            .publish(service, kind, "LLMInferenceServiceNotReady", note)
            .await;
    }
}
