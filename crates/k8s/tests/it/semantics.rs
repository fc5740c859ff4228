use futures_util::TryStreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_testbed::ApiServer;
use kube::api::{
    DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A client of the in-project server.
pub(crate) async fn in_project() -> (ApiServer, Client) {
    let server = ApiServer::start("127.0.0.1:0".parse().unwrap(), CancellationToken::new())
        .await
        .unwrap();
    let client = client(&server);
    (server, client)
}

pub(crate) fn client(server: &ApiServer) -> Client {
    let config = kube::Config::new(server.url().parse().unwrap());
    Client::try_from(config).unwrap()
}

/// Everything we rely on, in a namespace of its own.
async fn check(client: Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let own = json!({"metadata": {"generateName": "prefixgate-check-"}});
    let made = namespaces
        .create(
            &PostParams::default(),
            &serde_json::from_value(own).unwrap(),
        )
        .await
        .unwrap();
    let namespace = made.metadata.name.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    fields_of_others_survive(&deployments).await;
    conflicts_are_told(&maps).await;
    generation_counts_the_spec(&deployments).await;
    finalizers_hold(&maps).await;
    owners_take_what_they_own(&maps).await;
    watches_go_on_where_lists_ended(&maps).await;
    patches_merge(&maps).await;
    namespaces
        .delete(&namespace, &DeleteParams::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn the_in_project_server_keeps_the_rules() {
    let cluster =
        k8s_testbed::Cluster::start(k8s_testbed::ClusterConfig::new("/nonexistent".into()))
            .await
            .unwrap();
    check(client(cluster.api())).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_real_server_keeps_them_too() {
    if std::env::var_os("KUBECONFIG").is_none() {
        println!("skipped: KUBECONFIG is not set, so there is no real API server to compare with");
        return;
    }
    check(Client::try_default().await.unwrap()).await;
}

fn value<T: serde::Serialize>(object: &T) -> Value {
    serde_json::to_value(object).unwrap()
}

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "main", "image": image, "env": [{"name": "X", "value": "1"}]}]},
        }},
    })
}

async fn fields_of_others_survive(api: &Api<Deployment>) {
    let ours = PatchParams::apply("ours").force();
    api.patch("d", &ours, &Patch::Apply(deployment("i:1")))
        .await
        .unwrap();
    let theirs = json!({
        "metadata": {"labels": {"theirs": "1"}},
        "spec": {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "Y", "value": "2"}]}]}}},
    });
    api.patch("d", &PatchParams::default(), &Patch::Strategic(theirs))
        .await
        .unwrap();
    let applied = value(
        &api.patch("d", &ours, &Patch::Apply(deployment("i:2")))
            .await
            .unwrap(),
    );
    assert_eq!(applied["metadata"]["labels"]["theirs"], "1");
    let main = &applied["spec"]["template"]["spec"]["containers"][0];
    let names: Vec<&Value> = main["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(
        (&main["image"], names),
        (&json!("i:2"), vec![&json!("X"), &json!("Y")])
    );
    let again = api
        .patch("d", &ours, &Patch::Apply(deployment("i:2")))
        .await
        .unwrap();
    assert_eq!(
        json!(again.metadata.resource_version),
        applied["metadata"]["resourceVersion"],
        "the same again writes nothing"
    );
    let unforced = PatchParams::apply("others");
    let refused = api
        .patch("d", &unforced, &Patch::Apply(deployment("i:3")))
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.code == 409),
        "{refused}"
    );
}

async fn conflicts_are_told(api: &Api<ConfigMap>) {
    let map = json!({"metadata": {"name": "c"}, "data": {"a": "1"}});
    let old = api
        .create(
            &PostParams::default(),
            &serde_json::from_value(map).unwrap(),
        )
        .await
        .unwrap();
    api.patch(
        "c",
        &PatchParams::default(),
        &Patch::Merge(json!({"data": {"a": "2"}})),
    )
    .await
    .unwrap();
    let refused = api
        .replace("c", &PostParams::default(), &old)
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.code == 409),
        "{refused}"
    );
}

