//! Which fields of an InferencePool (`inference.networking.k8s.io/v1`) do we read?

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::{Condition, ParentRef};

/// A set of pods that serve the same model, and who picks among them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InferencePool {
    pub metadata: ObjectMeta,
    pub spec: InferencePoolSpec,
    pub status: Option<InferencePoolStatus>,
}

super::resource!(
    InferencePool,
    NamespaceResourceScope,
    "inference.networking.k8s.io",
    "v1",
    "InferencePool",
    "inferencepools"
);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InferencePoolSpec {
    pub selector: LabelMatch,
    /// 1 to 8; each is an endpoint of its own (a data-parallel rank).
    pub target_ports: Vec<PortNumber>,
    /// `http` (also when absent) or `kubernetes.io/h2c`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_picker_ref: Option<EndpointPickerRef>,
}

/// Equality on labels, all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelMatch {
    pub match_labels: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortNumber {
    pub number: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointPickerRef {
    /// Empty for the core group.
    pub group: String,
    /// `Service` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<PortNumber>,
    /// `FailOpen` or `FailClose` (also when absent).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_mode: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InferencePoolStatus {
    /// One entry per gateway that a route ties to the pool.
    pub parents: Vec<PoolParent>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolParent {
    pub parent_ref: ParentRef,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller_name: Option<String>,
    pub conditions: Vec<Condition>,
}
