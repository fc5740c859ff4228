//! What does a service ask for once everything it is based on is merged in?
//!
//! Presets first, then `baseRefs` in order, then the service's own spec; later ones override earlier ones.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::merge::strategic;
use super::render::render;
use super::{Settings, validate};
use crate::types::{AppliedConfig, LlmInferenceService, ServiceSpec};

const TEMPLATE: &str = include_str!("presets/config-llm-template.yaml");
const SCHEDULER: &str = include_str!("presets/config-llm-scheduler.yaml");

/// Specs of the configs that a service may be based on.
#[derive(Clone, Debug, Default)]
pub struct Presets {
    /// By namespace and name, as the cluster holds them.
    pub configs: BTreeMap<(String, String), Value>,
}

/// A service with everything merged in.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub service: LlmInferenceService,
    pub spec: ServiceSpec,
    pub applied: Vec<AppliedConfig>,
}

impl Resolved {
    /// What clients put into `model`.
    pub fn model_name(&self) -> &str {
        self.spec
            .model
            .name
            .as_deref()
            .filter(|name| !name.is_empty())
            .or(self.service.metadata.name.as_deref())
            .unwrap_or_default()
    }
}

/// Why there is nothing to make objects of; each is a reason of the condition `PresetsCombined`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error(
        "there is no LLMInferenceServiceConfig {name} in {namespace} or {system}: create it, or correct spec.baseRefs"
    )]
    ConfigNotFound {
        name: String,
        namespace: String,
        system: String,
    },
    #[error("spec with its base configs merged in is not a service's: {0}")]
    CombineBaseError(String),
    #[error("{}", .0.join("; "))]
    InvalidRenderedConfig(Vec<String>),
}

impl ResolveError {
    /// Reason of the condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ConfigNotFound { .. } => "ConfigNotFound",
            Self::CombineBaseError(_) => "CombineBaseError",
            Self::InvalidRenderedConfig(_) => "InvalidRenderedConfig",
        }
    }
}

/// Merges, renders and checks.
///
/// # Errors
/// A base is missing, the result is not a service, or it contradicts itself; everything wrong is named.
pub fn resolve(
    service: &LlmInferenceService,
    presets: &Presets,
    settings: &Settings,
) -> Result<Resolved, ResolveError> {
    let namespace = service.metadata.namespace.clone().unwrap_or_default();
    let mut merged = json!({});
    let mut applied = Vec::new();
    for (name, built_in) in wanted_presets(service, presets, &namespace, settings)? {
        let name = format!("{}{name}", settings.preset_prefix);
        let found = presets.find(&name, &namespace, settings);
        strategic(
            &mut merged,
            found.as_ref().map_or(&built_in, |(_, spec)| spec),
        );
        applied.push(AppliedConfig {
            name,
            namespace: found.map(|(namespace, _)| namespace),
            source: "Preset".to_owned(),
        });
    }
    for name in base_refs(&service.spec) {
        let (found_in, base) = presets.find(&name, &namespace, settings).ok_or_else(|| {
            ResolveError::ConfigNotFound {
                name: name.clone(),
                namespace: namespace.clone(),
                system: settings.system_namespace.clone(),
            }
        })?;
        strategic(&mut merged, base);
        applied.push(AppliedConfig {
            name,
            namespace: Some(found_in),
            source: "UserRef".to_owned(),
        });
    }
    strategic(&mut merged, &service.spec);
    render(&mut merged, service, settings)
        .map_err(|error| ResolveError::InvalidRenderedConfig(vec![error]))?;
    let spec = ServiceSpec::parse(&merged)
        .map_err(|error| ResolveError::CombineBaseError(error.to_string()))?;
    let resolved = Resolved {
        service: service.clone(),
        spec,
        applied,
    };
    let wrong = validate::problems(&resolved);
    if wrong.is_empty() {
        Ok(resolved)
    } else {
        Err(ResolveError::InvalidRenderedConfig(wrong))
    }
}

impl Presets {
    /// In the service's namespace, else in the system's.
    fn find(&self, name: &str, namespace: &str, settings: &Settings) -> Option<(String, &Value)> {
        [namespace, settings.system_namespace.as_str()]
            .into_iter()
            .find_map(|namespace| {
                let spec = self.configs.get(&(namespace.to_owned(), name.to_owned()))?;
                Some((namespace.to_owned(), spec))
            })
    }
}

