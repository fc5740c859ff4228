//! Which HTTPRoute leads to a service?

use serde_json::{Value, json};

use super::engine_command::ENGINE_PORT;
use super::{Facts, GroupMember, Owner, Resolved, Settings, names, pool};
use crate::types::{HttpRouteSource, ParentRef};

/// Header by which a request names its model without a path.
pub(crate) const MODEL_HEADER: &str = "X-Gateway-Model-Name";

/// Routes of API calls, each to the pool.
const CALLS: [&str; 4] = ["completions", "chat/completions", "responses", "messages"];

/// The route, unless the service names routes of its own or wants none.
pub(super) fn route(
    resolved: &Resolved,
    settings: &Settings,
    facts: &Facts,
    owner: &Owner,
) -> Option<Value> {
    let router = resolved.spec.router.as_ref()?;
    let http = router.route.as_ref()?.http.clone().unwrap_or_default();
    if !http.refs.is_empty() {
        return None;
    }
    let parents: Vec<_> = parents(resolved, settings)
        .iter()
        .map(|parent| parent_json(parent, &owner.namespace))
        .collect();
    let mut spec = match http {
        HttpRouteSource {
            spec: Some(spec), ..
        } => spec,
        _ => json!({"rules": rules(resolved, facts, owner)}),
    };
    if spec["parentRefs"].is_null() {
        spec["parentRefs"] = json!(parents);
    }
    if facts
        .gateways
        .iter()
        .any(|(_, dialect)| !dialect.takes_route_timeouts())
    {
        drop_timeouts(&mut spec);
    }
    let mut labels = names::component(&owner.name, "llminferenceservice-router");
    if let Some(group) = router.route.as_ref().and_then(|route| route.group.clone()) {
        labels.insert("serving.kserve.io/routing-group".to_owned(), group);
    }
    Some(owner.object(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        &names::route(&owner.name),
        &labels,
        json!({"spec": spec}),
    ))
}

/// Gateways the service goes through: those named, else the default one. Empty when it asks for none.
pub(crate) fn parents(resolved: &Resolved, settings: &Settings) -> Vec<ParentRef> {
    let Some(router) = &resolved.spec.router else {
        return Vec::new();
    };
    let named = resolved.spec.gateway_refs();
    if !named.is_empty() {
        return named.to_vec();
    }
    if router.gateway.is_some() || router.route.is_some() {
        return vec![settings.default_gateway.clone()];
    }
    Vec::new()
}

fn parent_json(parent: &ParentRef, namespace: &str) -> Value {
    let mut value = json!({
        "group": parent.group.as_deref().unwrap_or("gateway.networking.k8s.io"),
        "kind": parent.kind.as_deref().unwrap_or("Gateway"),
        "name": parent.name,
        "namespace": parent.namespace.as_deref().unwrap_or(namespace),
    });
    if let Some(section) = &parent.section_name {
        value["sectionName"] = json!(section);
    }
    if let Some(port) = parent.port {
        value["port"] = json!(port);
    }
    value
}

fn drop_timeouts(spec: &mut Value) {
    for rule in spec["rules"].as_array_mut().into_iter().flatten() {
        if let Some(rule) = rule.as_object_mut() {
            rule.shift_remove("timeouts");
        }
    }
}

