//! What shape does a scheduling document have?
//!
//! The field's `EndpointPickerConfig`, read strictly: an unknown field is an error.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::located::At;

/// Versions of the document that are read; the second is deprecated.
pub(crate) const API_VERSIONS: [&str; 2] = [
    "llm-d.ai/v1alpha1",
    "inference.networking.x-k8s.io/v1alpha1",
];
pub(crate) const KIND: &str = "EndpointPickerConfig";

/// An `EndpointPickerConfig`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// `llm-d.ai/v1alpha1`, or the older `inference.networking.x-k8s.io/v1alpha1`.
    pub api_version: At<String>,
    /// `EndpointPickerConfig`.
    pub kind: At<String>,
    /// `name` or `name=true|false`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feature_gates: Vec<At<String>>,
    /// Every plugin that the rest of the document refers to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginSpec>,
    /// Exactly one is run; when absent one is made of every declared filter, scorer and picker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scheduling_profiles: Vec<ProfileSpec>,
    /// Where engine metrics come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_layer: Option<DataLayer>,
    /// Queueing before scheduling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_control: Option<FlowControl>,
    /// How request bodies are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_handler: Option<RequestHandler>,
    /// Deprecated: now in `flowControl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saturation_detector: Option<PluginRef>,
    /// Deprecated: now `requestHandler.parsers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parser: Option<PluginRef>,
}

/// One plugin instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginSpec {
    /// What the rest of the document calls it; the type when absent. Unique.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<At<String>>,
    /// See `prefixgate plugins`.
    pub r#type: At<String>,
    /// Depend on the type.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
}

impl PluginSpec {
    /// The name the rest of the document uses.
    pub fn name(&self) -> &At<String> {
        self.name.as_ref().unwrap_or(&self.r#type)
    }
}

/// One profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileSpec {
    pub name: At<String>,
    /// Filters and scorers in the order they run, and a picker.
    #[serde(default)]
    pub plugins: Vec<ProfilePlugin>,
}

/// One plugin of a profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfilePlugin {
    pub plugin_ref: At<String>,
    /// Of a scorer; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<At<f64>>,
}

/// A reference to a plugin by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginRef {
    pub plugin_ref: At<String>,
}

/// Where engine metrics come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataLayer {
    /// Scrape metrics even when `sources` does not say so; true when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inject_defaults: Option<At<bool>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery: Option<PluginRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_discovery: Option<PluginRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_replica_syncer_plugin_ref: Option<At<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_replica_sync_interval: Option<At<String>>,
}

/// One source and who reads what it brings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceSpec {
    pub plugin_ref: At<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extractors: Vec<PluginRef>,
}

/// Queueing before scheduling.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlowControl {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<At<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<At<Value>>,
    #[serde(rename = "defaultRequestTTL", skip_serializing_if = "Option::is_none")]
    pub default_request_ttl: Option<At<Value>>,
    #[serde(
        rename = "noEndpointRequestTTL",
        skip_serializing_if = "Option::is_none"
    )]
    pub no_endpoint_request_ttl: Option<At<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_priority_band: Option<At<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_negative_priority_band: Option<At<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_bands: Option<At<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_limit_policy_plugin_ref: Option<At<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saturation_detector: Option<PluginRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_eviction: Option<At<bool>>,
}

/// How request bodies are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestHandler {
    /// A path that none of them claims is refused; without this list every path is passed through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parsers: Vec<PluginRef>,
}

/// Parameters as written, each with its line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters(pub Vec<(At<String>, Value)>);

impl Parameters {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Of an object; nothing else has parameters.
    pub(crate) fn from_value(value: Value) -> Self {
        match value {
            Value::Object(map) => Self(
                map.into_iter()
                    .map(|(key, value)| (At::nowhere(key), value))
                    .collect(),
            ),
            _ => Self::default(),
        }
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Parameters;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of parameters")
            }

            fn visit_unit<E>(self) -> Result<Parameters, E> {
                Ok(Parameters::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<At<String>>()? {
                    entries.push((key, map.next_value()?));
                }
                Ok(Parameters(entries))
            }
        }

        deserializer.deserialize_any(Entries)
    }
}

impl Serialize for Parameters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl JsonSchema for Parameters {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Parameters".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}
