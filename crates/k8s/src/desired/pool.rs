//! Which InferencePool do a service's pods form?

use serde_json::{Value, json};

use super::engine_command::ENGINE_PORT;
use super::merge::strategic;
use super::names;
use super::{Facts, Owner, Resolved};
use crate::types::ServiceSpec;

/// Port of the picker's ext_proc service.
pub(super) const PICKER_PORT: u16 = 9002;

/// The pool that exists already, when the service names one.
pub(super) fn reference(spec: &ServiceSpec) -> Option<&str> {
    Some(
        spec.scheduler()?
            .pool
            .as_ref()?
            .reference
            .as_ref()?
            .name
            .as_str(),
    )
}

/// The pool requests of this service go to.
pub(crate) fn name(resolved: &Resolved) -> String {
    let own = names::pool(
        resolved
            .service
            .metadata
            .name
            .as_deref()
            .unwrap_or_default(),
    );
    reference(&resolved.spec).map_or(own, str::to_owned)
}

pub(super) fn pool(resolved: &Resolved, facts: &Facts, owner: &Owner) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": names::pods_selector(&owner.name)},
        "targetPorts": [{"number": ENGINE_PORT}],
    });
    if super::needs_picker(facts) {
        // Requests are served by any replica while the picker is away.
        spec["endpointPickerRef"] = json!({
            "group": "",
            "kind": "Service",
            "name": names::picker_service(&owner.name),
            "port": {"number": PICKER_PORT},
            "failureMode": "FailOpen",
        });
    }
    let given = resolved
        .spec
        .scheduler()
        .and_then(|scheduler| scheduler.pool.as_ref()?.spec.clone());
    if let Some(given) = given {
        strategic(&mut spec, &current_shape(given));
    }
    owner.object(
        "inference.networking.k8s.io/v1",
        "InferencePool",
        &names::pool(&owner.name),
        &names::component(&owner.name, "llminferenceservice-router-scheduler"),
        json!({"spec": spec}),
    )
}

/// v1alpha1 services hold a pool in the shape it had before v1.
fn current_shape(mut spec: Value) -> Value {
    let Some(fields) = spec.as_object_mut() else {
        return spec;
    };
    if let Some(port) = fields.shift_remove("targetPortNumber") {
        fields.insert("targetPorts".to_owned(), json!([{"number": port}]));
    }
    if let Some(Value::Object(selector)) = fields.get("selector")
        && !selector.contains_key("matchLabels")
    {
        let labels = Value::Object(selector.clone());
        fields.insert("selector".to_owned(), json!({"matchLabels": labels}));
    }
    if let Some(mut picker) = fields.shift_remove("extensionRef") {
        if let Some(picker) = picker.as_object_mut()
            && let Some(port) = picker.shift_remove("portNumber")
        {
            picker.insert("port".to_owned(), json!({"number": port}));
        }
        fields.insert("endpointPickerRef".to_owned(), picker);
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_written_before_v1_is_read() {
        let old = json!({"selector": {"app": "x"}, "targetPortNumber": 8000, "extensionRef": {"name": "epp", "portNumber": 9002}});
        assert_eq!(
            current_shape(old),
            json!({
                "selector": {"matchLabels": {"app": "x"}},
                "targetPorts": [{"number": 8000}],
                "endpointPickerRef": {"name": "epp", "port": {"number": 9002}},
            })
        );
        let new =
            json!({"selector": {"matchLabels": {"app": "x"}}, "targetPorts": [{"number": 1}]});
        assert_eq!(current_shape(new.clone()), new);
    }
}
