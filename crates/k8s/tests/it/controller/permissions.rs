use std::path::Path;

use serde_json::{Value, json};

use super::world::{NAME, World, core, deployment, is_ready, service, serving};

/// Rules of the role that is shipped for the controller.
fn rules() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/controller/rbac.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let all: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let role = all.into_iter().find(|object| {
        object["kind"] == "ClusterRole" && object["metadata"]["name"] == "prefixgate-controller"
    });
    role.unwrap()["rules"].as_array().unwrap().clone()
}

fn allowed(rules: &[Value], verb: &str, resource: &str) -> bool {
    // `plural.group/subresource`
    let (kind, part) = resource.split_once('/').unwrap_or((resource, ""));
    let (plural, group) = kind.split_once('.').unwrap_or((kind, ""));
    let named = match part {
        "" => plural.to_owned(),
        part => format!("{plural}/{part}"),
    };
    let has = |list: &Value, wanted: &str| {
        let all = list.as_array();
        all.is_some_and(|all| all.iter().any(|one| one == wanted))
    };
    rules.iter().any(|rule| {
        has(&rule["apiGroups"], group)
            && has(&rule["resources"], &named)
            && has(&rule["verbs"], verb)
    })
}

/// Whatever the controller calls in a service's life, the shipped role lets it.
#[tokio::test(start_paused = true)]
async fn the_shipped_role_is_enough() {
    let world = World::furnished().await;
    // One in the cluster, with a picker, and one whose engines serve TLS.
    let class = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: eg}
spec: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: eg, namespace: opendatahub}
spec: {gatewayClassName: eg, listeners: [{name: http, port: 80, protocol: HTTP}]}
";
    world.api().apply_manifest("test", class).unwrap();
    world.deployed_gateways("one");
    world.apply(NAME, |_| ());
    world.apply("picked", |service| {
        service["spec"]["router"]["gateway"]["refs"][0]["name"] = json!("eg");
        service["spec"]["router"]["scheduler"]["config"] = json!({"ref": {"name": "epp"}});
        service["spec"]["schedules"] = json!([{"name": "a", "cron": "* * * * *", "replicas": 2}]);
    });
    world.apply("secure", |service| {
        let args = &mut service["spec"]["template"]["containers"][0]["args"];
        *args = json!([
            "--ssl-certfile",
            "/var/run/kserve/tls/tls.crt",
            "--ssl-keyfile",
            "/var/run/kserve/tls/tls.key"
        ]);
    });
    for name in [NAME, "picked", "secure"] {
        world.until(&deployment(name), Value::is_object).await;
    }
    let crash = json!({
        "phase": "Running",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "3 Insufficient google.com/tpu"}],
        "containerStatuses": [{"name": "main", "restartCount": 2, "ready": false, "image": "i", "imageID": "", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
    });
    world.pods("secure", 1, &crash);
    world.pods(NAME, 3, &serving());
    world
        .until(&service(NAME), |found| found["status"]["replicas"] == 3)
        .await;
    let stop = json!({"metadata": {"annotations": {"serving.kserve.io/stop": "true"}}});
    world.api().merge(&service("picked"), &stop).unwrap();
    world.until(&deployment("picked"), Value::is_null).await;
    assert!(!is_ready(&world.api().get(&service("picked")).unwrap()));
    world
        .api()
        .delete(
            "/apis/gateway.networking.k8s.io/v1/namespaces/opendatahub/gateways/inference-gateway",
        )
        .unwrap();
    world
        .until(
            "/apis/gateway.networking.k8s.io/v1/namespaces/opendatahub/gateways/inference-gateway",
            Value::is_null,
        )
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(700)).await;
    assert!(world.api().list(&core("events")).is_ok());

    let rules = rules();
    let calls = world.server.take_calls();
    let refused: Vec<_> = calls
        .keys()
        .filter(|(verb, resource)| !allowed(&rules, verb, resource))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert!(calls.len() > 30, "{calls:?}");
}
