//! What goes when its owner has gone?

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::object::{finalizers, is_deleting, list, name, text, uid};
use crate::store::{Key, Store};
use crate::write::{FOREGROUND, ORPHAN};

/// Deletes orphans, finishes foreground deletions, empties namespaces that are to go.
pub(crate) fn collect(store: &Store) {
    let everything = store.everything();
    let alive: HashSet<&str> = everything.iter().map(|(_, object)| uid(object)).collect();
    let ending: HashSet<&str> = everything
        .iter()
        .filter(|(_, object)| is_deleting(object) && finalizers(object).contains(&FOREGROUND))
        .map(|(_, object)| uid(object))
        .collect();
    for (key, object) in &everything {
        let owners = list(object, "/metadata/ownerReferences");
        let owner = |owner: &Value| text(owner, "/uid").to_owned();
        let orphaned = !owners.is_empty()
            && owners
                .iter()
                .all(|one| !alive.contains(owner(one).as_str()));
        let pulled = owners
            .iter()
            .any(|one| ending.contains(owner(one).as_str()));
        let homeless = !key.namespace.is_empty() && namespace_ends(store, &key.namespace);
        if (orphaned || pulled || homeless) && !is_deleting(object) {
            delete(store, key);
        }
    }
    for (key, object) in everything.iter().filter(|(_, object)| is_deleting(object)) {
        let held = finalizers(object);
        if held.contains(&ORPHAN) {
            leave_behind(store, &everything, uid(object));
            release(store, key, ORPHAN);
        }
        if held.contains(&FOREGROUND) {
            let blocked = everything.iter().any(|(_, other)| {
                list(other, "/metadata/ownerReferences")
                    .iter()
                    .any(|owner| {
                        text(owner, "/uid") == uid(object) && owner["blockOwnerDeletion"] == true
                    })
            });
            if !blocked {
                release(store, key, FOREGROUND);
            }
        }
    }
    for (key, _) in everything
        .iter()
        .filter(|(key, object)| key.resource == "namespaces" && is_deleting(object))
    {
        let inhabited = everything
            .iter()
            .any(|(other, _)| other.namespace == key.name);
        let _ = store.write(key, |before| Ok(before.filter(|_| inhabited).cloned()));
    }
}

fn namespace_ends(store: &Store, namespace: &str) -> bool {
    store
        .get(&Key::new("namespaces", "", namespace))
        .is_none_or(|object| is_deleting(&object))
}

/// As a background deletion.
pub(crate) fn delete(store: &Store, key: &Key) {
    let (group, plural) = match key.resource.split_once('.') {
        Some((plural, group)) => (group, plural),
        None => ("", key.resource.as_str()),
    };
    let Some(kind) = store
        .kinds()
        .into_iter()
        .find(|kind| kind.group == group && kind.plural == plural)
    else {
        return;
    };
    let write = crate::write::Write {
        store,
        kind: &kind,
        namespace: &key.namespace,
        manager: "garbage-collector",
        dry_run: false,
        strict: false,
    };
    // Gone already.
    let _ = write.delete(&key.name, &json!({}));
}

fn release(store: &Store, key: &Key, finalizer: &str) {
    let _ = store.write(key, |before| {
        let Some(before) = before else {
            return Ok(None);
        };
        let mut object = before.clone();
        if let Some(Value::Array(held)) = object.pointer_mut("/metadata/finalizers") {
            held.retain(|one| one != finalizer);
        }
        let kept = !finalizers(&object).is_empty();
        Ok(kept.then_some(object))
    });
}

fn leave_behind(store: &Store, everything: &[(Key, std::sync::Arc<Value>)], owner: &str) {
    let owned = |object: &Value| {
        list(object, "/metadata/ownerReferences")
            .iter()
            .any(|one| text(one, "/uid") == owner)
    };
    for (key, object) in everything.iter().filter(|(_, object)| owned(object)) {
        tracing::debug!(name = name(object), "orphaned");
        let _ = store.write(key, |before| {
            let Some(before) = before else {
                return Ok(None);
            };
            let mut object = before.clone();
            if let Some(Value::Array(owners)) = object.pointer_mut("/metadata/ownerReferences") {
                owners.retain(|one| text(one, "/uid") != owner);
            }
            Ok(Some(object))
        });
    }
}
