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
