//! Which lists of built-in kinds are maps in truth, and what does a strategic merge patch make of them?

use serde_json::{Value, json};

use crate::object::as_map;

/// How a list is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListKind {
    Atomic,
    /// Of scalars, each once.
    Set,
    /// By the values of these fields.
    Map(&'static [&'static str]),
}

/// By the name of the field that holds it and the one above: the conventions of the built-in types.
pub(crate) fn list_kind(path: &[String]) -> ListKind {
    let last = path.last().map(String::as_str).unwrap_or_default();
    let above = path
        .len()
        .checked_sub(2)
        .and_then(|at| path.get(at))
        .map(String::as_str)
        .unwrap_or_default();
    match (above, last) {
        (_, "finalizers") => ListKind::Set,
        (_, "ownerReferences") => ListKind::Map(&["uid"]),
        (
            _,
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "volumes"
            | "env"
            | "imagePullSecrets",
        ) => ListKind::Map(&["name"]),
        ("metadata" | "", "secrets") => ListKind::Map(&["name"]),
        (_, "volumeMounts") => ListKind::Map(&["mountPath"]),
        (_, "volumeDevices") => ListKind::Map(&["devicePath"]),
        (_, "hostAliases") => ListKind::Map(&["ip"]),
        (_, "topologySpreadConstraints") => ListKind::Map(&["topologyKey", "whenUnsatisfiable"]),
        ("spec", "ports") => ListKind::Map(&["port", "protocol"]),
        (_, "ports") => ListKind::Map(&["containerPort", "protocol"]),
        ("status", "conditions") => ListKind::Map(&["type"]),
        _ => ListKind::Atomic,
    }
}

/// The key of an item; a protocol left out is TCP.
pub(crate) fn item_key(item: &Value, keys: &[&str]) -> Value {
    let value = |key: &str| match (&item[key], key) {
        (Value::Null, "protocol") => json!("TCP"),
        (value, _) => value.clone(),
    };
    Value::Object(
        keys.iter()
            .map(|&key| (key.to_owned(), value(key)))
            .collect(),
    )
}

/// Applies a strategic merge patch.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    merge_at(target, patch, &mut Vec::new());
}

fn merge_at(target: &mut Value, patch: &Value, path: &mut Vec<String>) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    match fields.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *target = patch.clone();
            as_map(target).shift_remove("$patch");
            return;
        }
        Some("delete") => {
            *target = json!({});
            return;
        }
        _ => {}
    }
    let map = as_map(target);
    if let Some(kept) = fields.get("$retainKeys").and_then(Value::as_array) {
        map.retain(|key, _| kept.iter().any(|kept| kept == key));
    }
    for (key, value) in fields {
        if let Some(name) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().cloned().unwrap_or_default();
            if let Some(Value::Array(list)) = map.get_mut(name) {
                list.retain(|one| !gone.contains(one));
            }
            continue;
        }
        if key.starts_with('$') {
            continue;
        }
        path.push(key.clone());
        match value {
            Value::Null => {
                map.shift_remove(key);
            }
            Value::Object(_) => merge_at(map.entry(key).or_insert_with(|| json!({})), value, path),
            Value::Array(items) => {
                merge_list(map.entry(key).or_insert_with(|| json!([])), items, path)
            }
            value => {
                map.insert(key.clone(), value.clone());
            }
        }
        path.pop();
    }
    for (key, order) in fields {
        if let Some(name) = key.strip_prefix("$setElementOrder/")
            && let (Some(Value::Array(list)), Some(order)) = (map.get_mut(name), order.as_array())
        {
            path.push(name.to_owned());
            sort(list, order, list_kind(path));
            path.pop();
        }
    }
}

fn merge_list(target: &mut Value, items: &[Value], path: &mut Vec<String>) {
    let kind = list_kind(path);
    let replaces = |item: &Value| item["$patch"] == "replace";
    let Value::Array(list) = target else {
        *target = json!(items);
        return;
    };
    match kind {
        ListKind::Map(keys) if !items.iter().any(replaces) => {
            for item in items {
                let key = item_key(item, keys);
                let at = list.iter().position(|one| item_key(one, keys) == key);
                match at {
                    Some(at) if item["$patch"] == "delete" => {
                        list.remove(at);
                    }
                    Some(at) => merge_at(&mut list[at], item, path),
                    None if item["$patch"] == "delete" => {}
                    None => list.push(item.clone()),
                }
            }
        }
        ListKind::Set => {
            for item in items {
                if !list.contains(item) {
                    list.push(item.clone());
                }
            }
        }
        _ => {
            *list = items
                .iter()
                .filter(|item| !replaces(item))
                .cloned()
                .collect()
        }
    }
}

/// Puts items in the order the client wants; others come after.
fn sort(list: &mut [Value], order: &[Value], kind: ListKind) {
    list.sort_by_key(|item| {
        let same = |wanted: &Value| match kind {
            ListKind::Map(keys) => keys.first().is_some_and(|key| wanted[key] == item[key]),
            _ => wanted == item,
        };
        order.iter().position(same).unwrap_or(order.len())
    });
}
