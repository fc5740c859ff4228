use serde_json::{Value, json};

use super::world::{NAMESPACE, World, child, condition, core, deployment, service, serving};

/// Something that goes wrong, and what the service's `Ready` says of it.
struct Case {
    name: &'static str,
    /// What the manifest says otherwise.
    edit: fn(&mut Value),
    /// What each of its pods shows; null: there are none.
    pod: Value,
    reason: &'static str,
    words: &'static [&'static str],
}

fn case(
    name: &'static str,
    edit: fn(&mut Value),
    pod: Value,
    reason: &'static str,
    words: &'static [&'static str],
) -> Case {
    Case {
        name,
        edit,
        pod,
        reason,
        words,
    }
}

fn same(_: &mut Value) {}

fn gateway(service: &mut Value, name: &str) {
    service["spec"]["router"]["gateway"]["refs"][0]["name"] = json!(name);
}

/// A pod without a node.
fn pending(message: &str) -> Value {
    json!({"phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        "lastTransitionTime": "2026-03-01T10:00:00Z",
    }]})
}

/// A pod whose engine's container is like this.
fn container(state: Value) -> Value {
    let mut main = json!({"name": "main", "image": "registry.redhat.io/rhaiis/vllm-tpu-rhel9:3.2.5", "imageID": "", "ready": false, "restartCount": 0});
    for (field, value) in state.as_object().unwrap() {
        main[field] = value.clone();
    }
    json!({
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-03-01T10:00:00Z"}],
        "containerStatuses": [main],
    })
}

fn looping(reason: &str, exit_code: i32, words: &str) -> Value {
    container(json!({
        "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 1m20s"}},
        "lastState": {"terminated": {"exitCode": exit_code, "reason": reason, "message": words}},
    }))
}

