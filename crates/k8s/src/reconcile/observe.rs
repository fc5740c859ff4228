//! What is there of a service?
//!
//! From the views where they hold it; logs, events and secrets are asked for only while something is wrong.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use kube::Api;
use kube::api::{ListParams, LogParams};
use serde_json::Value;

use super::Context;
use super::queue::Key;
use crate::desired::{
    self, Dialect, Facts, GroupMember, ResolveError, Resolved, annotation, names,
};
use crate::lint::Finding;
use crate::schedule::Verdict;
use crate::status::{GatewayView, Observed};
use crate::types::{LlmInferenceService, ParentRef, WorkloadPod};

/// Pods whose logs and events are read in one look.
const MOST_ASKED: usize = 4;
const LOG_LINES: i64 = 40;

/// What of the cluster decides how objects look.
pub(super) async fn facts(context: &Context, resolved: &Resolved) -> Facts {
    let gateways = gateways(context, resolved)
        .into_iter()
        .map(|view| {
            let dialect = view
                .class
                .as_ref()
                .map(|class| Dialect::of(&class.spec.controller_name));
            (view.parent, dialect.unwrap_or_default())
        })
        .collect();
    Facts {
        gateways,
        kinds: context.kinds.known(),
        scheduler_config: scheduler_config(context, resolved).await,
        spare_node: annotation(&resolved.service, "prefixgate.dev/spare-node") == Some("true"),
        group: group(context, resolved),
    }
}

/// Text of the ConfigMap that the manifest names.
async fn scheduler_config(context: &Context, resolved: &Resolved) -> Option<String> {
    let reference = resolved
        .spec
        .scheduler()?
        .config
        .as_ref()?
        .reference
        .as_ref()?;
    let namespace = resolved
        .service
        .metadata
        .namespace
        .as_deref()
        .unwrap_or_default();
    let api = Api::<core::ConfigMap>::namespaced(context.client.clone(), namespace);
    let map = api.get_opt(&reference.name).await.ok().flatten()?;
    map.data?.remove(reference.key.as_deref().unwrap_or("epp"))
}

/// Services of the same routing group that run, by name.
fn group(context: &Context, resolved: &Resolved) -> Vec<GroupMember> {
    let namespace = resolved.service.metadata.namespace.as_deref();
    let group_of = |service: &LlmInferenceService| {
        service.spec["router"]["route"]["group"]
            .as_str()
            .map(str::to_owned)
    };
    let Some(group) = resolved
        .spec
        .router
        .as_ref()
        .and_then(|router| router.route.as_ref()?.group.clone())
    else {
        return Vec::new();
    };
    let mut members: Vec<_> = context
        .views
        .services
        .all()
        .iter()
        .filter(|service| service.metadata.namespace.as_deref() == namespace)
        .filter(|service| group_of(service).as_ref() == Some(&group))
        // Left out instead of weighed zero: some gateways leak requests to weight 0.
        .filter(|service| {
            !desired::is_stopped(service) && service.metadata.deletion_timestamp.is_none()
        })
        .map(|service| GroupMember {
            name: service.metadata.name.clone().unwrap_or_default(),
            weight: service.spec["router"]["route"]["weight"]
                .as_u64()
                .and_then(|weight| u32::try_from(weight).ok())
                .unwrap_or(1),
            scheduled: service.spec["router"]["scheduler"].is_object(),
        })
        .collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    members
}

fn gateways(context: &Context, resolved: &Resolved) -> Vec<GatewayView> {
    let own = resolved
        .service
        .metadata
        .namespace
        .clone()
        .unwrap_or_default();
    desired::gateways(resolved, &context.options.settings)
        .into_iter()
        .map(|parent: ParentRef| {
            let namespace = parent.namespace.as_deref().unwrap_or(&own);
            let gateway = context.views.gateways.get(namespace, &parent.name);
            let class = gateway.as_ref().and_then(|gateway| {
                context
                    .views
                    .classes
                    .get("", &gateway.spec.gateway_class_name)
            });
            GatewayView {
                parent,
                gateway: gateway.as_deref().cloned(),
                class: class.as_deref().cloned(),
            }
        })
        .collect()
}

/// Whether engines of a service are still there.
pub(super) fn has_pods(context: &Context, key: &Key) -> bool {
    !pods(context, key).is_empty()
}

/// Engines of a service, by name; those that ended for good are not counted.
fn pods(context: &Context, key: &Key) -> Vec<WorkloadPod> {
    let selector = names::pods_selector(&key.name);
    let mut pods: Vec<_> = context
        .views
        .pods
        .all()
        .iter()
        .filter(|pod| pod.metadata.namespace.as_deref() == Some(key.namespace.as_str()))
        .filter(|pod| {
            let labels = pod.metadata.labels.as_ref();
            selector
                .iter()
                .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
        })
        .filter(|pod| !matches!(pod.status.phase.as_str(), "Succeeded" | "Failed"))
        .map(|pod| (**pod).clone())
        .collect();
    pods.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    pods
}

