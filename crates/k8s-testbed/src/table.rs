//! What does `kubectl get` print?

use serde_json::{Value, json};

use crate::api::request::Shape;
use crate::kinds::Kind;
use crate::object::{list, name, number, text};

/// One object in the shape asked for.
pub(crate) fn one(kind: &Kind, object: &Value, shape: Shape) -> Value {
    match shape {
        Shape::Full => versioned(kind, object),
        Shape::Metadata => partial(object),
        Shape::Table => table(kind, &[object], text(object, "/metadata/resourceVersion")),
    }
}

/// A list in the shape asked for.
pub(crate) fn many(kind: &Kind, objects: &[&Value], version: &str, shape: Shape) -> Value {
    let metadata = json!({"resourceVersion": version});
    match shape {
        Shape::Table => table(kind, objects, version),
        Shape::Full => json!({
            "kind": format!("{}List", kind.kind),
            "apiVersion": kind.api_version(),
            "metadata": metadata,
            "items": objects.iter().map(|object| versioned(kind, object)).collect::<Vec<_>>(),
        }),
        Shape::Metadata => json!({
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": objects.iter().map(|object| partial(object)).collect::<Vec<_>>(),
        }),
    }
}

/// Objects are kept once, in whichever version they were written.
fn versioned(kind: &Kind, object: &Value) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = json!(kind.api_version());
    object
}

fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

fn table(kind: &Kind, objects: &[&Value], version: &str) -> Value {
    let column = |name: &str, priority: i64| json!({"name": name, "type": "string", "format": "", "description": "", "priority": priority});
    let mut columns = vec![
        json!({"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}),
    ];
    if kind.kind == "Pod" {
        columns.extend(["Ready", "Status", "Restarts"].map(|name| column(name, 0)));
        columns.extend([column("Age", 0), column("IP", 1), column("Node", 1)]);
    } else {
        for own in &kind.columns {
            columns.push(column(
                text(own, "/name"),
                number(own, "/priority").unwrap_or(0),
            ));
        }
        if !kind.columns.iter().any(|own| own["name"] == "Age") {
            columns.push(column("Age", 0));
        }
    }
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| json!({"cells": cells(kind, object), "object": partial(object)}))
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": columns,
        "rows": rows,
    })
}

fn cells(kind: &Kind, object: &Value) -> Vec<Value> {
    let age = json!(age(text(object, "/metadata/creationTimestamp")));
    let mut cells = vec![json!(name(object))];
    if kind.kind == "Pod" {
        cells.extend(pod(object));
        cells.extend([
            age,
            object["status"]["podIP"].clone(),
            object["spec"]["nodeName"].clone(),
        ]);
        return cells;
    }
    let mut aged = false;
    for column in &kind.columns {
        let value = path(object, text(column, "/jsonPath"));
        if column["type"] == "date" {
            aged = true;
            cells.push(json!(value.as_str().map(self::age).unwrap_or_default()));
        } else {
            cells.push(value);
        }
    }
    if !aged {
        cells.push(age);
    }
    cells
}

fn pod(pod: &Value) -> Vec<Value> {
    let statuses = list(pod, "/status/containerStatuses");
    let ready = statuses.iter().filter(|one| one["ready"] == true).count();
    let restarts: i64 = statuses
        .iter()
        .filter_map(|one| number(one, "/restartCount"))
        .sum();
    let waiting = statuses
        .iter()
        .find_map(|one| one.pointer("/state/waiting/reason")?.as_str());
    let phase = match (crate::object::is_deleting(pod), waiting) {
        (true, _) => "Terminating",
        (false, Some(reason)) => reason,
        (false, None) => text(pod, "/status/phase"),
    };
    let all = list(pod, "/spec/containers").len();
    vec![
        json!(format!("{ready}/{all}")),
        json!(phase),
        json!(restarts),
    ]
}

/// The value of a simple JSONPath: fields, `[*]`, `[0]` and `[?(@.key=="value")]`.
fn path(object: &Value, path: &str) -> Value {
    let mut found = vec![object];
    let mut rest = path.trim_start_matches(['{', '$']).trim_end_matches('}');
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let Some((inside, after)) = inside.split_once(']') else {
                break;
            };
            rest = after;
            found = found
                .into_iter()
                .flat_map(|one| items(one, inside))
                .collect();
            continue;
        }
        rest = rest.trim_start_matches('.');
        // A dot behind a backslash belongs to the name.
        let mut end = rest.len();
        let mut escaped = false;
        for (at, letter) in rest.char_indices() {
            if !escaped && (letter == '.' || letter == '[') {
                end = at;
                break;
            }
            escaped = letter == '\\';
        }
        let name = rest[..end].replace('\\', "");
        rest = &rest[end..];
        found = found.into_iter().filter_map(|one| one.get(&name)).collect();
        if name.is_empty() {
            break;
        }
    }
    match found.as_slice() {
        [] => Value::Null,
        [one] if !one.is_object() && !one.is_array() => (*one).clone(),
        many => {
            let words: Vec<String> = many
                .iter()
                .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
                .collect();
            json!(words.join(","))
        }
    }
}

fn items<'a>(list: &'a Value, inside: &str) -> Vec<&'a Value> {
    let items = list.as_array().map_or(&[][..], Vec::as_slice);
    if let Some(condition) = inside.strip_prefix("?(@.") {
        let condition = condition.trim_end_matches(')');
        let (key, value) = condition.split_once("==").unwrap_or((condition, ""));
        let value = value.trim().trim_matches(['"', '\'']);
        return items
            .iter()
            .filter(|one| one[key.trim()] == value)
            .collect();
    }
    match inside.parse::<usize>() {
        Ok(at) => items.get(at).into_iter().collect(),
        Err(_) => items.iter().collect(),
    }
}

/// As `kubectl` writes it: `42s`, `5m`, `3h`, `2d`.
fn age(since: &str) -> String {
    let Ok(since) = since.parse::<jiff::Timestamp>() else {
        return "<unknown>".to_owned();
    };
    let seconds = jiff::Timestamp::now().as_second() - since.as_second();
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}