fn cases() -> Vec<Case> {
    let short = "0/4 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 3 Insufficient google.com/tpu.";
    vec![
        case(
            "image-denied",
            same,
            container(
                json!({"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image: unauthorized: access to the requested resource is not authorized"}}}),
            ),
            "ImagePullFailed",
            &[
                "rhaiis/vllm-tpu-rhel9:3.2.5",
                "imagePullSecrets",
                "unauthorized",
            ],
        ),
        case(
            "image-unknown",
            same,
            container(
                json!({"state": {"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}}}),
            ),
            "ImagePullFailed",
            &["manifest unknown", "name and tag"],
        ),
        case(
            "no-node",
            same,
            pending(short),
            "Unschedulable",
            &["google.com/tpu", "add nodes"],
        ),
        case(
            "stock-out",
            same,
            pending(short),
            "StockOut",
            &["GCE_STOCKOUT", "zone"],
        ),
        case(
            "quota",
            same,
            pending(short),
            "QuotaExceeded",
            &["TPU_V6E", "quota"],
        ),
        case(
            "crash",
            same,
            looping(
                "Error",
                1,
                "RuntimeError: TPU initialization failed: open(/dev/vfio/0): Device or resource busy",
            ),
            "CrashLoop",
            &[
                "restarted 4 times",
                "exit code 1",
                "Device or resource busy",
            ],
        ),
        case(
            "crash-flag",
            same,
            looping(
                "Error",
                2,
                "api_server.py: error: unrecognized arguments: --prefix-cache-block-size=16",
            ),
            "EngineFlagUnknown",
            &["--prefix-cache-block-size", "it is --block-size"],
        ),
        case(
            "killed",
            same,
            looping("OOMKilled", 137, ""),
            "OOMKilled",
            &["memory limit"],
        ),
        case(
            "wrong-flag",
            |service| {
                let args = &mut service["spec"]["template"]["containers"][0]["args"][0];
                *args = json!(
                    args.as_str()
                        .unwrap()
                        .replace("--enable-prefix-caching", "--prefix-cache-block-size=16")
                );
            },
            Value::Null,
            "UnknownEngineFlag",
            &["not rolled out", "--prefix-cache-block-size"],
        ),
        case(
            "no-secret",
            |service| {
                service["spec"]["template"]["imagePullSecrets"][0]["name"] = json!("not-there")
            },
            Value::Null,
            "SecretMissing",
            &["not-there", NAMESPACE],
        ),
        case(
            "no-token",
            same,
            json!({
                "phase": "Pending",
                "initContainerStatuses": [{
                    "name": "storage-initializer", "image": "i", "imageID": "", "ready": false, "restartCount": 2,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                    "lastState": {"terminated": {"exitCode": 1, "message": "401 Client Error: gated repo"}},
                }],
            }),
            "ModelDownloadFailed",
            &["storage-initializer", "401", "token"],
        ),
        case(
            "global-class",
            |service| gateway(service, "global"),
            serving(),
            "GatewayClassUnsupported",
            &["gke-l7-global-external-managed", "regional"],
        ),
        case(
            "no-gateway",
            |service| gateway(service, "missing"),
            serving(),
            "GatewayNotFound",
            &["opendatahub/missing"],
        ),
        case(
            "no-class",
            |service| gateway(service, "classless"),
            serving(),
            "GatewayClassNotFound",
            &["nowhere"],
        ),
        case(
            "silent",
            |service| gateway(service, "silent"),
            serving(),
            "WaitingForGateway",
            &["silent", "example.com/silent"],
        ),
        case(
            "closed",
            |service| gateway(service, "closed"),
            serving(),
            "RouteNotAccepted",
            &["NotAllowedByListeners", NAMESPACE],
        ),
        case(
            "no-config",
            |service| service["spec"]["baseRefs"] = json!([{"name": "missing"}]),
            Value::Null,
            "ConfigNotFound",
            &["missing"],
        ),
        case(
            "no-pool",
            |service| {
                service["spec"]["router"]["scheduler"] =
                    json!({"pool": {"ref": {"name": "theirs"}}})
            },
            serving(),
            "RouteNotAccepted",
            &["theirs"],
        ),
        case(
            "taken",
            same,
            Value::Null,
            "ObjectRefused",
            &["Deployment/taken-kserve", "InferenceService other"],
        ),
    ]
}

const GATEWAYS: &str = r"
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: gke-l7-global-external-managed}
spec: {controllerName: networking.gke.io/gateway}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: silent}
spec: {controllerName: example.com/silent}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: global, namespace: opendatahub}
spec: {gatewayClassName: gke-l7-global-external-managed, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: silent, namespace: opendatahub}
spec: {gatewayClassName: silent, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: classless, namespace: opendatahub}
spec: {gatewayClassName: nowhere, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: closed, namespace: opendatahub}
spec: {gatewayClassName: prefixgate, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: v1
kind: Event
metadata: {name: stock-out-0, namespace: llm-d-inference-scheduling}
involvedObject: {kind: Pod, name: stock-out-0, namespace: llm-d-inference-scheduling}
type: Warning
reason: FailedScaleUp
message: 'Node scale up in zones us-east5-b failed: GCE_STOCKOUT'
---
apiVersion: v1
kind: Event
metadata: {name: quota-0, namespace: llm-d-inference-scheduling}
involvedObject: {kind: Pod, name: quota-0, namespace: llm-d-inference-scheduling}
type: Warning
reason: FailedScaleUp
message: 'Node scale up failed: GCE quota exceeded: TPU_V6E per region'
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: taken-kserve
  namespace: llm-d-inference-scheduling
  ownerReferences: [{apiVersion: serving.kserve.io/v1beta1, kind: InferenceService, name: other, uid: u, controller: true}]
spec:
  replicas: 7
  selector: {matchLabels: {app.kubernetes.io/part-of: llminferenceservice, app.kubernetes.io/name: taken}}
  template:
    metadata: {labels: {app.kubernetes.io/part-of: llminferenceservice, app.kubernetes.io/name: taken}}
    spec: {containers: [{name: main, image: theirs}]}
metadata_is_above: x
";

#[tokio::test(start_paused = true)]
async fn each_trouble_has_its_status() {
    let world = World::furnished().await;
    let manifest = GATEWAYS.replace("metadata_is_above: x\n", "");
    world.api().apply_manifest("test", &manifest).unwrap();
    let taken = json!({"metadata": {"labels": {"app.kubernetes.io/part-of": "llminferenceservice", "app.kubernetes.io/name": "taken"}}});
    world.api().merge(&deployment("taken"), &taken).unwrap();
    let theirs = world.api().get(&deployment("taken")).unwrap();
    world.controller("one");
    let cases = cases();
    for case in &cases {
        world.apply(case.name, case.edit);
    }
    for case in cases.iter().filter(|case| case.pod.is_object()) {
        world.until(&deployment(case.name), Value::is_object).await;
        world.pods(case.name, 3, &case.pod);
    }
    for Case {
        name,
        reason,
        words,
        ..
    } in &cases
    {
        let found = world
            .until(&service(name), |found| {
                condition(found, "Ready").1 == *reason
            })
            .await;
        let (status, _, message) = condition(&found, "Ready");
        assert_eq!(status, "False", "{name}");
        for word in *words {
            assert!(message.contains(word), "{name}: {message} lacks {word}");
        }
    }
    assert_eq!(world.api().get(&deployment("taken")).unwrap(), theirs);
    assert!(
        world.api().get(&deployment("wrong-flag")).is_err(),
        "not rolled out"
    );

    // Put right, it turns.
    let secret = json!({"metadata": {"name": "not-there"}});
    world.api().create(&core("secrets"), &secret).unwrap();
    world
        .until(&service("no-secret"), |found| {
            condition(found, "Ready").1 == "Creating"
        })
        .await;
    let open = json!({"spec": {"listeners": [{"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}]}});
    let gateway = "/apis/gateway.networking.k8s.io/v1/namespaces/opendatahub/gateways/closed";
    world.api().merge(gateway, &open).unwrap();
    world
        .until(&service("closed"), |found| {
            condition(found, "Ready").0 == "True"
        })
        .await;
}

/// What another gateway's controller says of a route is passed on.
#[tokio::test(start_paused = true)]
async fn a_route_that_another_gateway_refuses_is_told() {
    let world = World::furnished().await;
    world
        .api()
        .apply_manifest("test", &GATEWAYS.replace("metadata_is_above: x\n", ""))
        .unwrap();
    world.controller("one");
    world.apply("refused", |service| gateway(service, "silent"));
    world.until(&deployment("refused"), Value::is_object).await;
    world.pods("refused", 3, &serving());
    let programmed = json!({"status": {"conditions": [{"type": "Programmed", "status": "True", "reason": "Programmed", "message": "", "lastTransitionTime": "2026-03-01T10:00:00Z"}]}});
    let path = "/apis/gateway.networking.k8s.io/v1/namespaces/opendatahub/gateways/silent/status";
    world.api().merge(path, &programmed).unwrap();
    let route = child(
        "gateway.networking.k8s.io/v1",
        "httproutes",
        "refused-kserve-route",
    );
    world.until(&route, Value::is_object).await;
    let refusal = json!({"status": {"parents": [{
        "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "silent", "namespace": "opendatahub"},
        "controllerName": "example.com/silent",
        "conditions": [{"type": "Accepted", "status": "False", "reason": "UnsupportedValue", "message": "GWCER104: timeouts", "lastTransitionTime": "2026-03-01T10:00:00Z"}],
    }]}});
    world
        .api()
        .merge(&format!("{route}/status"), &refusal)
        .unwrap();
    let found = world
        .until(&service("refused"), |found| {
            condition(found, "Ready").1 == "RouteNotAccepted"
        })
        .await;
    let (.., message) = condition(&found, "Ready");
    assert!(message.contains("GWCER104"), "{message}");
}