/// Presets by what the service and its bases ask for, without the prefix, each with what we ship.
fn wanted_presets(
    service: &LlmInferenceService,
    presets: &Presets,
    namespace: &str,
    settings: &Settings,
) -> Result<Vec<(&'static str, Value)>, ResolveError> {
    // Whether there is a scheduler may be said in a base.
    let mut asked = json!({});
    for name in base_refs(&service.spec) {
        if let Some((_, base)) = presets.find(&name, namespace, settings) {
            strategic(&mut asked, base);
        }
    }
    strategic(&mut asked, &service.spec);
    let template = built_in(TEMPLATE)?;
    let mut wanted = Vec::new();
    if asked["prefill"].is_object() {
        wanted.push(("config-llm-decode-template", template.clone()));
        wanted.push((
            "config-llm-prefill-template",
            json!({"prefill": {"template": template["template"]}}),
        ));
    } else {
        wanted.push(("config-llm-template", template));
    }
    let scheduler = &asked["router"]["scheduler"];
    if scheduler.is_object() && scheduler["pool"]["ref"].is_null() {
        wanted.push(("config-llm-scheduler", built_in(SCHEDULER)?));
    }
    Ok(wanted)
}

fn built_in(text: &str) -> Result<Value, ResolveError> {
    serde_saphyr::from_str(text).map_err(|error| ResolveError::CombineBaseError(error.to_string()))
}

fn base_refs(spec: &Value) -> Vec<String> {
    spec["baseRefs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|base| base["name"].as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: Value) -> LlmInferenceService {
        serde_json::from_value(
            json!({"metadata": {"name": "qwen", "namespace": "team"}, "spec": spec}),
        )
        .unwrap()
    }

    fn presets(configs: &[(&str, &str, Value)]) -> Presets {
        Presets {
            configs: configs
                .iter()
                .map(|(namespace, name, spec)| {
                    ((namespace.to_string(), name.to_string()), spec.clone())
                })
                .collect(),
        }
    }

    #[test]
    fn the_service_overrides_its_bases_and_later_bases_earlier_ones() {
        let configs = presets(&[
            (
                "team",
                "one",
                json!({"replicas": 2, "labels": {"a": "one", "b": "one"}}),
            ),
            (
                "prefixgate-system",
                "two",
                json!({"labels": {"b": "two", "c": "two"}, "router": {"scheduler": {}}}),
            ),
        ]);
        let resolved = resolve(
            &service(json!({
                "model": {"uri": "hf://x/y"},
                "labels": {"c": "own"},
                "baseRefs": [{"name": "one"}, {"name": "two"}],
            })),
            &configs,
            &Settings::default(),
        )
        .unwrap();
        let labels: Vec<_> = resolved.spec.workload.labels.into_iter().collect();
        let expected = [("a", "one"), ("b", "two"), ("c", "own")];
        assert_eq!(
            labels,
            expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
        assert_eq!(resolved.spec.workload.replicas, Some(2));
        let names: Vec<_> = resolved
            .applied
            .iter()
            .map(|config| (config.name.as_str(), config.source.as_str()))
            .collect();
        assert_eq!(
            names,
            [
                ("kserve-config-llm-template", "Preset"),
                ("kserve-config-llm-scheduler", "Preset"),
                ("one", "UserRef"),
                ("two", "UserRef"),
            ]
        );
    }

    #[test]
    fn a_preset_of_the_cluster_stands_for_the_shipped_one() {
        let configs = presets(&[(
            "prefixgate-system",
            "kserve-config-llm-template",
            json!({"template": {"containers": [{"name": "main", "image": "ours:1"}]}}),
        )]);
        let resolved = resolve(
            &service(json!({"model": {"uri": "hf://x/y"}})),
            &configs,
            &Settings::default(),
        )
        .unwrap();
        assert_eq!(
            resolved.spec.workload.template.unwrap()["containers"][0]["image"],
            "ours:1"
        );
        assert_eq!(
            resolved.applied[0].namespace.as_deref(),
            Some("prefixgate-system")
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = resolve(
            &service(json!({"model": {"uri": "hf://x/y"}, "baseRefs": [{"name": "gone"}]})),
            &Presets::default(),
            &Settings::default(),
        )
        .unwrap_err();
        assert_eq!(error.reason(), "ConfigNotFound");
        assert!(error.to_string().contains("gone"), "{error}");
    }
}
