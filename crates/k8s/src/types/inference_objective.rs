//! Which fields of an InferenceObjective do we read, under either of its groups?

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

/// How important requests are that name it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InferenceObjective {
    pub metadata: ObjectMeta,
    pub spec: InferenceObjectiveSpec,
}

super::resource!(
    InferenceObjective,
    NamespaceResourceScope,
    "llm-d.ai",
    "v1alpha2",
    "InferenceObjective",
    "inferenceobjectives"
);

/// The same under its older group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OlderInferenceObjective {
    pub metadata: ObjectMeta,
    pub spec: InferenceObjectiveSpec,
}

super::resource!(
    OlderInferenceObjective,
    NamespaceResourceScope,
    "inference.networking.x-k8s.io",
    "v1alpha2",
    "InferenceObjective",
    "inferenceobjectives"
);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InferenceObjectiveSpec {
    /// 0 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    pub pool_ref: PoolRef,
}

/// An InferencePool of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolRef {
    pub name: String,
}