/// Everything the status is made from.
#[allow(
    clippy::too_many_arguments,
    reason = "each is a finished part of the look"
)]
pub(super) async fn observed<'a>(
    context: &'a Context,
    service: &'a LlmInferenceService,
    resolved: &'a Result<Resolved, ResolveError>,
    facts: &'a Facts,
    findings: &'a [Finding],
    refused: Vec<(String, String)>,
    verdict: &'a Verdict,
    now: Timestamp,
) -> Observed<'a> {
    let key = super::apply::named(service);
    let deployment = |name: String| {
        context
            .views
            .deployments
            .get(&key.namespace, &name)
            .as_deref()
            .cloned()
    };
    let pods = pods(context, &key);
    let waiting = pods
        .iter()
        .filter(|pod| !pod.is_ready() && pod.metadata.deletion_timestamp.is_none())
        .take(MOST_ASKED);
    let (mut logs, mut events) = (BTreeMap::new(), BTreeMap::new());
    for pod in waiting {
        let name = pod.metadata.name.clone().unwrap_or_default();
        if let Some(log) = log(context, &key, pod).await {
            logs.insert(name, log);
        } else if pod
            .condition("PodScheduled")
            .is_some_and(|scheduled| scheduled.status == "False")
        {
            events.insert(name.clone(), warnings(context, &key, &name).await);
        }
    }
    let settled = pods.iter().all(WorkloadPod::is_ready) && !pods.is_empty();
    let missing_secrets = match resolved {
        Ok(resolved) if !settled => missing_secrets(context, resolved, &key).await,
        _ => Vec::new(),
    };
    let pool = resolved.as_ref().map(desired::pool_name).ok();
    Observed {
        service,
        resolved: resolved.as_ref(),
        settings: &context.options.settings,
        facts,
        gateways: resolved
            .as_ref()
            .map(|resolved| gateways(context, resolved))
            .unwrap_or_default(),
        route: context
            .views
            .routes
            .get(&key.namespace, &names::route(&key.name))
            .as_deref()
            .cloned(),
        pool: pool.and_then(|pool| {
            context
                .views
                .pools
                .get(&key.namespace, &pool)
                .as_deref()
                .cloned()
        }),
        deployment: deployment(names::child(&key.name, names::Role::Both.suffix())),
        prefill: deployment(names::child(&key.name, names::Role::Prefill.suffix())),
        picker: deployment(names::picker(&key.name)),
        pods,
        logs,
        events,
        missing_secrets,
        refused,
        findings,
        verdict,
        now,
    }
}

/// The last lines of an engine that is starting; of the one before, when it is waiting to start again.
async fn log(context: &Context, key: &Key, pod: &WorkloadPod) -> Option<String> {
    let main = pod.main()?;
    let previous = main.state.running.is_none() && main.restart_count > 0;
    let said = main
        .last_state
        .terminated
        .as_ref()
        .or(main.state.terminated.as_ref())
        .is_some_and(|ended| !ended.message.trim().is_empty());
    if main.state.running.is_none() && (said || !previous) {
        return None;
    }
    let parameters = LogParams {
        container: Some("main".to_owned()),
        tail_lines: Some(LOG_LINES),
        limit_bytes: Some(16_384),
        previous,
        ..LogParams::default()
    };
    let api = Api::<core::Pod>::namespaced(context.client.clone(), &key.namespace);
    api.logs(pod.metadata.name.as_deref()?, &parameters)
        .await
        .ok()
}

async fn warnings(context: &Context, key: &Key, pod: &str) -> Vec<String> {
    let api = Api::<core::Event>::namespaced(context.client.clone(), &key.namespace);
    let parameters = ListParams::default()
        .fields(&format!("involvedObject.name={pod}"))
        .limit(20);
    let events = api
        .list(&parameters)
        .await
        .map(|list| list.items)
        .unwrap_or_default();
    events
        .into_iter()
        .filter(|event| event.involved_object.name.as_deref() == Some(pod))
        .filter_map(|event| Some(format!("{}: {}", event.reason?, event.message?)))
        .collect()
}

/// Secrets that pods cannot start without and that the namespace does not have.
async fn missing_secrets(context: &Context, resolved: &Resolved, key: &Key) -> Vec<String> {
    let Some(template) = &resolved.spec.workload.template else {
        return Vec::new();
    };
    let api = Api::<core::Secret>::namespaced(context.client.clone(), &key.namespace);
    let mut missing = Vec::new();
    for name in secrets(template) {
        // What may not be asked is not said to be missing.
        if matches!(api.get_metadata_opt(&name).await, Ok(None)) {
            missing.push(name);
        }
    }
    missing
}

/// Names of the Secrets a pod template needs.
pub(crate) fn secrets(template: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut add = |reference: &Value, field: &str| {
        if reference["optional"] != true
            && let Some(name) = reference[field].as_str()
        {
            found.insert(name.to_owned());
        }
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for reference in list(&template["imagePullSecrets"]) {
        add(&reference, "name");
    }
    for volume in list(&template["volumes"]) {
        add(&volume["secret"], "secretName");
    }
    for container in list(&template["containers"])
        .iter()
        .chain(&list(&template["initContainers"]))
    {
        for variable in list(&container["env"]) {
            add(&variable["valueFrom"]["secretKeyRef"], "name");
        }
        for source in list(&container["envFrom"]) {
            add(&source["secretRef"], "name");
        }
    }
    found
}
