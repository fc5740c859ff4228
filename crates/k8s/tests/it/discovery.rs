use std::sync::Arc;
use std::time::Duration;

use k8s::discovery::{ClusterView, Discovery, DiscoveryConfig, SourceStatus, follow};
use k8s_testbed::{ApiServer, Fault};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::semantics::in_project;

const PODS: &str = "/api/v1/namespaces/default/pods";
const POOLS: &str = "/apis/inference.networking.k8s.io/v1/namespaces/default/inferencepools";

/// Longest wait for a view; nothing here takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(20);

fn pod(name: &str, ip: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "main", "image": "i"}]},
        "status": {"podIP": ip, "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn furnish(server: &ApiServer) {
    server.install_gateway_api().unwrap();
    let pool = json!({"metadata": {"name": "p"}, "spec": {"selector": {"matchLabels": {"app": "x"}}, "targetPorts": [{"number": 8000}]}});
    server.client().create(POOLS, &pool).unwrap();
    server.client().create(PODS, &pod("a", "10.0.0.1")).unwrap();
}

fn started(client: kube::Client) -> (Discovery, TaskTracker, CancellationToken) {
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    (
        follow(client, DiscoveryConfig::default(), &stop, &tracker),
        tracker,
        stop,
    )
}

/// The shape of a kind that another project defines, as far as a server asks for it.
fn objectives_of(group: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("inferenceobjectives.{group}"),
            "annotations": {"api-approved.kubernetes.io": "unapproved, a shortened definition for tests"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "plural": "inferenceobjectives", "singular": "inferenceobjective",
                "kind": "InferenceObjective", "listKind": "InferenceObjectiveList",
            },
            "versions": [{
                "name": "v1alpha2", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

fn addresses(view: &ClusterView) -> Vec<String> {
    let pool = view.pools.get("default/p");
    pool.into_iter()
        .flat_map(|pool| &pool.endpoints)
        .map(|one| one.spec.address.to_string())
        .collect()
}

async fn seen(found: &mut Discovery, expected: &[&str]) -> Arc<ClusterView> {
    let wanted = |view: &Option<Arc<ClusterView>>| {
        view.as_ref()
            .is_some_and(|view| addresses(view) == expected)
    };
    let waiting = found.views.wait_for(wanted);
    let view = tokio::time::timeout(LIMIT, waiting)
        .await
        .expect("no such view in time")
        .unwrap();
    Arc::clone(view.as_ref().unwrap())
}

/// Waits until the source `name` says that it is cut off; what it says then.
async fn cut_off(found: &Discovery, name: &str) -> SourceStatus {
    let said = async {
        loop {
            let sources = found.sources();
            let mut cut = sources
                .into_iter()
                .filter(|source| source.name == name && !source.connected);
            if let Some(source) = cut.next() {
                return source;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, said).await.expect("in time")
}

/// Waits until every source is connected.
async fn connected(found: &Discovery) {
    let all = async {
        while !found.sources().iter().all(|source| source.connected) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, all)
        .await
        .unwrap_or_else(|_| panic!("{:?}", found.sources()));
}

#[tokio::test]
async fn pods_come_and_go() {
    let (server, client) = in_project().await;
    furnish(&server);
    let (mut found, ..) = started(client);
    seen(&mut found, &["10.0.0.1:8000"]).await;
    server.client().create(PODS, &pod("b", "10.0.0.2")).unwrap();
    seen(&mut found, &["10.0.0.1:8000", "10.0.0.2:8000"]).await;
    server.client().delete(&format!("{PODS}/a")).unwrap();
    seen(&mut found, &["10.0.0.2:8000"]).await;
}

#[tokio::test]
async fn a_cut_watch_goes_on_and_a_forgotten_past_is_read_anew() {
    let (server, client) = in_project().await;
    furnish(&server);
    let (mut found, ..) = started(client);
    seen(&mut found, &["10.0.0.1:8000"]).await;
    server.inject(Fault::WatchCut);
    server.client().create(PODS, &pod("b", "10.0.0.2")).unwrap();
    seen(&mut found, &["10.0.0.1:8000", "10.0.0.2:8000"]).await;
    server.client().delete(&format!("{PODS}/a")).unwrap();
    server.inject(Fault::Gone);
    seen(&mut found, &["10.0.0.2:8000"]).await;
    server.client().create(PODS, &pod("c", "10.0.0.3")).unwrap();
    seen(&mut found, &["10.0.0.2:8000", "10.0.0.3:8000"]).await;
}

#[tokio::test]
async fn without_an_api_server_the_last_view_stays_and_says_so() {
    let (server, client) = in_project().await;
    furnish(&server);
    let (mut found, ..) = started(client);
    seen(&mut found, &["10.0.0.1:8000"]).await;
    connected(&found).await;
    server.inject(Fault::Away {
        for_how_long: Duration::from_millis(500),
    });
    let pods = cut_off(&found, "pods").await;
    assert_eq!(
        addresses(found.views.borrow().as_ref().unwrap()),
        ["10.0.0.1:8000"]
    );
    assert!(
        pods.synced && pods.failures > 0 && pods.error.is_some() && pods.objects == 1,
        "{pods:?}"
    );
    server.client().create(PODS, &pod("b", "10.0.0.2")).unwrap();
    seen(&mut found, &["10.0.0.1:8000", "10.0.0.2:8000"]).await;
    connected(&found).await;
}

#[tokio::test]
async fn a_kind_that_the_cluster_lacks_holds_nothing_up() {
    let (server, client) = in_project().await;
    let (mut found, ..) = started(client);
    seen(&mut found, &[]).await;
    assert!(found.sources().iter().all(|source| source.synced));
    drop(server);
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_left_out() {
    let (server, client) = in_project().await;
    furnish(&server);
    // A later version of the definition may say otherwise than what is read here.
    let definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/inferencepools.inference.networking.k8s.io";
    let mut later = server.client().get(definition).unwrap();
    later["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    server.client().replace(definition, &later).unwrap();
    let bad =
        json!({"metadata": {"name": "bad"}, "spec": {"selector": "no selector", "targetPorts": 7}});
    server.client().create(POOLS, &bad).unwrap();
    let (mut found, ..) = started(client);
    let view = seen(&mut found, &["10.0.0.1:8000"]).await;
    assert_eq!(view.pools.len(), 1);
}

#[tokio::test]
async fn objectives_are_followed_where_asked_for() {
    let (server, client) = in_project().await;
    furnish(&server);
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let objectives = "/apis/llm-d.ai/v1alpha2/namespaces/default/inferenceobjectives";
    let definition = objectives_of("llm-d.ai");
    server.client().create(definitions, &definition).unwrap();
    let named = |name: &str, priority: i32| {
        let spec = json!({"priority": priority, "poolRef": {"name": "p"}});
        json!({"metadata": {"name": name}, "spec": spec})
    };
    server
        .client()
        .create(objectives, &named("batch", -1))
        .unwrap();
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let config = DiscoveryConfig {
        objectives: true,
        ..DiscoveryConfig::default()
    };
    let mut found = follow(client, config, &stop, &tracker);
    let mut told = async |expected: &[(&str, i32)]| {
        let own = ("default".to_owned(), "p".to_owned());
        let wanted = |view: &Option<Arc<ClusterView>>| {
            let objectives = view.as_ref().and_then(|view| view.objectives.get(&own));
            let told = objectives.into_iter().flatten();
            told.map(|(name, priority)| (name.as_str(), *priority))
                .eq(expected.iter().copied())
        };
        let waiting = found.views.wait_for(wanted);
        let _view = tokio::time::timeout(LIMIT, waiting).await.expect("in time");
    };
    told(&[("batch", -1)]).await;
    server
        .client()
        .create(objectives, &named("vip", 5))
        .unwrap();
    told(&[("batch", -1), ("vip", 5)]).await;
    server
        .client()
        .delete(&format!("{objectives}/batch"))
        .unwrap();
    told(&[("vip", 5)]).await;
}
