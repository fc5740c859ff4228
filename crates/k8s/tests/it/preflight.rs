use k8s::preflight::{Check, Hints, Verdict, run};
use serde_json::json;

use crate::semantics::client;

const MANIFEST: &str = "
apiVersion: serving.kserve.io/v1alpha1
kind: LLMInferenceService
metadata: {name: q, namespace: default}
spec:
  model: {uri: 'hf://a/b'}
  replicas: 3
  router: {route: {}, scheduler: {}, gateway: {refs: [{name: gw, namespace: default}]}}
  template:
    imagePullSecrets: [{name: pull}]
    nodeSelector: {cloud.google.com/gke-tpu-accelerator: tpu-v6e-slice}
    tolerations: [{key: google.com/tpu, operator: Exists}]
    containers: [{name: main, resources: {limits: {google.com/tpu: '4'}}}]
";

fn verdict(checks: &[Check], name: &str) -> Option<Verdict> {
    checks
        .iter()
        .filter(|check| check.name == name)
        .map(|check| check.verdict)
        .max()
}

#[tokio::test]
async fn a_cluster_is_judged_as_it_is() {
    let cluster =
        k8s_testbed::Cluster::start(k8s_testbed::ClusterConfig::new("/nonexistent".into()))
            .await
            .unwrap();
    let (api, client) = (cluster.api().client(), client(cluster.api()));
    let check = |replicas: &str| {
        let (client, manifest) = (client.clone(), MANIFEST.replace("replicas: 3", replicas));
        async move { run(&client, &manifest, Hints::default()).await.unwrap() }
    };
    let bare = check("replicas: 3").await;
    for name in ["definitions", "gateway-programmed", "pull-secret"] {
        assert_eq!(
            verdict(&bare, name),
            Some(Verdict::Failed),
            "{name}: {bare:?}"
        );
    }
    cluster.api().install_gateway_api().unwrap();
    cluster.api().install_open_services().unwrap();
    api.create(
        "/api/v1/namespaces/default/secrets",
        &json!({"metadata": {"name": "pull"}}),
    )
    .unwrap();
    let class = json!({"metadata": {"name": "c"}, "spec": {"controllerName": "prefixgate.dev/gateway-controller"}});
    api.create("/apis/gateway.networking.k8s.io/v1/gatewayclasses", &class)
        .unwrap();
    let gateways = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways";
    api.create(
        gateways,
        &json!({"metadata": {"name": "gw"}, "spec": {"gatewayClassName": "c", "listeners": []}}),
    )
    .unwrap();
    let status = json!({"status": {"conditions": [{"type": "Programmed", "status": "True"}]}});
    api.merge(&format!("{gateways}/gw/status"), &status)
        .unwrap();
    let ready = check("replicas: 3").await;
    for name in [
        "definitions",
        "gateway-programmed",
        "gateway-class",
        "pull-secret",
        "chips",
        "quota",
    ] {
        assert_eq!(
            verdict(&ready, name),
            Some(Verdict::Ok),
            "{name}: {ready:?}"
        );
    }
    assert_eq!(verdict(&ready, "cloud-quota"), Some(Verdict::Unknown));
    assert_eq!(
        verdict(&check("replicas: 4").await, "chips"),
        Some(Verdict::Unknown),
        "three nodes, and no maximum is told"
    );
    cluster.stop().await;
}