fn rules(resolved: &Resolved, facts: &Facts, owner: &Owner) -> Vec<Value> {
    let own = format!("/{}/{}", owner.namespace, owner.name);
    let models = served(resolved);
    let calls = target(resolved, owner);
    let shared = shared_targets(resolved, facts, owner, true);
    let shared_service = shared_targets(resolved, facts, owner, false);
    let service = vec![service_target(&owner.name, 1)];
    // A prefix can be replaced only where a rule has exactly one, so adapters are reached by header alone.
    let publisher = format!(
        "/publishers/{}/models/{}",
        owner.namespace,
        escaped(resolved.model_name())
    );
    let mut rules = Vec::new();
    for call in CALLS {
        let path = format!("/v1/{call}");
        rules.push(rule(
            vec![prefix(&format!("{own}{path}"))],
            Some(&path),
            &calls,
        ));
    }
    rules.push(rule(by_header(&models, &owner.namespace), None, &shared));
    for call in CALLS {
        let path = format!("/v1/{call}");
        rules.push(rule(
            vec![prefix(&format!("{publisher}{path}"))],
            Some(&path),
            &shared,
        ));
    }
    rules.push(rule(vec![prefix(&publisher)], Some("/"), &shared_service));
    rules.push(rule(vec![prefix(&own)], Some("/"), &service));
    let headers = models
        .iter()
        .map(|model| json!({"headers": [header(&owner.namespace, model)]}));
    rules.push(rule(headers.collect(), None, &shared_service));
    rules
}

/// The model and its adapters, as clients name them. No more than a route may hold.
fn served(resolved: &Resolved) -> Vec<String> {
    let adapters = resolved
        .spec
        .model
        .lora
        .iter()
        .flat_map(|lora| &lora.adapters);
    std::iter::once(resolved.model_name().to_owned())
        .chain(adapters.map(|adapter| adapter.name.clone()))
        .take(MOST_MODELS)
        .collect()
}

/// 64 matches a rule may hold, 8 a model.
const MOST_MODELS: usize = 8;

/// Characters a path match may hold; anything else is percent-encoded.
fn escaped(model: &str) -> String {
    let mut path = String::with_capacity(model.len());
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

fn by_header(models: &[String], namespace: &str) -> Vec<Value> {
    let mut matches = Vec::new();
    for model in models {
        for call in CALLS {
            for slash in ["", "/"] {
                matches.push(json!({
                    "path": {"type": "Exact", "value": format!("/v1/{call}{slash}")},
                    "headers": [header(namespace, model)],
                }));
            }
        }
    }
    matches
}

fn header(namespace: &str, model: &str) -> Value {
    json!({"type": "Exact", "name": MODEL_HEADER, "value": format!("publishers/{namespace}/models/{model}")})
}

fn prefix(path: &str) -> Value {
    json!({"path": {"type": "PathPrefix", "value": path}})
}

fn rule(matches: Vec<Value>, rewrite: Option<&str>, targets: &[Value]) -> Value {
    let mut rule = json!({"matches": matches});
    if let Some(rewrite) = rewrite {
        rule["filters"] = json!([{
            "type": "URLRewrite",
            "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": rewrite}},
        }]);
    }
    rule["backendRefs"] = json!(targets);
    // Generations take as long as they take; engines and gateways have limits of their own.
    rule["timeouts"] = json!({"request": "0s", "backendRequest": "0s"});
    rule
}

fn target(resolved: &Resolved, owner: &Owner) -> Vec<Value> {
    if resolved.spec.scheduler().is_some() {
        vec![pool_target(&pool::name(resolved), 1)]
    } else {
        vec![service_target(&owner.name, 1)]
    }
}

/// Targets of rules that a routing group shares, each member by its weight.
fn shared_targets(resolved: &Resolved, facts: &Facts, owner: &Owner, calls: bool) -> Vec<Value> {
    let member = |member: &GroupMember| {
        if calls && member.scheduled {
            pool_target(&names::pool(&member.name), member.weight)
        } else {
            service_target(&member.name, member.weight)
        }
    };
    if facts.group.len() > 1 {
        return facts
            .group
            .iter()
            .filter(|all| all.weight > 0)
            .map(member)
            .collect();
    }
    if calls {
        target(resolved, owner)
    } else {
        vec![service_target(&owner.name, 1)]
    }
}

fn pool_target(name: &str, weight: u32) -> Value {
    json!({"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": name, "port": ENGINE_PORT, "weight": weight})
}

fn service_target(service: &str, weight: u32) -> Value {
    json!({"group": "", "kind": "Service", "name": names::workload_service(service), "port": ENGINE_PORT, "weight": weight})
}
