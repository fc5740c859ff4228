//! Which resources do we read, and which of their fields?
//!
//! Lean on purpose: a field nobody here reads is not here. Objects are never written back from these types, so what
//! they leave out is not lost: writes are server-side applies of just the fields we own, or patches of a status.

mod config;
pub mod crds;
mod gateway;
mod inference_objective;
mod inference_pool;
mod route;
mod schema;
mod service;
mod service_status;
mod workload;

pub use config::LlmInferenceServiceConfig;
pub use gateway::*;
pub use inference_objective::*;
pub use inference_pool::*;
pub use route::*;
pub use service::*;
pub use service_status::*;
pub use workload::*;

/// Makes a lean struct with a `metadata` field a Kubernetes resource.
macro_rules! resource {
    ($name:ident, $scope:ident, $group:literal, $version:literal, $kind:literal, $plural:literal) => {
        impl kube::Resource for $name {
            type DynamicType = ();
            type Scope = kube::core::$scope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                $kind.into()
            }
            fn group((): &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }
            fn version((): &()) -> std::borrow::Cow<'_, str> {
                $version.into()
            }
            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(
                &mut self,
            ) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
pub(crate) use resource;

/// A condition as every status here carries it (`metav1.Condition`, and the Knative shape, which adds `severity`).
#[derive(
    Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// `Info` and `Warning` do not count against Ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// One CamelCase word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// A sentence: what, and what to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// RFC 3339; kept while `status` does not change.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_transition_time: String,
    /// Generation the condition was true of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
