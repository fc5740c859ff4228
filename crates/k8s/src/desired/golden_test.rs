//! Manifests in `golden/*.yaml`, each with the objects it stands for in `golden/*.expected.yaml`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p k8s golden` writes what is made now; the difference is then read by whoever commits it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Desired, Dialect, Facts, Presets, Settings, desired, resolve, route};
use crate::types::LlmInferenceService;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Facts that a manifest's first line may name: `# facts: gke, ServiceMonitor`.
fn facts(text: &str, parents: Vec<crate::types::ParentRef>) -> Facts {
    let mut facts = Facts::default();
    let named = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# facts: "))
        .unwrap_or_default();
    let mut dialect = Dialect::Own;
    for fact in named.split(", ").filter(|fact| !fact.is_empty()) {
        match fact {
            "gke" => dialect = Dialect::Gke,
            "istio" => dialect = Dialect::Istio,
            "envoy-gateway" => dialect = Dialect::EnvoyGateway,
            "standard" => dialect = Dialect::Standard,
            "spare-node" => facts.spare_node = true,
            kind => {
                facts.kinds.insert(kind.to_owned());
            }
        }
    }
    facts.gateways = parents
        .into_iter()
        .map(|parent| (parent, dialect))
        .collect();
    facts
}

fn objects(text: &str) -> Desired {
    let service: LlmInferenceService = serde_saphyr::from_str(text).unwrap();
    let settings = Settings::default();
    let resolved = resolve(&service, &Presets::default(), &settings).unwrap();
    let facts = facts(text, route::parents(&resolved, &settings));
    desired(&resolved, &settings, &facts)
}

fn yaml(objects: &[Value]) -> String {
    let mut text = String::new();
    for object in objects {
        let _ = write!(text, "---\n{}", serde_saphyr::to_string(object).unwrap());
    }
    text
}

#[test]
fn manifests_become_these_objects() {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".expected.yaml") {
            continue;
        }
        seen += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        let got = yaml(&objects(&text).objects);
        let expected = path.with_extension("expected.yaml");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&expected, &got).unwrap();
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(got, expected, "{name}");
    }
    assert!(seen >= 5);
}

#[test]
fn a_stopped_service_holds_nothing() {
    let text = std::fs::read_to_string(folder().join("pattern3-tpu.yaml")).unwrap();
    let mut service: LlmInferenceService = serde_saphyr::from_str(&text).unwrap();
    service.metadata.annotations =
        Some([(super::names::STOP.to_owned(), "true".to_owned())].into());
    let settings = Settings::default();
    let resolved = resolve(&service, &Presets::default(), &settings).unwrap();
    assert!(
        desired(&resolved, &settings, &Facts::default())
            .objects
            .is_empty()
    );
}

/// What the API server's own type of an object keeps of it.
fn kept(object: &Value) -> Option<Value> {
    use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Role, RoleBinding};
    use k8s_openapi::api::{
        apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler, core::v1,
        networking::v1::NetworkPolicy, policy::v1::PodDisruptionBudget,
    };

    fn through<T: serde::Serialize + serde::de::DeserializeOwned>(object: &Value) -> Value {
        let read: T = serde_json::from_value(object.clone()).unwrap();
        serde_json::to_value(read).unwrap()
    }
    Some(match object["kind"].as_str().unwrap_or_default() {
        "Deployment" => through::<Deployment>(object),
        "Service" => through::<v1::Service>(object),
        "ConfigMap" => through::<v1::ConfigMap>(object),
        "ServiceAccount" => through::<v1::ServiceAccount>(object),
        "Role" => through::<Role>(object),
        "RoleBinding" => through::<RoleBinding>(object),
        "ClusterRoleBinding" => through::<ClusterRoleBinding>(object),
        "PodDisruptionBudget" => through::<PodDisruptionBudget>(object),
        "NetworkPolicy" => through::<NetworkPolicy>(object),
        "HorizontalPodAutoscaler" => through::<HorizontalPodAutoscaler>(object),
        _ => return None,
    })
}

/// Paths of what `sent` holds and `kept` does not, and of nulls, which nobody owns after an apply.
fn lost(sent: &Value, kept: &Value, path: &str, found: &mut Vec<String>) {
    match sent {
        Value::Null => found.push(format!("{path} is null")),
        Value::Object(fields) => {
            for (name, value) in fields {
                match kept.get(name) {
                    Some(kept) => lost(value, kept, &format!("{path}.{name}"), found),
                    None => found.push(format!("{path}.{name}")),
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                lost(item, &kept[at], &format!("{path}[{at}]"), found);
            }
        }
        _ => {}
    }
}

/// A field that the API does not know makes a real server refuse the whole apply.
#[test]
fn every_field_applied_is_one_the_api_knows() {
    let settings = Settings {
        extras: super::Extras {
            pod_disruption_budget: super::Wanted::Always,
            service_monitor: super::Wanted::Always,
            network_policy: super::Wanted::Always,
        },
        ..Settings::default()
    };
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with(".expected.yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let service: LlmInferenceService = serde_saphyr::from_str(&text).unwrap();
        let resolved = resolve(&service, &Presets::default(), &settings).unwrap();
        let facts = facts(&text, route::parents(&resolved, &settings));
        for object in desired(&resolved, &settings, &facts).objects {
            let mut found = Vec::new();
            let kept = kept(&object).unwrap_or_else(|| object.clone());
            lost(&object, &kept, &object["kind"].to_string(), &mut found);
            assert!(found.is_empty(), "{}: {found:?}", path.display());
        }
    }
}
