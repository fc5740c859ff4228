//! How do our structs become schemas that an API server takes?

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};

/// Any object, kept whole: PodSpecs and other large types are checked where they are used.
pub(super) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// A number of pods or a percentage.
pub(super) fn int_or_string(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-int-or-string": true})
}

/// `T` as a structural schema: nothing referenced, no formats an API server does not know.
pub(super) fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = Value::from(settings.into_generator().into_root_schema_for::<T>());
    tidy(&mut schema);
    schema
}

/// Keeps the keywords of a structural schema only.
fn tidy(schema: &mut Value) {
    let Value::Object(schema) = schema else {
        return;
    };
    for keyword in ["$schema", "title", "default", "format", "nullable"] {
        schema.remove(keyword);
    }
    if let Some(Value::Array(kinds)) = schema.get("type") {
        let kind = kinds.iter().find(|kind| *kind != "null").cloned();
        schema.insert("type".to_owned(), kind.unwrap_or(Value::Null));
    }
    single_alternative(schema);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(tidy);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(inner) {
            tidy(inner);
        }
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}

/// `anyOf: [T, null]` and `allOf: [T]` are `T`.
fn single_alternative(schema: &mut Map<String, Value>) {
    for keyword in ["anyOf", "allOf"] {
        let Some(Value::Array(alternatives)) = schema.remove(keyword) else {
            continue;
        };
        let only = alternatives
            .into_iter()
            .find(|schema| schema["type"] != "null" && schema["enum"] != json!([null]));
        if let Some(Value::Object(only)) = only {
            for (key, value) in only {
                schema.entry(key).or_insert(value);
            }
        }
    }
}
