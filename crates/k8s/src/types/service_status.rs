//! What do we say about a service?

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;

/// Status of an `LLMInferenceService`. Times are RFC 3339, UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// Where clients reach it: the external `/{namespace}/{name}` address when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<RouterStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workloads: Option<WorkloadsStatus>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub applied_configs: Vec<AppliedConfig>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Generation of the spec that all of this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Pods there are.
    pub replicas: u32,
    /// Pods that serve.
    pub ready_replicas: u32,
    /// Labels of the pods, for autoscalers.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// How far the replica that is furthest behind has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<PhaseStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<EndpointsStatus>,
    /// How long replicas took from creation to ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<StartupStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Address {
    pub url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The gateway it goes through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<ObjectName>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelName>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModelName {
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectName {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouterStatus {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<GatewayUse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<SchedulerUse>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayUse {
    pub group: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_routes: Vec<ObjectName>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SchedulerUse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inference_pool: Option<ObjectName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ObjectName>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WorkloadsStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<WorkloadUse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill: Option<WorkloadUse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<WorkloadUse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ObjectName>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadUse {
    pub kind: String,
    pub name: String,
    pub ready_replicas: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AppliedConfig {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `Preset` or `UserRef`.
    pub source: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PhaseStatus {
    /// `Node`, `ImagePull`, `ModelDownload`, `AcceleratorStart`, `Compile`, `Ready`, or `Stopped`, `Draining`, `Failed`.
    pub name: String,
    /// When it began.
    pub since: String,
    /// Whole seconds in it, when the status was written.
    pub elapsed_seconds: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EndpointsStatus {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ready: Vec<EndpointStatus>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unready: Vec<EndpointStatus>,
}

/// A pod; `address` is absent while it has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EndpointStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    pub pod: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StartupStatus {
    /// Slowest of late: a new sample that is slower counts at once, faster ones by a quarter.
    pub learned_seconds: i64,
    pub samples: u32,
    /// Pod the last sample came from, so that it is counted once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_pod: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScheduleStatus {
    /// The last one applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<SchedulePoint>,
    /// The next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<SchedulePoint>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SchedulePoint {
    pub name: String,
    pub replicas: u32,
    /// The time the cron line names.
    pub at: String,
    /// When replicas are started for it.
    pub start_at: String,
}
