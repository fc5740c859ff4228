//! Which fields does a set hold, and whose are they?
//!
//! A set is what `managedFields[].fieldsV1` holds: a tree of maps, whose keys are `f:name` for a field,
//! `k:{…}` for an item of a list that is a map, `v:…` for one of a set, and `.` for the node itself.

use serde_json::{Map, Value, json};

use crate::strategic::{ListKind, item_key, list_kind};

/// A set of fields as `fieldsV1`.
pub(crate) type Fields = Map<String, Value>;

/// Knows how lists of one kind of object merge.
pub(crate) struct Lists<'a> {
    /// Of a custom kind; built-in ones go by convention.
    pub(crate) schema: Option<&'a Value>,
    pub(crate) custom: bool,
}

/// How a list merges, with its keys as strings.
pub(crate) enum Merge {
    Atomic,
    Set,
    Map(Vec<String>),
}

impl Lists<'_> {
    pub(crate) fn kind(&self, path: &[String]) -> Merge {
        let of_metadata = path.first().is_some_and(|first| first == "metadata");
        if self.custom && !of_metadata {
            return self.by_schema(path);
        }
        match list_kind(path) {
            ListKind::Atomic => Merge::Atomic,
            ListKind::Set => Merge::Set,
            ListKind::Map(keys) => Merge::Map(keys.iter().map(|&key| key.to_owned()).collect()),
        }
    }

    fn by_schema(&self, path: &[String]) -> Merge {
        let Some(node) = self.schema.and_then(|schema| schema_at(schema, path)) else {
            return Merge::Atomic;
        };
        match node["x-kubernetes-list-type"].as_str() {
            Some("set") => Merge::Set,
            Some("map") => {
                let keys = node["x-kubernetes-list-map-keys"].as_array();
                let keys = keys
                    .into_iter()
                    .flatten()
                    .filter_map(|key| Some(key.as_str()?.to_owned()));
                Merge::Map(keys.collect())
            }
            _ => Merge::Atomic,
        }
    }

    /// Whether the map at `path` is one value.
    fn is_atomic_map(&self, path: &[String]) -> bool {
        let last = path.last().map(String::as_str).unwrap_or_default();
        if !self.custom || path.first().is_some_and(|first| first == "metadata") {
            // The selectors of built-in kinds.
            return matches!(
                last,
                "selector" | "valueFrom" | "secretKeyRef" | "configMapKeyRef" | "fieldRef"
            );
        }
        let node = self.schema.and_then(|schema| schema_at(schema, path));
        node.is_some_and(|node| node["x-kubernetes-map-type"] == "atomic")
    }
}

fn schema_at<'a>(schema: &'a Value, path: &[String]) -> Option<&'a Value> {
    let mut node = schema;
    for part in path {
        // Items of lists are not named in the path.
        if node["type"] == "array" {
            node = node.get("items")?;
        }
        node = match node["properties"].get(part) {
            Some(node) => node,
            None => node.get("additionalProperties")?,
        };
    }
    Some(node)
}

/// Every field that `object` holds.
pub(crate) fn of(object: &Value, lists: &Lists<'_>) -> Fields {
    let mut fields = tree(object, lists, &mut Vec::new());
    for identity in ["f:apiVersion", "f:kind"] {
        fields.shift_remove(identity);
    }
    if let Some(Value::Object(metadata)) = fields.get_mut("f:metadata") {
        for own in [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "managedFields",
            "generateName",
            "selfLink",
        ] {
            metadata.shift_remove(&format!("f:{own}"));
        }
        if metadata.is_empty() {
            fields.shift_remove("f:metadata");
        }
    }
    fields
}

fn tree(value: &Value, lists: &Lists<'_>, path: &mut Vec<String>) -> Fields {
    let mut fields = Fields::new();
    match value {
        Value::Object(map) if !lists.is_atomic_map(path) => {
            for (key, value) in map {
                path.push(key.clone());
                fields.insert(format!("f:{key}"), Value::Object(tree(value, lists, path)));
                path.pop();
            }
            if !map.is_empty() && path.len() > 1 {
                fields.insert(".".to_owned(), json!({}));
            }
        }
        Value::Array(items) => match lists.kind(path) {
            Merge::Atomic => {}
            Merge::Set => {
                for item in items {
                    fields.insert(format!("v:{item}"), json!({}));
                }
            }
            Merge::Map(keys) => {
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                for item in items {
                    let mut below = tree(item, lists, path);
                    below.insert(".".to_owned(), json!({}));
                    fields.insert(format!("k:{}", item_key(item, &keys)), Value::Object(below));
                }
            }
        },
        _ => {}
    }
    fields
}

/// What is in `a` and not in `b`, by leaves.
pub(crate) fn minus(a: &Fields, b: &Fields) -> Fields {
    let mut rest = Fields::new();
    for (key, below) in a {
        let below = map(below);
        match b.get(key) {
            None => {
                rest.insert(key.clone(), Value::Object(below.clone()));
            }
            Some(other) => {
                let left = minus(below, map(other));
                if !left.is_empty() {
                    rest.insert(key.clone(), Value::Object(left));
                }
            }
        }
    }
    rest
}

