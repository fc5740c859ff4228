//! Which objects does a Gateway of our class need?

use serde_json::{Value, json};

use super::Settings;
use super::names::{self, Labels};
use crate::types::Gateway;

/// ClusterRole of every gateway's account, shipped with the controller.
pub const GATEWAY_ROLE: &str = "prefixgate-gateway";

/// Name of the Deployment, Service and account of a gateway.
pub fn name(gateway: &str) -> String {
    names::child(gateway, "-prefixgate")
}

/// Name of the ClusterRoleBinding, which no namespaced object can own.
pub fn binding_name(namespace: &str, gateway: &str) -> String {
    format!("prefixgate-gateway:{namespace}:{gateway}")
}

/// Account, permission, Deployment and Service of a gateway; none when it runs elsewhere.
pub fn objects(gateway: &Gateway, settings: &Settings) -> Vec<Value> {
    if settings.gateway_address.is_some() {
        return Vec::new();
    }
    let gateway_name = gateway.metadata.name.clone().unwrap_or_default();
    let namespace = gateway.metadata.namespace.clone().unwrap_or_default();
    let name = name(&gateway_name);
    let labels: Labels = [
        (
            "gateway.networking.k8s.io/gateway-name",
            gateway_name.as_str(),
        ),
        ("app.kubernetes.io/name", "prefixgate"),
        ("app.kubernetes.io/component", "gateway"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    let object =
        |api: &str, kind: &str, rest: Value| owned(gateway, api, kind, &name, &labels, rest);
    vec![
        object("v1", "ServiceAccount", json!({})),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": binding_name(&namespace, &gateway_name), "labels": labels},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": GATEWAY_ROLE},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }),
        object(
            "apps/v1",
            "Deployment",
            json!({"spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "template": {"metadata": {"labels": labels}, "spec": pod(&name, &namespace, &gateway_name, settings)},
            }}),
        ),
        object(
            "v1",
            "Service",
            json!({"spec": {
                "type": "LoadBalancer",
                "selector": labels,
                "ports": ports(gateway),
            }}),
        ),
    ]
}

fn pod(account: &str, namespace: &str, gateway: &str, settings: &Settings) -> Value {
    json!({
        "serviceAccountName": account,
        // Longer than a generation takes; a gateway without requests ends at once.
        "terminationGracePeriodSeconds": 1800,
        "containers": [{
            "name": "gateway",
            "image": settings.image,
            "args": ["serve", "--kubernetes", "--gateway", format!("{namespace}/{gateway}"), "--listen", "0.0.0.0:8000", "--admin-listen", "0.0.0.0:9090"],
            "ports": [
                {"containerPort": 8000, "name": "http", "protocol": "TCP"},
                {"containerPort": 9090, "name": "metrics", "protocol": "TCP"},
            ],
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8000}, "periodSeconds": 2, "failureThreshold": 2},
            "livenessProbe": {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 10, "failureThreshold": 6},
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        }],
    })
}

/// A port for each plain HTTP listener.
fn ports(gateway: &Gateway) -> Vec<Value> {
    let mut seen = Vec::new();
    let mut ports = Vec::new();
    for listener in gateway
        .spec
        .listeners
        .iter()
        .filter(|listener| listener.protocol == "HTTP")
    {
        if !seen.contains(&listener.port) {
            seen.push(listener.port);
            ports.push(json!({"name": format!("http-{}", listener.port), "port": listener.port, "targetPort": 8000, "protocol": "TCP", "appProtocol": "http"}));
        }
    }
    ports
}

fn owned(
    gateway: &Gateway,
    api: &str,
    kind: &str,
    name: &str,
    labels: &Labels,
    rest: Value,
) -> Value {
    let mut object = json!({
        "apiVersion": api,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": gateway.metadata.namespace,
            "labels": labels,
            "ownerReferences": [{
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "name": gateway.metadata.name,
                "uid": gateway.metadata.uid,
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
    });
    if let (Value::Object(object), Value::Object(rest)) = (&mut object, rest) {
        object.extend(rest);
    }
    object
}
