//! Does an object keep to its definition's schema?

use serde_json::Value;

/// Adds what is wrong with `value` to `wrong`, each with the path where it is. CEL rules are not evaluated.
pub(crate) fn check(value: &Value, schema: &Value, path: &mut String, wrong: &mut Vec<String>) {
    if value.is_null() {
        if schema["nullable"] != true && !path.is_empty() {
            wrong.push(format!("{}: Invalid value: null", shown(path)));
        }
        return;
    }
    let fits = match schema["type"].as_str() {
        _ if schema["x-kubernetes-int-or-string"] == true => value.is_i64() || value.is_string(),
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    if !fits {
        let wanted = schema["type"].as_str().unwrap_or("integer or string");
        wrong.push(format!(
            "{}: Invalid value: {value}: must be of type {wanted}",
            shown(path)
        ));
        return;
    }
    bounds(value, schema, path, wrong);
    match value {
        Value::Object(map) => {
            let required = schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            for name in required.filter(|name| map.get(*name).is_none_or(Value::is_null)) {
                wrong.push(format!("{}.{name}: Required value", shown(path)));
            }
            for (name, value) in map {
                // The server knows what metadata is.
                if path.is_empty() && name == "metadata" {
                    continue;
                }
                let below = schema["properties"]
                    .get(name)
                    .or_else(|| schema.get("additionalProperties"));
                if let Some(below) = below.filter(|below| below.is_object()) {
                    let length = path.len();
                    path.push('.');
                    path.push_str(name);
                    check(value, below, path, wrong);
                    path.truncate(length);
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                let length = path.len();
                path.push_str(&format!("[{at}]"));
                check(item, &schema["items"], path, wrong);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn shown(path: &str) -> &str {
    path.strip_prefix('.').unwrap_or(path)
}

fn bounds(value: &Value, schema: &Value, path: &str, wrong: &mut Vec<String>) {
    let path = shown(path);
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        let names: Vec<String> = allowed.iter().map(Value::to_string).collect();
        wrong.push(format!(
            "{path}: Unsupported value: {value}: supported values: {}",
            names.join(", ")
        ));
    }
    let count = match value {
        Value::String(text) => Some((text.chars().count(), "minLength", "maxLength")),
        Value::Array(items) => Some((items.len(), "minItems", "maxItems")),
        Value::Object(map) => Some((map.len(), "minProperties", "maxProperties")),
        _ => None,
    };
    if let Some((count, least, most)) = count {
        let count = count as u64;
        if schema[least].as_u64().is_some_and(|least| count < least) {
            wrong.push(format!(
                "{path}: Invalid value: should have at least {} of them",
                schema[least]
            ));
        }
        if schema[most].as_u64().is_some_and(|most| count > most) {
            wrong.push(format!(
                "{path}: Too many or too long: may have at most {}",
                schema[most]
            ));
        }
    }
    if let Some(number) = value.as_f64() {
        if schema["minimum"]
            .as_f64()
            .is_some_and(|least| number < least)
        {
            wrong.push(format!(
                "{path}: Invalid value: {value}: should be greater than or equal to {}",
                schema["minimum"]
            ));
        }
        if schema["maximum"].as_f64().is_some_and(|most| number > most) {
            wrong.push(format!(
                "{path}: Invalid value: {value}: should be less than or equal to {}",
                schema["maximum"]
            ));
        }
    }
}

/// Adds the paths of fields that the schema does not name.
pub(crate) fn unknown(value: &Value, schema: &Value, path: &mut String, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let own =
                    path.is_empty() && matches!(name.as_str(), "metadata" | "apiVersion" | "kind");
                if own || (!known(schema, name) && open(schema)) {
                    continue;
                }
                let length = path.len();
                if length > 0 {
                    path.push('.');
                }
                path.push_str(name);
                if known(schema, name) {
                    let below = schema["properties"]
                        .get(name)
                        .unwrap_or(&schema["additionalProperties"]);
                    unknown(value, below, path, found);
                } else {
                    found.push(path.clone());
                }
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                let length = path.len();
                path.push_str(&format!("[{at}]"));
                unknown(item, &schema["items"], path, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn known(schema: &Value, name: &str) -> bool {
    let properties = schema["properties"].as_object();
    properties.is_some_and(|properties| properties.contains_key(name))
        || schema["additionalProperties"].is_object()
}

/// Keeps whatever it is given.
fn open(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true
        || schema.get("properties").is_none() && schema["type"] != "object"
}

/// Drops what the schema does not name, and adds what it has a default for, as the real server does.
pub(crate) fn prune(value: &mut Value, schema: &Value, root: bool) {
    match value {
        Value::Object(map) => {
            let properties = schema["properties"].as_object();
            let others = schema
                .get("additionalProperties")
                .filter(|others| others.is_object());
            map.retain(|name, _| {
                let own = root && matches!(name.as_str(), "metadata" | "apiVersion" | "kind");
                own || known(schema, name) || open(schema)
            });
            for (name, below) in properties.into_iter().flatten() {
                if map.get(name).is_none()
                    && let Some(default) = below.get("default")
                {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in map.iter_mut() {
                if root && name == "metadata" {
                    continue;
                }
                if let Some(below) = properties
                    .and_then(|properties| properties.get(name))
                    .or(others)
                {
                    prune(value, below, false);
                }
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| prune(item, &schema["items"], false)),
        _ => {}
    }
}
