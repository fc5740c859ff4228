use std::time::Duration;

use k8s::reconcile::Claim;
use serde_json::{Value, json};

use super::world::{
    NAME, NAMESPACE, World, child, condition, core, deployment, is_ready, service, serving,
};

fn pool(name: &str) -> String {
    let name = format!("{name}-inference-pool");
    child("inference.networking.k8s.io/v1", "inferencepools", &name)
}

fn route(name: &str) -> String {
    let name = format!("{name}-kserve-route");
    child("gateway.networking.k8s.io/v1", "httproutes", &name)
}

/// Every object listed, owned by the service and labelled as KServe labels it.
async fn made(world: &World, name: &str, objects: &[(&str, String)]) {
    for (component, path) in objects {
        let made = world.until(path, Value::is_object).await;
        let owner = &made["metadata"]["ownerReferences"][0];
        let owned = (&owner["kind"], &owner["name"], &owner["controller"]);
        let expected = (&json!("LLMInferenceService"), &json!(name), &json!(true));
        assert_eq!(owned, expected, "{path}");
        let labels = &made["metadata"]["labels"];
        assert_eq!(labels["app.kubernetes.io/name"], name, "{path}");
        assert_eq!(
            labels["app.kubernetes.io/part-of"], "llminferenceservice",
            "{path}"
        );
        assert_eq!(labels["app.kubernetes.io/component"], *component, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_becomes_a_ready_service() {
    let world = World::start().await;
    let api = world.api();
    world.apply(NAME, |_| ());
    let workload = "llminferenceservice-workload";
    made(
        &world,
        NAME,
        &[
            (workload, deployment(NAME)),
            (
                workload,
                core(&format!("services/{NAME}-kserve-workload-svc")),
            ),
            ("llminferenceservice-router", route(NAME)),
            ("llminferenceservice-router-scheduler", pool(NAME)),
        ],
    )
    .await;
    let deployed = api.get(&deployment(NAME)).unwrap();
    assert_eq!(deployed["spec"]["replicas"], 3);
    let by = "serving.kserve.io/inferenceservice";
    assert_eq!(deployed["metadata"]["labels"][by], NAME);
    assert_eq!(deployed["spec"]["template"]["metadata"]["labels"][by], NAME);
    assert!(
        deployed["spec"]["selector"]["matchLabels"]
            .get(by)
            .is_none()
    );

    let waiting = world
        .until(&service(NAME), |found| {
            condition(found, "Ready").0 == "False"
        })
        .await;
    let metadata = &waiting["metadata"];
    assert_eq!(
        waiting["status"]["observedGeneration"],
        metadata["generation"]
    );

    world.pods(NAME, 3, &serving());
    let done = world.until(&service(NAME), is_ready).await;
    let url = format!("http://127.0.0.1:18000/{NAMESPACE}/{NAME}");
    assert_eq!(done["status"]["url"], url);
    let ready = done["status"]["endpoints"]["ready"].as_array().unwrap();
    assert_eq!(ready.len(), 3);
    assert_eq!(done["status"]["phase"]["name"], "Ready");
    let parents = api.get(&pool(NAME)).unwrap()["status"]["parents"].clone();
    assert_eq!(parents.as_array().unwrap().len(), 1);
    let ours = &parents[0]["controllerName"];
    assert_eq!(*ours, "prefixgate.dev/gateway-controller");
}

#[tokio::test(start_paused = true)]
async fn the_guides_commands_change_the_replicas() {
    let world = World::start().await;
    let api = world.api();
    world.apply(NAME, |_| ());
    world.until(&deployment(NAME), Value::is_object).await;
    let patch = json!([{"op": "replace", "path": "/spec/replicas", "value": 5}]);
    api.patch(&service(NAME), "application/json-patch+json", &patch)
        .unwrap();
    let replicas = |wanted: u64| move |found: &Value| found["spec"]["replicas"] == wanted;
    world.until(&deployment(NAME), replicas(5)).await;
    let scale = format!("{}/scale", service(NAME));
    api.merge(&scale, &json!({"spec": {"replicas": 2}}))
        .unwrap();
    world.until(&deployment(NAME), replicas(2)).await;
}

#[tokio::test(start_paused = true)]
async fn fields_of_others_survive_and_ours_come_back() {
    let world = World::start().await;
    let api = world.api();
    world.apply(NAME, |_| ());
    world.until(&deployment(NAME), Value::is_object).await;
    let theirs = json!({
        "metadata": {"annotations": {"team": "ml"}},
        "spec": {"replicas": 9, "template": {"metadata": {"annotations": {"scrape": "yes"}}}},
    });
    api.merge(&deployment(NAME), &theirs).unwrap();
    let back = world
        .until(&deployment(NAME), |found| found["spec"]["replicas"] == 3)
        .await;
    assert_eq!(back["metadata"]["annotations"]["team"], "ml");
    let template = &back["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(template["scrape"], "yes");
    // Kinds without a generation are watched by their version.
    let workload = core("services") + "/" + NAME + "-kserve-workload-svc";
    let led_astray = json!({"spec": {"selector": {"app.kubernetes.io/name": "another"}}});
    api.merge(&workload, &led_astray).unwrap();
    let selected = |found: &Value| found["spec"]["selector"]["app.kubernetes.io/name"] == NAME;
    world.until(&workload, selected).await;
    // One that is deleted comes back too.
    api.delete(&route(NAME)).unwrap();
    world.until(&route(NAME), Value::is_object).await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_of_others_gets_a_picker() {
    let world = World::start().await;
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
    world.apply(NAME, |service| {
        service["spec"]["router"]["gateway"]["refs"][0]["name"] = json!("eg");
    });
    let picker = "llminferenceservice-router-scheduler";
    let rbac = |plural, suffix| {
        child(
            "rbac.authorization.k8s.io/v1",
            plural,
            &format!("{NAME}-epp-{suffix}"),
        )
    };
    let scheduler = format!("{NAME}-kserve-router-scheduler");
    made(
        &world,
        NAME,
        &[
            (picker, child("apps/v1", "deployments", &scheduler)),
            (picker, core(&format!("services/{NAME}-epp-service"))),
            (picker, core(&format!("serviceaccounts/{NAME}-epp-sa"))),
            (picker, rbac("roles", "role")),
            (picker, rbac("rolebindings", "rb")),
            (picker, pool(NAME)),
        ],
    )
    .await;
    let named = world.api().get(&pool(NAME)).unwrap()["spec"]["endpointPickerRef"].clone();
    assert_eq!(named["name"], format!("{NAME}-epp-service"));
}

#[tokio::test(start_paused = true)]
async fn stopping_drains_first() {
    let world = World::start().await;
    let api = world.api();
    world.apply(NAME, |_| ());
    world.until(&deployment(NAME), Value::is_object).await;
    world.pods(NAME, 1, &serving());
    world
        .until(&service(NAME), |found| found["status"]["replicas"] == 1)
        .await;
    let stop = json!({"metadata": {"annotations": {"serving.kserve.io/stop": "true"}}});
    api.merge(&service(NAME), &stop).unwrap();
    world
        .until(&deployment(NAME), |found| found["spec"]["replicas"] == 0)
        .await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(api.get(&route(NAME)).is_ok(), "the route goes last");
    let pod = core(&format!("pods/{NAME}-0?gracePeriodSeconds=0"));
    api.delete(&pod).unwrap();
    world.until(&route(NAME), Value::is_null).await;
    world.until(&deployment(NAME), Value::is_null).await;
    let stopped = world
        .until(&service(NAME), |found| {
            found["status"]["phase"]["name"] == "Stopped"
        })
        .await;
    assert_eq!(condition(&stopped, "Ready").1, "Stopped");
    let start = json!({"metadata": {"annotations": {"serving.kserve.io/stop": null}}});
    api.merge(&service(NAME), &start).unwrap();
    world
        .until(&deployment(NAME), |found| found["spec"]["replicas"] == 3)
        .await;
}

/// What is somebody else's stays exactly as it was.
#[tokio::test(start_paused = true)]
async fn services_of_another_controller_are_not_touched() {
    let world = World::furnished().await;
    let line = world.controller_with("one", Claim::Auto);
    world.apply("theirs", |service| {
        service["metadata"]["annotations"] = json!({"prefixgate.dev/controller": "kserve"});
    });
    world.apply(NAME, |_| ());
    let before = world.api().get(&service("theirs")).unwrap();
    world.until(&deployment(NAME), Value::is_object).await;
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    assert_eq!(world.api().get(&service("theirs")).unwrap(), before);
    let touched: Vec<_> = line
        .take_writes()
        .into_iter()
        .filter(|write| write.what.contains("theirs"))
        .collect();
    assert!(touched.is_empty(), "{touched:?}");
}

/// Where KServe's own controller is installed, only services annotated for this one are.
#[tokio::test(start_paused = true)]
async fn kserve_goes_first_where_it_is_installed() {
    let world = World::furnished().await;
    let definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/llminferenceservices.serving.kserve.io";
    let webhook = json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"],
        "clientConfig": {"service": {"namespace": "kserve", "name": "llmisvc-webhook-server-service", "path": "/convert"}},
    }}}});
    world.api().merge(definition, &webhook).unwrap();
    world.apply("kserves", |_| ());
    world.apply(NAME, |service| {
        service["metadata"]["annotations"] = json!({"prefixgate.dev/controller": "prefixgate"});
    });
    world.controller("one");
    world.until(&deployment(NAME), Value::is_object).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(world.api().get(&deployment("kserves")).is_err());
    assert!(
        world
            .api()
            .get(&service("kserves"))
            .unwrap()
            .get("status")
            .is_none()
    );
}

/// A cluster in which nothing happens gets no writes but for those of the resync.
#[tokio::test(start_paused = true)]
async fn nothing_is_applied_again_and_again() {
    let world = World::furnished().await;
    let line = world.controller("one");
    world.apply(NAME, |_| ());
    world.until(&deployment(NAME), Value::is_object).await;
    world.pods(NAME, 3, &serving());
    world.until(&service(NAME), is_ready).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let version =
        |path: &str| world.api().get(path).unwrap()["metadata"]["resourceVersion"].clone();
    let paths = [service(NAME), deployment(NAME), route(NAME), pool(NAME)];
    let before: Vec<_> = paths.iter().map(|path| version(path)).collect();
    line.take_writes();
    tokio::time::sleep(Duration::from_secs(550)).await;
    let writes = line.take_writes();
    assert!(writes.is_empty(), "{writes:#?}");
    // The resync applies everything once more, and that changes nothing.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let after: Vec<_> = paths.iter().map(|path| version(path)).collect();
    assert_eq!(after, before);
    let writes = line.take_writes().len();
    assert!((1..=6 * 8).contains(&writes), "{writes} in an hour");
}
