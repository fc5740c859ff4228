//! Which objects does a service need?
//!
//! Pure: a service, the configs it is based on, the controller's settings and a few facts of the cluster in; objects
//! out, each with exactly the fields we own.

pub(crate) mod autoscaler;
pub mod dialect;
pub(crate) mod engine_command;
mod extras;
pub mod gateway;
mod merge;
pub mod names;
mod picker;
mod pod;
mod pool;
pub(crate) mod probes;
mod render;
pub mod resolve;
pub(crate) mod rollout;
pub(crate) mod route;
mod settings;
mod storage;
mod validate;
mod workload;

#[cfg(test)]
mod golden_test;

use serde_json::{Map, Value, json};

pub use dialect::Dialect;
pub use resolve::{Presets, ResolveError, Resolved, resolve};
pub use settings::*;

use crate::types::{LlmInferenceService, ParentRef};
use names::Labels;

/// What of the cluster decides how objects look.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Gateways the route goes through, each with how its implementation wants to be spoken to.
    pub gateways: Vec<(ParentRef, Dialect)>,
    /// Optional kinds that the API server knows: `ServiceMonitor`, `HealthCheckPolicy`, `DestinationRule`, …
    pub kinds: std::collections::BTreeSet<String>,
    /// Text of the ConfigMap that the scheduler's `config.ref` names.
    pub scheduler_config: Option<String>,
    /// Another node for one more pod of the service is known to be free.
    pub spare_node: bool,
    /// Weighted members of the service's routing group, this one included.
    pub group: Vec<GroupMember>,
}

/// A service that shares a model's traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMember {
    pub name: String,
    pub weight: u32,
    pub scheduled: bool,
}

/// Everything a service needs.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// In the order they are applied: what others refer to comes first.
    pub objects: Vec<Value>,
}

/// The objects of a service. Empty for one that is stopped.
pub fn desired(resolved: &Resolved, settings: &Settings, facts: &Facts) -> Desired {
    let owner = Owner::of(&resolved.service);
    if is_stopped(&resolved.service) {
        return Desired::default();
    }
    let mut objects = Vec::new();
    let scheduled = resolved.spec.scheduler().is_some();
    let own_pool = scheduled && pool::reference(&resolved.spec).is_none();
    objects.extend(workload::deployments(resolved, settings, facts, &owner));
    objects.push(workload::service(resolved, &owner));
    if scheduled {
        objects.extend(picker::scheduler_config(resolved, facts, &owner));
    }
    if own_pool {
        if needs_picker(facts) {
            objects.extend(picker::objects(resolved, settings, facts, &owner));
        }
        objects.push(pool::pool(resolved, facts, &owner));
    }
    objects.extend(route::route(resolved, settings, facts, &owner));
    objects.extend(dialect::objects(resolved, facts, &owner));
    objects.extend(extras::objects(resolved, settings, facts, &owner));
    objects.extend(autoscaler::objects(resolved, &owner));
    Desired { objects }
}

/// The stop annotation says that the service holds nothing.
pub fn is_stopped(service: &LlmInferenceService) -> bool {
    annotation(service, names::STOP).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// An annotation of a service.
pub fn annotation<'a>(service: &'a LlmInferenceService, key: &str) -> Option<&'a str> {
    service
        .metadata
        .annotations
        .as_ref()?
        .get(key)
        .map(String::as_str)
}

/// Our own gateway picks in its process; every other one asks a picker beside it. Without any gateway the picker is
/// made too: whoever names the pool in a route later finds it working.
pub fn needs_picker(facts: &Facts) -> bool {
    facts.gateways.is_empty()
        || facts
            .gateways
            .iter()
            .any(|(_, dialect)| *dialect != Dialect::Own)
}

/// Whose the objects are.
pub(crate) struct Owner {
    pub(crate) name: String,
    pub(crate) namespace: String,
    uid: String,
}

impl Owner {
    pub(crate) fn of(service: &LlmInferenceService) -> Self {
        let metadata = &service.metadata;
        Self {
            name: metadata.name.clone().unwrap_or_default(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
        }
    }

    /// An object of the service: deleted with it.
    pub(crate) fn object(
        &self,
        api_version: &str,
        kind: &str,
        name: &str,
        labels: &Labels,
        rest: Value,
    ) -> Value {
        let mut object = Map::new();
        object.insert("apiVersion".to_owned(), api_version.into());
        object.insert("kind".to_owned(), kind.into());
        object.insert(
            "metadata".to_owned(),
            json!({
                "name": name,
                "namespace": self.namespace,
                "labels": labels,
                "ownerReferences": [{
                    "apiVersion": "serving.kserve.io/v1alpha2",
                    "kind": "LLMInferenceService",
                    "name": self.name,
                    "uid": self.uid,
                    "controller": true,
                    "blockOwnerDeletion": true,
                }],
            }),
        );
        if let Value::Object(rest) = rest {
            object.extend(rest);
        }
        Value::Object(object)
    }
}

/// The engine's container in a pod template; null when there is none.
pub(crate) fn main_container(template: &Value) -> &Value {
    pod::main(template)
}

/// The pool requests of a service go to.
pub fn pool_name(resolved: &Resolved) -> String {
    pool::name(resolved)
}

/// The engine serves with a certificate.
pub fn uses_tls(template: &Value) -> bool {
    pod::uses_tls(template)
}

/// Gateways a service goes through: those named, else the default one. Empty when it asks for none.
pub fn gateways(resolved: &Resolved, settings: &Settings) -> Vec<ParentRef> {
    route::parents(resolved, settings)
}

/// One piece over another, for tests that build objects.
#[cfg(test)]
pub(crate) fn merge_for_tests(base: &mut Value, patch: &Value) {
    merge::strategic(base, patch);
}

/// Short fingerprint of a text, for annotations.
pub(crate) fn hash(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text.as_bytes())
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
