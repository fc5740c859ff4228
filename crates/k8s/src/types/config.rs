//! What is a template that services can be based on?

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `LLMInferenceServiceConfig` (`serving.kserve.io`): part of a service's spec, kept as it is written, because merging
/// needs to tell what is absent from what is empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LlmInferenceServiceConfig {
    pub metadata: ObjectMeta,
    pub spec: Value,
}

super::resource!(
    LlmInferenceServiceConfig,
    NamespaceResourceScope,
    "serving.kserve.io",
    "v1alpha2",
    "LLMInferenceServiceConfig",
    "llminferenceserviceconfigs"
);
