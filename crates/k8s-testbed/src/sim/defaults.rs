//! What does the server fill in?

use serde_json::{Map, Value, json};

use crate::object::{as_map, map_at, metadata, text};
use crate::store::Store;

/// Fills in what clients may leave out and then read back.
pub(crate) fn defaults(store: &Store, object: &mut Value) {
    match text(object, "/kind") {
        "Pod" => pod(map_at(object, "spec")),
        "Deployment" => deployment(map_at(object, "spec")),
        "Service" => service(store, object),
        "Namespace" => {
            object["status"] = json!({"phase": "Active"});
            let name = text(object, "/metadata/name").to_owned();
            let labels = metadata(object)
                .entry("labels")
                .or_insert_with(|| json!({}));
            as_map(labels).insert("kubernetes.io/metadata.name".to_owned(), json!(name));
        }
        "Secret" => {
            let map = as_map(object);
            map.entry("type").or_insert_with(|| json!("Opaque"));
            // What is written as text is kept encoded.
            if let Some(Value::Object(plain)) = map.shift_remove("stringData") {
                let data = as_map(map.entry("data").or_insert_with(|| json!({})));
                for (key, value) in plain {
                    data.insert(
                        key,
                        json!(base64(value.as_str().unwrap_or_default().as_bytes())),
                    );
                }
            }
        }
        _ => {}
    }
}

fn or<T: Into<Value>>(map: &mut Map<String, Value>, key: &str, value: T) {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), value.into());
    }
}

fn pod(spec: &mut Map<String, Value>) {
    or(spec, "restartPolicy", "Always");
    or(spec, "terminationGracePeriodSeconds", 30);
    or(spec, "dnsPolicy", "ClusterFirst");
    or(spec, "schedulerName", "default-scheduler");
    or(spec, "securityContext", json!({}));
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let container = as_map(container);
            or(container, "resources", json!({}));
            or(container, "terminationMessagePath", "/dev/termination-log");
            or(container, "terminationMessagePolicy", "File");
            or(container, "imagePullPolicy", "IfNotPresent");
            for port in container
                .get_mut("ports")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                or(as_map(port), "protocol", "TCP");
            }
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                if let Some(Value::Object(probe)) = container.get_mut(probe) {
                    or(probe, "timeoutSeconds", 1);
                    or(probe, "periodSeconds", 10);
                    or(probe, "successThreshold", 1);
                    or(probe, "failureThreshold", 3);
                    if let Some(Value::Object(get)) = probe.get_mut("httpGet") {
                        or(get, "scheme", "HTTP");
                        or(get, "path", "/");
                    }
                }
            }
        }
    }
}

fn deployment(spec: &mut Map<String, Value>) {
    or(spec, "replicas", 1);
    or(spec, "revisionHistoryLimit", 10);
    or(spec, "progressDeadlineSeconds", 600);
    or(spec, "strategy", json!({"type": "RollingUpdate"}));
    let strategy = as_map(spec.entry("strategy").or_insert_with(|| json!({})));
    or(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = as_map(strategy.entry("rollingUpdate").or_insert_with(|| json!({})));
        or(rolling, "maxUnavailable", "25%");
        or(rolling, "maxSurge", "25%");
    }
    let template = as_map(spec.entry("template").or_insert_with(|| json!({})));
    pod(as_map(template.entry("spec").or_insert_with(|| json!({}))));
}

fn service(store: &Store, service: &mut Value) {
    let spec = map_at(service, "spec");
    or(spec, "type", "ClusterIP");
    or(spec, "sessionAffinity", "None");
    or(spec, "internalTrafficPolicy", "Cluster");
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let port = as_map(port);
        or(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or_default();
        or(port, "targetPort", number);
    }
    if spec.get("clusterIP").is_none() && spec.get("type") != Some(&json!("ExternalName")) {
        let (services, _) = store.list("services", "");
        let taken: Vec<&str> = services
            .iter()
            .map(|service| text(service, "/spec/clusterIP"))
            .collect();
        let free = (1..u16::MAX)
            .map(|number| format!("10.96.{}.{}", number >> 8, number & 0xff))
            .find(|address| !taken.contains(&address.as_str()));
        spec.insert("clusterIP".to_owned(), json!(free));
    }
    let address = spec.get("clusterIP").cloned().unwrap_or_default();
    or(spec, "clusterIPs", json!([address]));
    if let Some(status) = service.get("status")
        && !status.is_null()
    {
        return;
    }
    service["status"] = json!({"loadBalancer": {}});
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}
