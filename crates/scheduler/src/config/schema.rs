//! Which documents are well formed, for editors?

use serde_json::{Map, Value, json};

use super::document::Document;
use crate::plugins::{PLUGINS, PluginType};

/// JSON schema of an `EndpointPickerConfig` as it is read here, the parameters of each plugin type included.
pub fn config_schema() -> Value {
    let mut schema = schemars::schema_for!(Document).to_value();
    if let Some(plugin) = schema
        .pointer_mut("/$defs/PluginSpec")
        .and_then(Value::as_object_mut)
    {
        describe_types(plugin);
    }
    schema
}

fn names(plugin: &PluginType) -> Vec<&'static str> {
    std::iter::once(plugin.name)
        .chain(plugin.aliases.iter().copied())
        .collect()
}

fn describe_types(plugin: &mut Map<String, Value>) {
    let all: Vec<&str> = PLUGINS.iter().flat_map(names).collect();
    if let Some(properties) = plugin.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(
            "type".to_owned(),
            json!({"description": "The plugin type.", "type": "string", "enum": all}),
        );
    }
    let cases: Vec<Value> = PLUGINS
        .iter()
        .map(|plugin| {
            json!({
                "if": {"properties": {"type": {"enum": names(plugin)}}},
                "then": {"properties": {"parameters": plugin.parameters_schema()}},
            })
        })
        .collect();
    plugin.insert("allOf".to_owned(), Value::Array(cases));
}
