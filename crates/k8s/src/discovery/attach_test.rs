use serde_json::{Value, json};

use super::*;

fn gateway(listeners: Value) -> Gateway {
    serde_json::from_value(json!({
        "metadata": {"name": "gw", "namespace": "infra"},
        "spec": {"gatewayClassName": "x", "listeners": listeners},
    }))
    .unwrap()
}

fn route(namespace: &str, parent: Value, hosts: &[&str]) -> HttpRoute {
    serde_json::from_value(json!({
        "metadata": {"name": "r", "namespace": namespace},
        "spec": {"parentRefs": [parent], "hostnames": hosts},
    }))
    .unwrap()
}

#[track_caller]
fn check(
    listeners: Value,
    namespace: &str,
    parent: Value,
    hosts: &[&str],
    expected: Result<&[&str], Unattached>,
) {
    let (gateway, route) = (gateway(listeners), route(namespace, parent, hosts));
    let labels = BTreeMap::from([
        (
            "apps".to_owned(),
            BTreeMap::from([("team".to_owned(), "a".to_owned())]),
        ),
        ("infra".to_owned(), BTreeMap::new()),
    ]);
    let found = attach(&route, &route.spec.parent_refs[0], &gateway, &labels);
    let found = found.map(|taken| {
        taken
            .into_iter()
            .flat_map(|one| one.hosts)
            .collect::<Vec<_>>()
    });
    assert_eq!(
        found,
        expected.map(|hosts| hosts.iter().map(|&host| host.to_owned()).collect())
    );
}

fn open(extra: Value) -> Value {
    let mut listener = json!({"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}});
    for (key, value) in extra.as_object().unwrap() {
        listener[key] = value.clone();
    }
    json!([listener])
}

#[test]
fn listeners_are_found_by_section_and_port() {
    let parent = |extra: Value| {
        let mut parent = json!({"name": "gw", "namespace": "infra"});
        parent
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        parent
    };
    check(open(json!({})), "apps", parent(json!({})), &[], Ok(&[]));
    check(
        open(json!({})),
        "apps",
        parent(json!({"sectionName": "http"})),
        &[],
        Ok(&[]),
    );
    check(
        open(json!({})),
        "apps",
        parent(json!({"sectionName": "x"})),
        &[],
        Err(Unattached::NoMatchingParent),
    );
    check(
        open(json!({})),
        "apps",
        parent(json!({"port": 81})),
        &[],
        Err(Unattached::NoMatchingParent),
    );
}

#[test]
fn namespaces_and_kinds_are_held_to_what_a_listener_allows() {
    let parent = json!({"name": "gw", "namespace": "infra"});
    let same = json!([{"name": "http", "port": 80, "protocol": "HTTP"}]);
    check(
        same.clone(),
        "apps",
        parent.clone(),
        &[],
        Err(Unattached::NotAllowedByListeners),
    );
    check(same, "infra", parent.clone(), &[], Ok(&[]));
    let selected = |team: &str| {
        open(
            json!({"allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": team}}}}}),
        )
    };
    check(selected("a"), "apps", parent.clone(), &[], Ok(&[]));
    check(
        selected("b"),
        "apps",
        parent.clone(),
        &[],
        Err(Unattached::NotAllowedByListeners),
    );
    let kinds = open(
        json!({"allowedRoutes": {"namespaces": {"from": "All"}, "kinds": [{"kind": "GRPCRoute"}]}}),
    );
    check(
        kinds,
        "apps",
        parent.clone(),
        &[],
        Err(Unattached::NotAllowedByListeners),
    );
    check(
        open(json!({"protocol": "TCP"})),
        "apps",
        parent,
        &[],
        Err(Unattached::NotAllowedByListeners),
    );
}

#[test]
fn hosts_are_those_of_both_sides() {
    let parent = json!({"name": "gw", "namespace": "infra"});
    let on = |host: &str| open(json!({"hostname": host}));
    check(on("a.com"), "apps", parent.clone(), &[], Ok(&["a.com"]));
    check(
        on("A.com"),
        "apps",
        parent.clone(),
        &["a.com", "b.com"],
        Ok(&["a.com"]),
    );
    check(
        on("*.a.com"),
        "apps",
        parent.clone(),
        &["x.a.com", "a.com"],
        Ok(&["x.a.com"]),
    );
    check(
        on("x.a.com"),
        "apps",
        parent.clone(),
        &["*.a.com"],
        Ok(&["x.a.com"]),
    );
    check(
        on("*.a.com"),
        "apps",
        parent.clone(),
        &["*.b.a.com"],
        Ok(&["*.b.a.com"]),
    );
    check(
        on("a.com"),
        "apps",
        parent,
        &["b.com"],
        Err(Unattached::NoMatchingListenerHostname),
    );
}
