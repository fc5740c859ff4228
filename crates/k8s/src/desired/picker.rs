//! What does the picker that runs beside other gateways consist of?

use serde_json::{Value, json};

use super::names::{self, Labels};
use super::pool::PICKER_PORT;
use super::{Facts, Owner, Resolved, Settings};
use crate::types::Scheduler;

const COMPONENT: &str = "llminferenceservice-router-scheduler";
/// Key of the ConfigMap that holds the configuration.
pub(super) const CONFIG_KEY: &str = "config.yaml";
/// Changes when the configuration does, so that pickers restart with it.
const CONFIG_HASH: &str = "prefixgate.dev/config-hash";
const CONFIG_DIR: &str = "/etc/prefixgate";

/// ConfigMap with the scheduler's configuration; read by the picker, and by our own gateway.
pub(super) fn scheduler_config(resolved: &Resolved, facts: &Facts, owner: &Owner) -> Option<Value> {
    let text = config_text(resolved, facts)?;
    Some(owner.object(
        "v1",
        "ConfigMap",
        &names::scheduler_config(&owner.name),
        &names::component(&owner.name, COMPONENT),
        json!({"data": {CONFIG_KEY: text}}),
    ))
}

/// The configuration that was asked for; none: the picker's default.
fn config_text(resolved: &Resolved, facts: &Facts) -> Option<String> {
    let config = resolved.spec.scheduler()?.config.as_ref()?;
    match &config.inline {
        Some(Value::String(text)) => Some(text.clone()),
        Some(inline) => serde_json::to_string_pretty(inline).ok(),
        None => facts.scheduler_config.clone(),
    }
}

/// Account, permissions, Deployment and Service.
pub(super) fn objects(
    resolved: &Resolved,
    settings: &Settings,
    facts: &Facts,
    owner: &Owner,
) -> Vec<Value> {
    let Some(scheduler) = resolved.spec.scheduler() else {
        return Vec::new();
    };
    let labels = names::component(&owner.name, COMPONENT);
    let mut all = permissions(owner, &labels);
    all.push(deployment(
        scheduler, resolved, settings, facts, owner, &labels,
    ));
    all.push(service(scheduler, owner, &labels));
    all
}

fn permissions(owner: &Owner, labels: &Labels) -> Vec<Value> {
    let account = names::picker_account(&owner.name);
    let role = names::picker_role(&owner.name);
    let read = json!(["get", "list", "watch"]);
    vec![
        owner.object("v1", "ServiceAccount", &account, labels, json!({})),
        owner.object(
            "rbac.authorization.k8s.io/v1",
            "Role",
            &role,
            labels,
            json!({"rules": [
                {"apiGroups": [""], "resources": ["pods"], "verbs": read},
                {"apiGroups": ["inference.networking.k8s.io"], "resources": ["inferencepools"], "verbs": read},
                {"apiGroups": ["llm-d.ai", "inference.networking.x-k8s.io"], "resources": ["inferenceobjectives", "inferencemodelrewrites"], "verbs": read},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
                {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "list", "watch", "create", "update", "patch"]},
                {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
            ]}),
        ),
        owner.object(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            &names::picker_binding(&owner.name),
            labels,
            json!({
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": owner.namespace}],
            }),
        ),
    ]
}

fn deployment(
    scheduler: &Scheduler,
    resolved: &Resolved,
    settings: &Settings,
    facts: &Facts,
    owner: &Owner,
    labels: &Labels,
) -> Value {
    let replicas = scheduler.replicas.unwrap_or(1);
    let config = config_text(resolved, facts);
    let mut pod = scheduler.template.clone().unwrap_or_else(|| json!({}));
    if pod["serviceAccountName"].is_null() {
        pod["serviceAccountName"] = json!(names::picker_account(&owner.name));
    }
    if config.is_some() {
        let volume = json!({"name": "scheduler-config", "configMap": {"name": names::scheduler_config(&owner.name)}});
        super::storage::push(&mut pod, "volumes", volume);
    }
    if let Some(main) = super::pod::main_mut(&mut pod) {
        container(main, owner, settings, replicas, config.is_some());
    }
    let mut pod_labels = scheduler.labels.clone();
    pod_labels.extend(labels.clone());
    let mut annotations = scheduler.annotations.clone();
    if let Some(config) = &config {
        annotations.insert(CONFIG_HASH.to_owned(), crate::desired::hash(config));
    }
    let mut metadata = json!({"labels": pod_labels});
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotations);
    }
    owner.object(
        "apps/v1",
        "Deployment",
        &names::picker(&owner.name),
        labels,
        json!({"spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            // A picker stands beside the one it replaces until it is ready: requests never go without.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": metadata, "spec": pod},
        }}),
    )
}

/// Image and command line where the manifest gives none of its own.
fn container(main: &mut Value, owner: &Owner, settings: &Settings, replicas: u32, config: bool) {
    if main["image"].is_null() {
        main["image"] = json!(settings.image);
    }
    if config {
        super::storage::push(
            main,
            "volumeMounts",
            json!({"name": "scheduler-config", "mountPath": CONFIG_DIR, "readOnly": true}),
        );
    }
    super::storage::push(
        main,
        "env",
        json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
    );
    super::storage::push(
        main,
        "env",
        json!({"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}),
    );
    if main["command"]
        .as_array()
        .is_some_and(|command| !command.is_empty())
    {
        return;
    }
    let mut args = vec!["epp".to_owned()];
    for (flag, value) in [
        ("--pool-name", names::pool(&owner.name)),
        ("--pool-namespace", owner.namespace.clone()),
        ("--grpc-port", PICKER_PORT.to_string()),
        ("--grpc-health-port", "9003".to_owned()),
        ("--metrics-port", "9090".to_owned()),
    ] {
        args.extend([flag.to_owned(), value]);
    }
    if config {
        args.extend([
            "--config-file".to_owned(),
            format!("{CONFIG_DIR}/{CONFIG_KEY}"),
        ]);
    }
    if replicas > 1 {
        args.push("--ha-enable-leader-election".to_owned());
    }
    args.extend(super::engine_command::strings(&main["args"]));
    main["args"] = json!(args);
}

/// A port for each of the container's that has one of the known names.
fn service(scheduler: &Scheduler, owner: &Owner, labels: &Labels) -> Value {
    let main = scheduler
        .template
        .as_ref()
        .map_or(&Value::Null, super::pod::main);
    let ports: Vec<_> = main["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|port| ["grpc", "grpc-health", "metrics", "zmq"].iter().any(|name| port["name"] == *name))
        .map(|port| {
            let mut exposed = json!({"name": port["name"], "port": port["containerPort"], "targetPort": port["containerPort"], "protocol": "TCP"});
            if port["name"] == "grpc" {
                exposed["appProtocol"] = json!("http2");
            }
            exposed
        })
        .collect();
    owner.object(
        "v1",
        "Service",
        &names::picker_service(&owner.name),
        labels,
        json!({"spec": {"type": "ClusterIP", "selector": labels, "ports": ports}}),
    )
}
