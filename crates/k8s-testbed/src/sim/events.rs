//! What is told about an object beside its status?

use serde_json::{Value, json};

use crate::object::{self, now};
use crate::store::{Key, Store};
use crate::write::suffix;

/// Writes an event about `object`; one that says the same is counted up.
pub(crate) fn tell(
    store: &Store,
    object: &Value,
    component: &str,
    kind: &str,
    reason: &str,
    message: &str,
) {
    let namespace = object::namespace(object);
    let (events, _) = store.list("events", namespace);
    let uid = object::uid(object);
    let same = events.iter().find(|event| {
        event["involvedObject"]["uid"] == uid
            && event["reason"] == reason
            && event["message"] == message
    });
    let name = match same {
        Some(event) => object::name(event).to_owned(),
        None => format!("{}.{}{}", object::name(object), suffix(), suffix()),
    };
    let fresh = json!({
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uuid::Uuid::new_v4().to_string(),
            "creationTimestamp": now(),
        },
        "involvedObject": {
            "kind": object["kind"], "apiVersion": object["apiVersion"],
            "name": object::name(object), "namespace": namespace, "uid": uid,
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": component},
        "reportingComponent": component,
        "reportingInstance": "",
        "firstTimestamp": now(),
        "lastTimestamp": now(),
        "count": 1,
    });
    // Nothing is refused here.
    let _ = store.write(&Key::new("events", namespace, &name), |before| {
        let Some(before) = before else {
            return Ok(Some(fresh));
        };
        let mut event = before.clone();
        event["count"] = json!(object::number(before, "/count").unwrap_or(1) + 1);
        event["lastTimestamp"] = json!(now());
        Ok(Some(event))
    });
}
