//! What does server-side apply make of an object, and who owns which field afterwards?

use serde_json::{Map, Value, json};

use crate::fields::{self, Fields, Lists, Merge};
use crate::object::{as_map, metadata, now};
use crate::status::Status;
use crate::strategic::item_key;

/// Who writes, and where.
pub(crate) struct Writer<'a> {
    pub(crate) manager: &'a str,
    pub(crate) api_version: &'a str,
    /// Empty, `status` or `scale`.
    pub(crate) subresource: &'a str,
}

/// `live` with `config` applied by `writer`. A `force`d apply takes fields from others.
///
/// # Errors
/// 409 naming each field and its manager where another one owns it with another value.
pub(crate) fn apply(
    live: &Value,
    config: &Value,
    writer: &Writer<'_>,
    force: bool,
    lists: &Lists<'_>,
) -> Result<Value, Status> {
    let wanted = fields::of(config, lists);
    let mut managers = managers(live);
    let own = managers.iter().position(|one| is(one, writer, "Apply"));
    let before = own.map(|at| owned(&managers[at])).unwrap_or_default();

    let mut conflicts = Vec::new();
    for (at, other) in managers.iter_mut().enumerate() {
        if Some(at) == own {
            continue;
        }
        let theirs = owned(other);
        let contested = fields::both(&wanted, &theirs);
        let contested = fields::differing(&contested, live, config);
        if contested.is_empty() {
            continue;
        }
        let name = other["manager"].as_str().unwrap_or_default().to_owned();
        conflicts.extend(
            fields::paths(&contested)
                .into_iter()
                .map(|path| format!("conflict with {name:?}: {path}")),
        );
        set_owned(other, fields::minus(&theirs, &contested));
    }
    if !conflicts.is_empty() && !force {
        let plural = if conflicts.len() == 1 { "" } else { "s" };
        return Err(Status::apply_conflict(format!(
            "Apply failed with {} conflict{plural}: {}",
            conflicts.len(),
            conflicts.join("; ")
        )));
    }

    let mut result = live.clone();
    merge(&mut result, config, lists, &mut Vec::new());
    let others = managers
        .iter()
        .enumerate()
        .filter(|(at, _)| Some(*at) != own)
        .fold(Fields::new(), |sum, (_, other)| {
            fields::plus(&sum, &owned(other))
        });
    let dropped = fields::minus(&fields::minus(&before, &wanted), &others);
    fields::remove(&mut result, &dropped);

    if let Some(at) = own {
        managers.remove(at);
    }
    managers.push(entry(writer, "Apply", wanted));
    store(&mut result, managers);
    Ok(result)
}

/// Takes note of who owns what after a write that was no apply.
pub(crate) fn updated(before: &Value, after: &mut Value, writer: &Writer<'_>, lists: &Lists<'_>) {
    let all = fields::of(after, lists);
    let changed = fields::differing(&all, before, after);
    let mut managers = managers(before);
    for one in &mut managers {
        let mut theirs = fields::both(&owned(one), &all);
        if !is(one, writer, "Update") {
            theirs = fields::minus(&theirs, &changed);
        }
        set_owned(one, theirs);
    }
    if !changed.is_empty() {
        let own = managers.iter().position(|one| is(one, writer, "Update"));
        let held = own
            .map(|at| owned(&managers.remove(at)))
            .unwrap_or_default();
        managers.push(entry(writer, "Update", fields::plus(&held, &changed)));
    }
    store(after, managers);
}

fn managers(object: &Value) -> Vec<Value> {
    object["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

fn is(entry: &Value, writer: &Writer<'_>, operation: &str) -> bool {
    entry["manager"] == writer.manager
        && entry["operation"] == operation
        && entry["subresource"].as_str().unwrap_or_default() == writer.subresource
}

fn owned(entry: &Value) -> Fields {
    entry["fieldsV1"].as_object().cloned().unwrap_or_default()
}

fn set_owned(entry: &mut Value, fields: Fields) {
    as_map(entry).insert("fieldsV1".to_owned(), Value::Object(fields));
}

fn entry(writer: &Writer<'_>, operation: &str, fields: Fields) -> Value {
    let mut entry = json!({
        "manager": writer.manager,
        "operation": operation,
        "apiVersion": writer.api_version,
        "time": now(),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    });
    if !writer.subresource.is_empty() {
        entry["subresource"] = json!(writer.subresource);
    }
    entry
}

/// Managers of nothing are forgotten; the order does not depend on who wrote last.
fn store(object: &mut Value, mut managers: Vec<Value>) {
    managers.retain(|one| {
        one["fieldsV1"]
            .as_object()
            .is_some_and(|fields| !fields.is_empty())
    });
    let by = |one: &Value| {
        ["operation", "manager", "subresource"]
            .map(|key| one[key].as_str().unwrap_or_default().to_owned())
    };
    managers.sort_by_key(by);
    metadata(object).insert("managedFields".to_owned(), Value::Array(managers));
}

fn merge(target: &mut Value, config: &Value, lists: &Lists<'_>, path: &mut Vec<String>) {
    match config {
        Value::Object(config) if target.is_object() && !config.is_empty() => {
            merge_map(as_map(target), config, lists, path);
        }
        Value::Array(items) if target.is_array() => match lists.kind(path) {
            Merge::Atomic => *target = Value::Array(items.clone()),
            Merge::Set => {
                if let Some(list) = target.as_array_mut() {
                    list.extend(
                        items
                            .iter()
                            .filter(|item| !list.contains(item))
                            .cloned()
                            .collect::<Vec<_>>(),
                    );
                }
            }
            Merge::Map(keys) => merge_items(target, items, &keys, lists, path),
        },
        Value::Null => {}
        other => *target = other.clone(),
    }
}

fn merge_map(
    target: &mut Map<String, Value>,
    config: &Map<String, Value>,
    lists: &Lists<'_>,
    path: &mut Vec<String>,
) {
    for (key, value) in config {
        path.push(key.clone());
        match target.get_mut(key) {
            Some(held) => merge(held, value, lists, path),
            None => {
                target.insert(key.clone(), value.clone());
            }
        }
        path.pop();
    }
}

fn merge_items(
    target: &mut Value,
    items: &[Value],
    keys: &[String],
    lists: &Lists<'_>,
    path: &mut Vec<String>,
) {
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let Some(list) = target.as_array_mut() else {
        return;
    };
    for item in items {
        let key = item_key(item, &keys);
        match list.iter_mut().find(|one| item_key(one, &keys) == key) {
            Some(held) => merge(held, item, lists, path),
            None => list.push(item.clone()),
        }
    }
}
