//! What is in the template of an engine's pod?

use serde_json::{Value, json};

use super::names::{Labels, SERVICE_LABEL};
use super::{Resolved, Settings, engine_command, probes, storage};
use crate::types::Workload;

/// Seconds an engine has to end its requests, when its template does not say.
const GRACE_S: u64 = 60;
/// Seconds between the last request's end and the kill.
const LAST_MOMENT_S: u64 = 5;

/// The engine's container.
pub(crate) fn main(template: &Value) -> &Value {
    template["containers"]
        .as_array()
        .and_then(|all| all.iter().find(|container| container["name"] == "main"))
        .unwrap_or(&Value::Null)
}

/// The engine's container.
pub(super) fn main_mut(template: &mut Value) -> Option<&mut Value> {
    template["containers"]
        .as_array_mut()?
        .iter_mut()
        .find(|container| container["name"] == "main")
}

/// Pod template of a workload: what the merged template says, with storage, command line, probes and labels.
pub(super) fn template(
    resolved: &Resolved,
    workload: &Workload,
    selector: &Labels,
    settings: &Settings,
) -> Value {
    let mut template = workload.template.clone().unwrap_or_else(|| json!({}));
    let model = storage::apply(&mut template, resolved, settings);
    let keep_delays = super::annotation(&resolved.service, probes::KEEP_DELAYS) == Some("true");
    let shutdown_s = shutdown_timeout_s(&template);
    let tensor = workload.parallelism.as_ref().and_then(|all| all.tensor);
    let tls = uses_tls(&template);
    if tls {
        mount_certificate(&mut template, resolved);
    }
    if let Some(main) = main_mut(&mut template) {
        engine_command::apply(main, resolved, tensor, shutdown_s, &model);
        probes::apply(main, tls, keep_delays);
    }
    let name = resolved
        .service
        .metadata
        .name
        .as_deref()
        .unwrap_or_default();
    let mut labels = workload.labels.clone();
    labels.extend(selector.clone());
    labels.insert(SERVICE_LABEL.to_owned(), name.to_owned());
    let mut metadata = json!({"labels": labels});
    if !workload.annotations.is_empty() {
        metadata["annotations"] = json!(workload.annotations);
    }
    json!({"metadata": metadata, "spec": template})
}

/// The engine is told to serve with a certificate.
pub(crate) fn uses_tls(template: &Value) -> bool {
    engine_command::has_flag(&engine_command::words(main(template)), "--ssl-certfile")
}

fn mount_certificate(template: &mut Value, resolved: &Resolved) {
    let name = resolved
        .service
        .metadata
        .name
        .as_deref()
        .unwrap_or_default();
    let secret = super::names::certificate(name);
    storage::push(
        template,
        "volumes",
        json!({"name": "tls-certs", "secret": {"secretName": secret}}),
    );
    if let Some(main) = main_mut(template) {
        storage::push(
            main,
            "volumeMounts",
            json!({"name": "tls-certs", "mountPath": "/var/run/kserve/tls", "readOnly": true}),
        );
    }
}

/// `max(0, grace - preStop - min(5, grace))`, the rule of KServe's preset: what is left for requests to end after the
/// pause and before the kill.
fn shutdown_timeout_s(template: &Value) -> u64 {
    let grace_s = template["terminationGracePeriodSeconds"]
        .as_u64()
        .unwrap_or(GRACE_S);
    let pre_stop = &main(template)["lifecycle"]["preStop"];
    let pause_s = pre_stop["sleep"]["seconds"].as_u64().unwrap_or_default();
    grace_s
        .saturating_sub(pause_s)
        .saturating_sub(LAST_MOMENT_S.min(grace_s))
}
