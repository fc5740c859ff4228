//! How does one piece of a spec go over another?
//!
//! As a Kubernetes strategic merge: objects field by field, containers, environment and volumes by name, ports by
//! number, mounts by path, every other list replaced whole; `null` removes.

use serde_json::{Map, Value};

/// Lists whose items have an identity, and the field that is it.
fn merge_key(list: &str) -> Option<&'static str> {
    Some(match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "resourceClaims" => "name",
        "ports" => "containerPort",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "hostAliases" => "ip",
        "topologySpreadConstraints" => "topologyKey",
        _ => return None,
    })
}

/// Fields of which an object holds at most one.
const EXCLUSIVE: [&[&str]; 2] = [
    &["httpGet", "exec", "tcpSocket", "grpc", "sleep"],
    &["value", "valueFrom"],
];

/// Puts `patch` over `base`.
pub(crate) fn strategic(base: &mut Value, patch: &Value) {
    let (Value::Object(base), Value::Object(patch)) = (&mut *base, patch) else {
        *base = without_nulls(patch);
        return;
    };
    drop_exclusive(base, patch);
    for (key, value) in patch {
        match (base.get_mut(key), value) {
            (_, Value::Null) => {
                base.shift_remove(key);
            }
            (Some(Value::Array(items)), Value::Array(changes)) => {
                merge_list(key, items, changes);
            }
            (Some(current), _) => strategic(current, value),
            (None, _) => {
                base.insert(key.clone(), without_nulls(value));
            }
        }
    }
}

/// A probe that turns from HTTP to a command has no HTTP left in it.
fn drop_exclusive(base: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for group in EXCLUSIVE {
        if let Some(new) = group.iter().find(|key| patch.contains_key(**key)) {
            base.retain(|key, _| key == new || !group.contains(&key.as_str()));
        }
    }
}

fn merge_list(list: &str, items: &mut Vec<Value>, changes: &[Value]) {
    let Some(key) = merge_key(list).filter(|key| {
        changes
            .iter()
            .chain(&*items)
            .all(|item| item.get(key).is_some())
    }) else {
        *items = changes.iter().map(without_nulls).collect();
        return;
    };
    for change in changes {
        let place = items.iter().position(|item| item[key] == change[key]);
        let delete = change["$patch"] == "delete";
        match place {
            Some(place) if delete => {
                items.remove(place);
            }
            // A volume is one kind of source: what was there before goes.
            Some(place) if list == "volumes" || change["$patch"] == "replace" => {
                items[place] = without_nulls(change);
            }
            Some(place) => strategic(&mut items[place], change),
            None if delete => {}
            None => items.push(without_nulls(change)),
        }
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(key, value)| !value.is_null() && *key != "$patch")
                .map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(base: Value, patch: Value, expected: Value) {
        let mut merged = base;
        strategic(&mut merged, &patch);
        assert_eq!(merged, expected);
    }

    #[test]
    fn lists_with_identity_merge_and_others_are_replaced() {
        check(
            json!({"containers": [{"name": "main", "image": "a", "args": ["x"], "env": [{"name": "A", "value": "1"}]}]}),
            json!({"containers": [{"name": "main", "args": ["y"], "env": [{"name": "B", "value": "2"}]}, {"name": "side"}]}),
            json!({"containers": [
                {"name": "main", "image": "a", "args": ["y"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
                {"name": "side"}
            ]}),
        );
        check(
            json!({"tolerations": [{"key": "a"}], "nodeSelector": {"a": "1"}}),
            json!({"tolerations": [{"key": "b"}], "nodeSelector": {"b": "2"}}),
            json!({"tolerations": [{"key": "b"}], "nodeSelector": {"a": "1", "b": "2"}}),
        );
    }

    #[test]
    fn one_of_several_sources_replaces_the_other() {
        check(
            json!({"livenessProbe": {"httpGet": {"path": "/health"}, "periodSeconds": 10}}),
            json!({"livenessProbe": {"exec": {"command": ["true"]}}}),
            json!({"livenessProbe": {"periodSeconds": 10, "exec": {"command": ["true"]}}}),
        );
        check(
            json!({"env": [{"name": "A", "value": "1"}]}),
            json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]}),
            json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]}),
        );
        check(
            json!({"volumes": [{"name": "home", "emptyDir": {}}]}),
            json!({"volumes": [{"name": "home", "hostPath": {"path": "/x"}}]}),
            json!({"volumes": [{"name": "home", "hostPath": {"path": "/x"}}]}),
        );
    }

    #[test]
    fn null_and_patch_delete_remove() {
        check(
            json!({"a": 1, "b": {"c": 2}}),
            json!({"a": null, "b": {"c": null, "d": {"e": null}}}),
            json!({"b": {"d": {}}}),
        );
        check(
            json!({"volumes": [{"name": "a"}, {"name": "b"}]}),
            json!({"volumes": [{"name": "a", "$patch": "delete"}]}),
            json!({"volumes": [{"name": "b"}]}),
        );
    }
}
