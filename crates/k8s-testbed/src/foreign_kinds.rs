//! Which kinds do other projects define that a service's routes and pools are made of?
//!
//! The real definitions are large and theirs to ship; these hold names, versions and subresources. Routes and pools know
//! their fields, bounds and defaults, because controllers make them; the others keep whatever they are given.

use serde_json::{Value, json};

/// Plural, kind, short names, namespaced, group, versions with the stored one last.
type Row = (
    &'static str,
    &'static str,
    &'static [&'static str],
    bool,
    &'static str,
    &'static [&'static str],
);

const ROWS: &[Row] = &[
    (
        "gatewayclasses",
        "GatewayClass",
        &["gc"],
        false,
        "gateway.networking.k8s.io",
        &["v1"],
    ),
    (
        "gateways",
        "Gateway",
        &["gtw"],
        true,
        "gateway.networking.k8s.io",
        &["v1"],
    ),
    (
        "httproutes",
        "HTTPRoute",
        &[],
        true,
        "gateway.networking.k8s.io",
        &["v1"],
    ),
    (
        "referencegrants",
        "ReferenceGrant",
        &["refgrant"],
        true,
        "gateway.networking.k8s.io",
        &["v1beta1"],
    ),
    (
        "inferencepools",
        "InferencePool",
        &["infpool"],
        true,
        "inference.networking.k8s.io",
        &["v1"],
    ),
];

/// Definitions of Gateway API and of the Inference Extension.
pub fn definitions() -> Vec<Value> {
    ROWS.iter().map(definition).collect()
}

/// A definition of LLMInferenceService that keeps every field, with the `scale` subresource.
pub(crate) fn open_service_definitions() -> Vec<Value> {
    let group = "serving.kserve.io";
    let versions = &["v1alpha1", "v1alpha2"];
    let rows: [Row; 2] = [
        (
            "llminferenceservices",
            "LLMInferenceService",
            &["llmisvc"],
            true,
            group,
            versions,
        ),
        (
            "llminferenceserviceconfigs",
            "LLMInferenceServiceConfig",
            &[],
            true,
            group,
            versions,
        ),
    ];
    let mut definitions: Vec<Value> = rows.iter().map(definition).collect();
    for version in definitions[0]["spec"]["versions"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        version["subresources"]["scale"] = json!({
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        });
    }
    definitions
}

fn definition(row: &Row) -> Value {
    let (plural, kind, short, namespaced, group, versions) = *row;
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let spec = spec(kind).unwrap_or_else(|| open.clone());
    let version = |(at, version): (usize, &&str)| {
        json!({
            "name": version, "served": true, "storage": at + 1 == versions.len(),
            "subresources": {"status": {}},
            "additionalPrinterColumns": columns(kind),
            "schema": {"openAPIV3Schema": {
                "type": "object",
                "properties": {
                    "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
                    "spec": spec, "status": open,
                },
            }},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            "annotations": {
                "gateway.networking.k8s.io/bundle-version": "v1.5.1",
                "inference.networking.k8s.io/bundle-version": "v1.5.0",
                // A real server asks this of everything below k8s.io.
                "api-approved.kubernetes.io": "unapproved, a shortened definition for tests",
            },
        },
        "spec": {
            "group": group,
            "scope": if namespaced { "Namespaced" } else { "Cluster" },
            "names": {
                "plural": plural, "singular": kind.to_lowercase(), "kind": kind,
                "listKind": format!("{kind}List"), "shortNames": short,
            },
            "versions": versions.iter().enumerate().map(version).collect::<Vec<_>>(),
        },
    })
}

/// Schema of a kind's spec, where it is known.
fn spec(kind: &str) -> Option<Value> {
    let text = match kind {
        "HTTPRoute" => include_str!("foreign_kinds/http_route.yaml"),
        "InferencePool" => include_str!("foreign_kinds/inference_pool.yaml"),
        _ => return None,
    };
    serde_saphyr::from_str(text).ok()
}

fn columns(kind: &str) -> Value {
    let column = |name: &str, path: &str| json!({"name": name, "type": "string", "jsonPath": path});
    match kind {
        "GatewayClass" => json!([
            column("Controller", ".spec.controllerName"),
            column(
                "Accepted",
                ".status.conditions[?(@.type==\"Accepted\")].status"
            ),
        ]),
        "Gateway" => json!([
            column("Class", ".spec.gatewayClassName"),
            column("Address", ".status.addresses[*].value"),
            column(
                "Programmed",
                ".status.conditions[?(@.type==\"Programmed\")].status"
            ),
        ]),
        "LLMInferenceService" => json!([
            column("URL", ".status.url"),
            column("Ready", ".status.conditions[?(@.type==\"Ready\")].status"),
            column("Reason", ".status.conditions[?(@.type==\"Ready\")].reason"),
        ]),
        "HTTPRoute" => json!([column("Hostnames", ".spec.hostnames")]),
        _ => json!([]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_can_be_read() {
        for kind in ["HTTPRoute", "InferencePool"] {
            assert_eq!(spec(kind).unwrap()["type"], "object", "{kind}");
        }
    }
}