async fn generation_counts_the_spec(api: &Api<Deployment>) {
    let before = api.get("d").await.unwrap().metadata.generation;
    let labels = json!({"metadata": {"labels": {"more": "1"}}});
    let labelled = api
        .patch("d", &PatchParams::default(), &Patch::Merge(labels))
        .await
        .unwrap();
    assert_eq!(labelled.metadata.generation, before);
    let spec = json!({"spec": {"minReadySeconds": 1}});
    let changed = api
        .patch("d", &PatchParams::default(), &Patch::Merge(spec))
        .await
        .unwrap();
    assert_eq!(
        changed.metadata.generation,
        before.map(|generation| generation + 1)
    );
    let scale = api
        .patch_scale(
            "d",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": 0}})),
        )
        .await
        .unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(0));
}

async fn finalizers_hold(api: &Api<ConfigMap>) {
    let map = json!({"metadata": {"name": "f", "finalizers": ["prefixgate.dev/check"]}});
    api.create(
        &PostParams::default(),
        &serde_json::from_value(map).unwrap(),
    )
    .await
    .unwrap();
    api.delete("f", &DeleteParams::default()).await.unwrap();
    assert!(
        api.get("f")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );
    api.patch(
        "f",
        &PatchParams::default(),
        &Patch::Merge(json!({"metadata": {"finalizers": null}})),
    )
    .await
    .unwrap();
    assert!(api.get_opt("f").await.unwrap().is_none());
}

async fn owners_take_what_they_own(api: &Api<ConfigMap>) {
    let owner = json!({"metadata": {"name": "owner"}});
    let owner = api
        .create(
            &PostParams::default(),
            &serde_json::from_value(owner).unwrap(),
        )
        .await
        .unwrap();
    let owned = json!({"metadata": {"name": "owned", "ownerReferences": [{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid, "controller": true,
    }]}});
    api.create(
        &PostParams::default(),
        &serde_json::from_value(owned).unwrap(),
    )
    .await
    .unwrap();
    api.delete("owner", &DeleteParams::background())
        .await
        .unwrap();
    let gone =
        kube::runtime::wait::await_condition(api.clone(), "owned", |object: Option<&ConfigMap>| {
            object.is_none()
        });
    tokio::time::timeout(std::time::Duration::from_secs(60), gone)
        .await
        .unwrap()
        .unwrap();
}

async fn watches_go_on_where_lists_ended(api: &Api<ConfigMap>) {
    let from = api
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let map = json!({"metadata": {"name": "w"}});
    api.create(
        &PostParams::default(),
        &serde_json::from_value(map).unwrap(),
    )
    .await
    .unwrap();
    api.delete("w", &DeleteParams::default()).await.unwrap();
    let parameters = WatchParams::default().fields("metadata.name=w").timeout(10);
    let mut events = std::pin::pin!(api.watch(&parameters, &from).await.unwrap());
    let mut seen = Vec::new();
    while seen.len() < 2
        && let Some(event) = events.try_next().await.unwrap()
    {
        match event {
            WatchEvent::Added(_) => seen.push("added"),
            WatchEvent::Deleted(_) => seen.push("deleted"),
            _ => {}
        }
    }
    assert_eq!(seen, ["added", "deleted"]);
}

async fn patches_merge(api: &Api<ConfigMap>) {
    let map = json!({"metadata": {"name": "p"}, "data": {"a": "1"}});
    api.create(
        &PostParams::default(),
        &serde_json::from_value(map).unwrap(),
    )
    .await
    .unwrap();
    let patched = api
        .patch(
            "p",
            &PatchParams::default(),
            &Patch::Strategic(json!({"data": {"b": "2"}})),
        )
        .await
        .unwrap();
    assert_eq!(json!(patched.data), json!({"a": "1", "b": "2"}));
    let patched = api
        .patch(
            "p",
            &PatchParams::default(),
            &Patch::Merge(json!({"data": {"a": null}})),
        )
        .await
        .unwrap();
    assert_eq!(json!(patched.data), json!({"b": "2"}));
}