/// What is in either.
pub(crate) fn plus(a: &Fields, b: &Fields) -> Fields {
    let mut sum = a.clone();
    for (key, below) in b {
        let joined = match sum.get(key) {
            Some(own) => plus(map(own), map(below)),
            None => map(below).clone(),
        };
        sum.insert(key.clone(), Value::Object(joined));
    }
    sum
}

/// What is in both.
pub(crate) fn both(a: &Fields, b: &Fields) -> Fields {
    let mut shared = Fields::new();
    for (key, below) in a {
        let Some(other) = b.get(key) else { continue };
        let (below, other) = (map(below), map(other));
        // An empty map on one side is a mere mention; only what both hold as a value is contested.
        if below.is_empty() && other.is_empty() {
            shared.insert(key.clone(), json!({}));
            continue;
        }
        let deeper = both(below, other);
        if !deeper.is_empty() {
            shared.insert(key.clone(), Value::Object(deeper));
        }
    }
    shared
}

fn map(value: &Value) -> &Fields {
    static EMPTY: std::sync::LazyLock<Fields> = std::sync::LazyLock::new(Fields::new);
    value.as_object().unwrap_or(&EMPTY)
}

/// The child of `value` that the key of a set means.
fn child<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    if let Some(name) = key.strip_prefix("f:") {
        return value.get(name);
    }
    if let Some(item) = key.strip_prefix("v:") {
        let item: Value = serde_json::from_str(item).ok()?;
        return value.as_array()?.iter().find(|one| **one == item);
    }
    let wanted: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
    let keys: Vec<&str> = wanted.as_object()?.keys().map(String::as_str).collect();
    value
        .as_array()?
        .iter()
        .find(|one| item_key(one, &keys) == wanted)
}

/// The leaves of `fields` whose values differ between `a` and `b`.
pub(crate) fn differing(fields: &Fields, a: &Value, b: &Value) -> Fields {
    let mut differ = Fields::new();
    for (key, below) in fields {
        if key == "." {
            continue;
        }
        let below = map(below);
        let (left, right) = (child(a, key), child(b, key));
        let only_marker = below.keys().all(|key| key == ".");
        if only_marker || left.is_none() || right.is_none() {
            if left != right && !(only_marker && both_containers(left, right)) {
                differ.insert(key.clone(), Value::Object(below.clone()));
            }
            continue;
        }
        if let (Some(left), Some(right)) = (left, right) {
            let deeper = differing(below, left, right);
            if !deeper.is_empty() {
                differ.insert(key.clone(), Value::Object(deeper));
            }
        }
    }
    differ
}

/// Items of a list that is a map, owned only as such: their fields are others'.
fn both_containers(left: Option<&Value>, right: Option<&Value>) -> bool {
    matches!((left, right), (Some(Value::Object(a)), Some(Value::Object(b))) if !a.is_empty() && !b.is_empty())
}

/// Takes every leaf of `fields` out of `value`.
pub(crate) fn remove(value: &mut Value, fields: &Fields) {
    for (key, below) in fields {
        if key == "." {
            continue;
        }
        let below = map(below);
        let whole = below.is_empty() || below.contains_key(".");
        if let Some(name) = key.strip_prefix("f:") {
            let Some(map) = value.as_object_mut() else {
                continue;
            };
            if let Some(inner) = map.get_mut(name)
                && !below.is_empty()
            {
                remove(inner, below);
                let emptied = inner.as_object().is_some_and(Map::is_empty)
                    || inner.as_array().is_some_and(Vec::is_empty);
                if emptied {
                    map.shift_remove(name);
                }
            } else {
                map.shift_remove(name);
            }
            continue;
        }
        let Some(list) = value.as_array_mut() else {
            continue;
        };
        if let Some(item) = key
            .strip_prefix("v:")
            .and_then(|item| serde_json::from_str::<Value>(item).ok())
        {
            list.retain(|one| *one != item);
        } else if let Some(wanted) = key
            .strip_prefix("k:")
            .and_then(|key| serde_json::from_str::<Value>(key).ok())
        {
            let keys: Vec<String> = wanted
                .as_object()
                .into_iter()
                .flat_map(|map| map.keys().cloned())
                .collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            if whole {
                list.retain(|one| item_key(one, &keys) != wanted);
            } else if let Some(item) = list.iter_mut().find(|one| item_key(one, &keys) == wanted) {
                remove(item, below);
            }
        }
    }
}

/// The leaves as dotted paths, for messages.
pub(crate) fn paths(fields: &Fields) -> Vec<String> {
    let mut all = Vec::new();
    for (key, below) in fields {
        if key == "." {
            continue;
        }
        let name = match key.strip_prefix("f:") {
            Some(name) => format!(".{name}"),
            None => format!("[{}]", key.get(2..).unwrap_or_default()),
        };
        let below = paths(map(below));
        if below.is_empty() {
            all.push(name);
        } else {
            all.extend(below.into_iter().map(|rest| format!("{name}{rest}")));
        }
    }
    all
}
