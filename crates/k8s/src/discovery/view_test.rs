use serde_json::{Value, json};

use super::*;

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).unwrap())
}

fn pod(name: &str, ready: bool, leaving: bool) -> Arc<LeanPod> {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "main", "ports": [{"name": "http", "containerPort": 8000}],
            "readinessProbe": {"httpGet": {"path": "/v1/models", "port": 8000}}}]},
        "status": {"podIP": format!("10.0.0.{}", name.len()), "phase": "Running",
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    });
    if leaving {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    parse(pod)
}

fn pool(ports: &[u16], owner: Option<&str>) -> Arc<InferencePool> {
    let owners: Vec<Value> = owner
        .iter()
        .map(|name| json!({"kind": "LLMInferenceService", "name": name, "apiVersion": "serving.kserve.io/v1alpha2", "uid": "u"}))
        .collect();
    let ports: Vec<Value> = ports.iter().map(|port| json!({"number": port})).collect();
    parse(json!({
        "metadata": {"name": "p", "namespace": "ns", "ownerReferences": owners},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "targetPorts": ports},
    }))
}

fn service(selector: &str) -> Arc<LeanService> {
    parse(json!({
        "metadata": {"name": "svc", "namespace": "ns"},
        "spec": {"selector": {"app": selector}, "ports": [{"port": 80, "targetPort": 8000}]},
    }))
}

fn route(class: &str, rules: Value) -> Objects {
    Objects {
        classes: vec![parse(
            json!({"metadata": {"name": "ours"}, "spec": {"controllerName": GATEWAY_CONTROLLER}}),
        )],
        gateways: vec![parse(json!({
            "metadata": {"name": "gw", "namespace": "ns"},
            "spec": {"gatewayClassName": class, "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
        }))],
        routes: vec![parse(json!({
            "metadata": {"name": "r", "namespace": "ns", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"parentRefs": [{"name": "gw"}], "rules": rules},
        }))],
        ..Objects::default()
    }
}

fn names(view: &ClusterView, pool: &str) -> Vec<(String, bool)> {
    let endpoints = view
        .pools
        .get(pool)
        .map(|pool| pool.endpoints.as_slice())
        .unwrap_or_default();
    endpoints
        .iter()
        .map(|one| {
            (
                format!("{}@{}", one.spec.name, one.spec.address),
                one.draining,
            )
        })
        .collect()
}

#[test]
fn objectives_are_of_their_pool_and_the_current_group_counts() {
    let named = |name: &str, pool: &str, priority: Option<i32>| {
        json!({
            "metadata": {"name": name, "namespace": "ns"},
            "spec": {"poolRef": {"group": "inference.networking.k8s.io", "name": pool}, "priority": priority},
        })
    };
    let objects = Objects {
        objectives: vec![
            parse(named("vip", "p", Some(10))),
            parse(named("plain", "p", None)),
            parse(named("vip", "other", Some(3))),
        ],
        older_objectives: vec![
            parse(named("vip", "p", Some(1))),
            parse(named("batch", "p", Some(-1))),
        ],
        ..Objects::default()
    };
    let view = ClusterView::of(&objects, &mut Seen::default());
    let of = |pool: &str| -> Vec<(&str, i32)> {
        let found = &view.objectives[&("ns".to_owned(), pool.to_owned())];
        found
            .iter()
            .map(|(name, priority)| (name.as_str(), *priority))
            .collect()
    };
    assert_eq!(of("p"), [("batch", -1), ("plain", 0), ("vip", 10)]);
    assert_eq!(of("other"), [("vip", 3)]);
}

#[test]
fn pods_count_from_ready_to_gone() {
    let mut seen = Seen::default();
    let mut check = |pods: Vec<Arc<LeanPod>>, expected: &[(&str, bool)]| {
        let objects = Objects {
            pods,
            pools: vec![pool(&[8000], None)],
            ..Objects::default()
        };
        let view = ClusterView::of(&objects, &mut seen);
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, drains)| ((*name).to_owned(), *drains))
            .collect();
        assert_eq!(names(&view, "ns/p"), expected);
    };
    check(vec![pod("a", false, false)], &[]);
    check(
        vec![pod("a", true, false)],
        &[("ns/a@10.0.0.1:8000", false)],
    );
    check(
        vec![pod("a", false, false)],
        &[("ns/a@10.0.0.1:8000", true)],
    );
    check(vec![pod("a", true, true)], &[("ns/a@10.0.0.1:8000", true)]);
    check(vec![pod("bb", true, true)], &[]);
    check(Vec::new(), &[]);
    check(vec![pod("a", false, false)], &[]);
}

#[test]
fn several_ports_are_ranks_and_may_be_restricted() {
    let check = |active: Option<&str>, expected: &[&str]| {
        let mut one = LeanPod::clone(&pod("a", true, false));
        if let Some(active) = active {
            one.metadata.annotations = Some(BTreeMap::from([(
                "llm-d.ai/active-ports".to_owned(),
                active.to_owned(),
            )]));
        }
        let objects = Objects {
            pods: vec![Arc::new(one)],
            pools: vec![pool(&[3000, 3002, 3004], None)],
            ..Objects::default()
        };
        let view = ClusterView::of(&objects, &mut Seen::default());
        let found: Vec<String> = names(&view, "ns/p")
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(found, expected);
    };
    check(
        None,
        &[
            "ns/a-rank-0@10.0.0.1:3000",
            "ns/a-rank-1@10.0.0.1:3002",
            "ns/a-rank-2@10.0.0.1:3004",
        ],
    );
    check(
        Some("3000, 3004"),
        &["ns/a-rank-0@10.0.0.1:3000", "ns/a-rank-1@10.0.0.1:3004"],
    );
}

