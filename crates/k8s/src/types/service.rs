//! What does a service ask for?
//!
//! One shape for `serving.kserve.io/v1alpha1` and `v1alpha2`: the versions differ by a few optional fields, both are
//! accepted under either name, and the API server converts by relabelling.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ParentRef;
use super::schema::{any_object, int_or_string};
use super::service_status::ServiceStatus;

/// `LLMInferenceService`. The spec stays as it was written, because merging it over its bases needs to tell what is
/// absent from what is empty; [`LlmInferenceService::typed_spec`] reads it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LlmInferenceService {
    pub metadata: ObjectMeta,
    pub spec: Value,
    pub status: Option<ServiceStatus>,
}

super::resource!(
    LlmInferenceService,
    NamespaceResourceScope,
    "serving.kserve.io",
    "v1alpha2",
    "LLMInferenceService",
    "llminferenceservices"
);

impl LlmInferenceService {
    /// The spec as it was written, before any base is merged in.
    ///
    /// # Errors
    /// A field has the wrong type; says which.
    pub fn typed_spec(&self) -> Result<ServiceSpec, serde_json::Error> {
        ServiceSpec::parse(&self.spec)
    }
}

/// A model, how many replicas of it, in what pods, and how requests find them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    pub model: Model,
    /// How the model gets into the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_initializer: Option<StorageInitializer>,
    #[serde(flatten)]
    pub workload: Workload,
    /// Pods that only prefill; the top level then only decodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill: Option<Workload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<Router>,
    /// OpenTelemetry of the engine and the picker; `{}` takes the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// LLMInferenceServiceConfigs to start from; later ones override earlier ones, this spec overrides all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub base_refs: Vec<NameRef>,
    /// Replica counts by the clock.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<Schedule>,
}

impl ServiceSpec {
    /// # Errors
    /// A field has the wrong type; says which.
    pub fn parse(spec: &Value) -> Result<Self, serde_json::Error> {
        if spec.is_null() {
            return Ok(Self::default());
        }
        Self::deserialize(spec)
    }

    /// Replicas asked for; one when nothing is said.
    pub fn replicas(&self) -> u32 {
        self.workload.replicas.unwrap_or(1)
    }

    /// The scheduler section, when requests are to be scheduled.
    pub fn scheduler(&self) -> Option<&Scheduler> {
        self.router.as_ref()?.scheduler.as_ref()
    }

    /// Gateways named in the manifest.
    pub fn gateway_refs(&self) -> &[ParentRef] {
        self.router
            .as_ref()
            .and_then(|router| router.gateway.as_ref())
            .map_or(&[], |gateway| &gateway.refs)
    }
}

/// Which model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Model {
    /// `hf://`, `s3://`, `pvc://`, `oci://` or `oci+native://`.
    pub uri: String,
    /// What clients put into `model`; the service's name when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `Critical`, `Standard` or `Sheddable` (v1alpha1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub criticality: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub confidential: Option<Value>,
}

/// Adapters loaded beside the model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Lora {
    pub adapters: Vec<Adapter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_rank: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_adapters: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_cpu_adapters: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Adapter {
    pub uri: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub criticality: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageInitializer {
    /// True when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// Pods of one role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Workload {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10000))]
    pub replicas: Option<u32>,
    /// An autoscaler; not together with `replicas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<Parallelism>,
    /// Copied to the pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Copied to the pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// A PodSpec, merged over the preset's; the engine's container is called `main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub template: Option<Value>,
    /// A PodSpec of the followers of a replica that spans nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub worker: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub kv_cache_offloading: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout_strategy: Option<RolloutStrategy>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Parallelism {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub tensor: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub pipeline: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub data: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub data_local: Option<u32>,
    #[serde(rename = "dataRPCPort", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub data_rpc_port: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expert: Option<bool>,
}

/// Numbers of pods, or percentages such as `25%`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStrategy {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "int_or_string")]
    pub max_unavailable: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "int_or_string")]
    pub max_surge: Option<Value>,
}

/// An autoscaler's bounds; `wva` and `keda` are kept for services that move over and need those systems installed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Scaling {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_replicas: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_replicas: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub wva: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub keda: Option<Value>,
}

/// How requests find the pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Router {
    /// `{}` takes the controller's default gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayRefs>,
    /// `{}` makes a route of `/{namespace}/{name}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteSection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<GatewayRefs>,
    /// `{}` schedules with the default configuration; absent: requests are spread by the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GatewayRefs {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<ParentRef>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RouteSection {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpRouteSource>,
    /// Services of one group share their model's traffic by weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: Option<u32>,
}

/// Routes that exist, or the spec of the one to make.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HttpRouteSource {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<NameRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub spec: Option<Value>,
}

/// Who picks a replica for each request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Scheduler {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolSource>,
    /// A PodSpec, merged over the picker's preset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub template: Option<Value>,
    /// More than one: one picks, the others stand by.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: Option<u32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<SchedulerConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub tokenizer: Option<Value>,
}

/// A pool that exists, or the spec of the one to make.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PoolSource {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub spec: Option<Value>,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<NameRef>,
}

/// An EndpointPickerConfig: written here, or in a ConfigMap (key `epp` unless said).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SchedulerConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub inline: Option<Value>,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<ConfigMapKey>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ConfigMapKey {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NameRef {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tracing {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exporter_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampler: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampler_arg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exporter: Option<String>,
}

/// From each time it names, this many replicas.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Schedule {
    /// For messages; the cron line when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Minute, hour, day of month, month, day of week.
    pub cron: String,
    /// IANA name such as `Europe/Zurich`; UTC when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    #[schemars(range(min = 0, max = 10000))]
    pub replicas: u32,
    /// True (also when absent): more replicas are started early, so that they are ready at the time named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_by: Option<bool>,
}
