//! What do the controllers of other gateways say?
//!
//! A Gateway whose class is not ours is programmed, and routes and pools under it are accepted, as that class's own
//! controller would do it; no traffic goes through it.

use serde_json::{Value, json};

use crate::object::{self, list, name, namespace, number, set_condition, text};
use crate::store::{Key, Store};

/// Controller names that begin so are ours, and write their own status.
const OURS: &str = "prefixgate";

const GROUP: &str = "gateway.networking.k8s.io";

pub(crate) fn reconcile(store: &Store) {
    let classes = foreign_classes(store);
    if classes.is_empty() {
        return;
    }
    let (gateways, _) = store.list(&format!("gateways.{GROUP}"), "");
    let theirs: Vec<&Value> = gateways
        .iter()
        .map(|gateway| &**gateway)
        .filter(|gateway| {
            classes
                .iter()
                .any(|(class, _)| class == text(gateway, "/spec/gatewayClassName"))
        })
        .collect();
    for gateway in &theirs {
        program(store, gateway);
    }
    let (routes, _) = store.list(&format!("httproutes.{GROUP}"), "");
    for route in &routes {
        accept(store, route, &theirs, &classes);
    }
}

/// Name and controller.
fn foreign_classes(store: &Store) -> Vec<(String, String)> {
    let (classes, _) = store.list(&format!("gatewayclasses.{GROUP}"), "");
    classes
        .iter()
        .map(|class| {
            (
                name(class).to_owned(),
                text(class, "/spec/controllerName").to_owned(),
            )
        })
        .filter(|(_, controller)| !controller.starts_with(OURS))
        .collect()
}

fn conditions(before: &[Value], names: [&str; 2], generation: Option<i64>) -> Vec<Value> {
    let mut conditions = before.to_vec();
    for name in names {
        set_condition(&mut conditions, name, "True", name, "");
    }
    for condition in &mut conditions {
        condition["observedGeneration"] = json!(generation);
    }
    conditions
}

fn program(store: &Store, gateway: &Value) {
    let key = Key::new(
        &format!("gateways.{GROUP}"),
        namespace(gateway),
        name(gateway),
    );
    let _ = store.write(&key, |before| {
        let Some(before) = before else {
            return Ok(None);
        };
        let mut gateway = before.clone();
        let generation = number(before, "/metadata/generation");
        let held = list(before, "/status/conditions");
        let listeners: Vec<Value> = list(before, "/spec/listeners")
            .iter()
            .map(|listener| {
                json!({
                    "name": listener["name"], "attachedRoutes": 0,
                    "supportedKinds": [{"group": GROUP, "kind": "HTTPRoute"}],
                    "conditions": [],
                })
            })
            .collect();
        gateway["status"] = json!({
            "addresses": [{"type": "IPAddress", "value": "203.0.113.10"}],
            "conditions": conditions(held, ["Accepted", "Programmed"], generation),
            "listeners": listeners,
        });
        Ok(Some(gateway))
    });
}

fn accept(store: &Store, route: &Value, gateways: &[&Value], classes: &[(String, String)]) {
    let key = Key::new(
        &format!("httproutes.{GROUP}"),
        namespace(route),
        name(route),
    );
    for parent in list(route, "/spec/parentRefs") {
        let home = parent["namespace"]
            .as_str()
            .unwrap_or_else(|| namespace(route));
        let Some(gateway) = gateways
            .iter()
            .find(|one| name(one) == text(parent, "/name") && namespace(one) == home)
        else {
            continue;
        };
        let class = text(gateway, "/spec/gatewayClassName");
        let Some((_, controller)) = classes.iter().find(|(name, _)| name == class) else {
            continue;
        };
        let _ = store.write(&key, |before| {
            let Some(before) = before else { return Ok(None) };
            let mut route = before.clone();
            let generation = number(before, "/metadata/generation");
            let mut parents = list(before, "/status/parents").to_vec();
            let own = |one: &Value| one["controllerName"] == controller.as_str() && one["parentRef"] == *parent;
            let held = parents.iter().position(own).map(|at| parents.remove(at)).unwrap_or_default();
            parents.push(json!({
                "parentRef": parent,
                "controllerName": controller,
                "conditions": conditions(object::list(&held, "/conditions"), ["Accepted", "ResolvedRefs"], generation),
            }));
            route["status"]["parents"] = json!(parents);
            Ok(Some(route))
        });
        pools(store, route, gateway, controller);
    }
}

fn pools(store: &Store, route: &Value, gateway: &Value, controller: &str) {
    let group = "inference.networking.k8s.io";
    let refs = list(route, "/spec/rules")
        .iter()
        .flat_map(|rule| list(rule, "/backendRefs"));
    for pool in refs.filter(|one| one["kind"] == "InferencePool" && one["group"] == group) {
        let key = Key::new(
            &format!("inferencepools.{group}"),
            namespace(route),
            text(pool, "/name"),
        );
        let _ = store.write(&key, |before| {
            let Some(before) = before else { return Ok(None) };
            let mut pool = before.clone();
            let parent = json!({
                "group": GROUP, "kind": "Gateway",
                "name": name(gateway), "namespace": namespace(gateway),
            });
            let mut parents = list(before, "/status/parents").to_vec();
            let own = |one: &Value| one["parentRef"] == parent;
            let held = parents.iter().position(own).map(|at| parents.remove(at)).unwrap_or_default();
            let generation = number(before, "/metadata/generation");
            parents.push(json!({
                "parentRef": parent,
                "controllerName": controller,
                "conditions": conditions(list(&held, "/conditions"), ["Accepted", "ResolvedRefs"], generation),
            }));
            pool["status"]["parents"] = json!(parents);
            Ok(Some(pool))
        });
    }
}