fn to_pool(path: &str) -> Value {
    json!({
        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
        "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v1"}}}],
        "backendRefs": [{"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "p", "weight": 3}],
    })
}

#[test]
fn routes_of_our_gateways_become_rules() {
    let mut objects = route("ours", json!([to_pool("/ns/s/v1")]));
    objects.pools = vec![pool(&[8000], Some("s"))];
    objects.services = vec![parse(
        json!({"metadata": {"name": "s", "namespace": "ns"}, "spec": {}}),
    )];
    let view = ClusterView::of(&objects, &mut Seen::default());
    let [rule] = view.rules.as_slice() else {
        panic!("{:?}", view.rules)
    };
    assert_eq!(
        rule.targets,
        [rules::RuleTarget {
            pool: Some("ns/s".to_owned()),
            weight: 3
        }]
    );
    assert_eq!(rule.replace_prefix.as_deref(), Some("/v1"));
    let pool = &view.pools["ns/s"];
    assert_eq!(
        (pool.routed, &pool.path),
        (true, &None),
        "the route speaks for it"
    );
}

#[test]
fn a_route_of_another_gateway_is_not_ours_and_neither_is_its_pool() {
    let mut objects = route("theirs", json!([to_pool("/x")]));
    objects.pools = vec![pool(&[8000], Some("s"))];
    objects.services = vec![parse(
        json!({"metadata": {"name": "s", "namespace": "ns"}, "spec": {}}),
    )];
    let view = ClusterView::of(&objects, &mut Seen::default());
    assert!(view.rules.is_empty());
    assert!(!view.pools["ns/s"].routed);
    objects.routes.clear();
    let view = ClusterView::of(&objects, &mut Seen::default());
    assert_eq!(
        view.pools["ns/s"].path.as_deref(),
        Some("/ns/s"),
        "nobody speaks for it: its own path serves"
    );
    assert!(view.pools["ns/s"].routed);
}

#[test]
fn what_a_rule_names_must_exist_and_be_known() {
    let check = |backend: Value, expected: Option<&str>| {
        let mut objects = route("ours", json!([{"backendRefs": [backend]}]));
        objects.pools = vec![pool(&[8000], None)];
        objects.kube_services = vec![service("y")];
        let view = ClusterView::of(&objects, &mut Seen::default());
        assert_eq!(view.rules[0].targets[0].pool.as_deref(), expected);
        assert!(expected.is_none_or(|name| view.pools.contains_key(name)));
    };
    let group = "inference.networking.k8s.io";
    check(
        json!({"group": group, "kind": "InferencePool", "name": "p", "port": 1}),
        Some("ns/p"),
    );
    check(
        json!({"group": group, "kind": "InferencePool", "name": "q"}),
        None,
    );
    check(
        json!({"name": "svc", "port": 80}),
        Some("ns/service/svc:80"),
    );
    check(json!({"name": "svc", "port": 81}), None);
    check(
        json!({"name": "svc", "port": 80, "namespace": "other"}),
        None,
    );
    check(json!({"group": "x", "kind": "Bucket", "name": "b"}), None);
}

#[test]
fn a_service_before_the_pods_of_a_pool_is_that_pool() {
    let mut objects = route(
        "ours",
        json!([{"backendRefs": [{"name": "svc", "port": 80}]}]),
    );
    objects.pools = vec![pool(&[8000], None)];
    objects.kube_services = vec![service("x")];
    let view = ClusterView::of(&objects, &mut Seen::default());
    assert_eq!(view.rules[0].targets[0].pool.as_deref(), Some("ns/p"));
    assert_eq!(view.pools.len(), 1);
}

#[test]
fn what_we_do_not_do_is_never_taken_for_something_else() {
    let mut objects = route(
        "ours",
        json!([
            {"matches": [{"path": {"type": "RegularExpression", "value": "/["}}], "backendRefs": [{"name": "svc", "port": 80}]},
            {"filters": [{"type": "RequestMirror"}], "backendRefs": [{"name": "svc", "port": 80}]},
        ]),
    );
    objects.kube_services = vec![service("y")];
    let view = ClusterView::of(&objects, &mut Seen::default());
    let [rule] = view.rules.as_slice() else {
        panic!("{:?}", view.rules)
    };
    assert_eq!(rule.targets[0].pool, None);
}

#[test]
fn metrics_ports_and_health_paths_are_found() {
    let mut one = LeanPod::clone(&pod("a", true, false));
    one.spec.containers[0]
        .ports
        .push(super::super::kinds::ContainerPort {
            name: Some("metrics".to_owned()),
            container_port: 9400,
        });
    let objects = Objects {
        pods: vec![Arc::new(one)],
        pools: vec![pool(&[8000], None)],
        ..Objects::default()
    };
    let view = ClusterView::of(&objects, &mut Seen::default());
    assert_eq!(view.pools["ns/p"].metrics_port, Some(9400));
    assert_eq!(
        view.pools["ns/p"].health_path, "/health",
        "a list of models is no health check"
    );
}
