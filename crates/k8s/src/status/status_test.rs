//! What is said, for each thing that can be wrong.

use serde_json::{Value, json};

use super::*;
use crate::desired::{Presets, resolve};

fn base() -> Value {
    json!({
        "apiVersion": "serving.kserve.io/v1alpha2", "kind": "LLMInferenceService",
        "metadata": {"name": "qwen", "namespace": "team", "generation": 3},
        "spec": {
            "model": {"uri": "hf://Qwen/Qwen2.5-3B-Instruct"},
            "replicas": 1,
            "router": {"route": {}, "gateway": {}, "scheduler": {}},
        },
    })
}

fn pod(name: &str, rest: Value) -> WorkloadPod {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "team", "creationTimestamp": "2026-03-01T10:00:00Z"},
        "spec": {"nodeName": "node-1"},
        "status": {"phase": "Running", "podIP": "10.0.0.1"},
    });
    crate::desired::merge_for_tests(&mut pod, &rest);
    serde_json::from_value(pod).unwrap()
}

fn ready_pod(name: &str) -> WorkloadPod {
    pod(
        name,
        json!({"status": {
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T10:04:00Z"}],
            "containerStatuses": [{"name": "main", "ready": true, "started": true, "state": {"running": {"startedAt": "2026-03-01T10:01:00Z"}}}],
        }}),
    )
}

fn waiting_pod(reason: &str, message: &str) -> WorkloadPod {
    pod(
        "qwen-1",
        json!({"status": {"containerStatuses": [{"name": "main", "image": "registry/engine:1", "state": {"waiting": {"reason": reason, "message": message}}}]}}),
    )
}

fn crashed_pod(message: &str) -> WorkloadPod {
    pod(
        "qwen-1",
        json!({"status": {"containerStatuses": [{
            "name": "main", "restartCount": 4,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 1m20s"}},
            "lastState": {"terminated": {"reason": "Error", "exitCode": 2, "message": message}},
        }]}}),
    )
}

/// Everything in order; each case then takes something away.
struct World {
    service: Value,
    pods: Vec<WorkloadPod>,
    gateway: Value,
    class: Value,
    route_conditions: Value,
    events: BTreeMap<String, Vec<String>>,
    missing: Vec<String>,
    refused: Vec<(String, String)>,
}

impl World {
    fn good() -> Self {
        Self {
            service: base(),
            pods: vec![ready_pod("qwen-1")],
            gateway: json!({
                "metadata": {"name": "prefixgate", "namespace": "prefixgate-system"},
                "spec": {"gatewayClassName": "prefixgate", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
                "status": {"conditions": [{"type": "Programmed", "status": "True"}], "addresses": [{"type": "IPAddress", "value": "203.0.113.7"}]},
            }),
            class: json!({"metadata": {"name": "prefixgate"}, "spec": {"controllerName": names::GATEWAY_CONTROLLER}}),
            route_conditions: json!([{"type": "Accepted", "status": "True"}, {"type": "ResolvedRefs", "status": "True"}]),
            events: BTreeMap::new(),
            missing: Vec::new(),
            refused: Vec::new(),
        }
    }

    fn status(&self) -> ServiceStatus {
        let service: LlmInferenceService = serde_json::from_value(self.service.clone()).unwrap();
        let settings = Settings::default();
        let resolved = resolve(&service, &Presets::default(), &settings);
        let parent = json!({"name": "prefixgate", "namespace": "prefixgate-system"});
        let gateway: Option<Gateway> = serde_json::from_value(self.gateway.clone()).unwrap();
        let class: Option<GatewayClass> = serde_json::from_value(self.class.clone()).unwrap();
        let dialect = class.as_ref().map_or_else(Default::default, |class| {
            crate::desired::Dialect::of(&class.spec.controller_name)
        });
        let parent_ref: ParentRef = serde_json::from_value(parent.clone()).unwrap();
        let facts = Facts {
            gateways: vec![(parent_ref.clone(), dialect)],
            ..Facts::default()
        };
        let findings = resolved
            .as_ref()
            .map(crate::lint::findings)
            .unwrap_or_default();
        let ready = self.pods.iter().filter(|pod| pod.is_ready()).count();
        let seen = Observed {
            service: &service,
            resolved: resolved.as_ref(),
            settings: &settings,
            facts: &facts,
            gateways: vec![GatewayView { parent: parent_ref, gateway, class }],
            route: serde_json::from_value(json!({
                "metadata": {"name": "qwen-kserve-route", "namespace": "team"},
                "spec": {"parentRefs": [parent]},
                "status": {"parents": [{"parentRef": parent, "controllerName": "x/y", "conditions": self.route_conditions}]},
            })).unwrap(),
            pool: serde_json::from_value(json!({
                "metadata": {"name": "qwen-inference-pool", "namespace": "team"},
                "status": {"parents": [{"parentRef": parent, "conditions": [{"type": "Accepted", "status": "True"}]}]},
            })).unwrap(),
            deployment: serde_json::from_value(json!({
                "metadata": {"name": "qwen-kserve", "namespace": "team"},
                "spec": {"replicas": 1}, "status": {"readyReplicas": ready},
            })).unwrap(),
            prefill: None,
            picker: None,
            pods: self.pods.clone(),
            logs: BTreeMap::new(),
            events: self.events.clone(),
            missing_secrets: self.missing.clone(),
            refused: self.refused.clone(),
            findings: &findings,
            verdict: &Verdict::default(),
            now: "2026-03-01T10:05:00Z".parse().unwrap(),
        };
        status(&seen)
    }
}

fn check(change: impl FnOnce(&mut World), reason: &str, parts: &[&str]) {
    let mut world = World::good();
    change(&mut world);
    let status = world.status();
    let ready = condition(&status.conditions, "Ready").unwrap();
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("False", reason),
        "{}",
        ready.message
    );
    for part in parts {
        assert!(
            ready.message.contains(part),
            "no {part} in {}",
            ready.message
        );
    }
}

#[test]
fn a_service_in_order() {
    let status = World::good().status();
    for kind in [
        "Ready",
        "PresetsCombined",
        "MainWorkloadReady",
        "WorkloadsReady",
        "RouterReady",
        "GatewaysReady",
        "HTTPRoutesReady",
        "InferencePoolReady",
    ] {
        assert_eq!(
            condition(&status.conditions, kind).map(|found| found.status.as_str()),
            Some("True"),
            "{kind}"
        );
    }
    assert_eq!(status.url.as_deref(), Some("http://203.0.113.7/team/qwen"));
    assert_eq!(
        (
            status.replicas,
            status.ready_replicas,
            status.observed_generation
        ),
        (1, 1, Some(3))
    );
    assert_eq!(
        status.phase.map(|phase| (phase.name, phase.since)),
        Some(("Ready".to_owned(), "2026-03-01T10:04:00Z".to_owned()))
    );
    assert_eq!(
        status.endpoints.unwrap().ready[0].address.as_deref(),
        Some("10.0.0.1:8000")
    );
    assert_eq!(status.startup.unwrap().learned_seconds, 240);
}

#[test]
fn each_trouble_is_named() {
    let unscheduled = |message: &str| {
        pod(
            "qwen-1",
            json!({"spec": {"nodeName": null}, "status": {"phase": "Pending", "podIP": null, "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]}}),
        )
    };
    let tpu = "0/3 nodes are available: 3 Insufficient google.com/tpu.";
    check(
        |world| world.pods = vec![unscheduled(tpu)],
        "Unschedulable",
        &["not enough google.com/tpu free", "0 of 1"],
    );
    check(
        |world| {
            world.pods = vec![unscheduled(tpu)];
            world.events = [(
                "qwen-1".to_owned(),
                vec![
                    "FailedScaleUp: Node scale up in zones us-east5-b failed: GCE_STOCKOUT"
                        .to_owned(),
                ],
            )]
            .into();
        },
        "StockOut",
        &["GCE_STOCKOUT"],
    );
    check(
        |world| {
            world.pods = vec![unscheduled(tpu)];
            world.events = [(
                "qwen-1".to_owned(),
                vec!["FailedScaleUp: GCE quota exceeded".to_owned()],
            )]
            .into();
        },
        "QuotaExceeded",
        &["quota exceeded"],
    );
    check(
        |world| {
            world.pods = vec![unscheduled(
                "0/3 nodes are available: 3 node(s) had untolerated taint {a: b}.",
            )]
        },
        "Unschedulable",
        &["tolerations"],
    );
    check(
        |world| {
            world.pods = vec![waiting_pod(
                "ImagePullBackOff",
                "pull access denied: unauthorized",
            )]
        },
        "ImagePullFailed",
        &["registry/engine:1", "imagePullSecrets"],
    );
    check(
        |world| {
            world.pods = vec![waiting_pod(
                "CreateContainerConfigError",
                "secret \"hf-token\" not found",
            )]
        },
        "SecretMissing",
        &["hf-token"],
    );
    check(
        |world| {
            world.pods = vec![waiting_pod("ContainerCreating", "")];
            world.missing = vec!["redhat-pull-secret".to_owned()];
        },
        "SecretMissing",
        &["redhat-pull-secret", "namespace team"],
    );
    check(
        |world| {
            world.pods = vec![crashed_pod(
                "error: unrecognized arguments: --prefix-cache-block-size=16",
            )]
        },
        "EngineFlagUnknown",
        &[
            "--prefix-cache-block-size",
            "--block-size",
            "restarted 4 times",
        ],
    );
    check(
        |world| world.pods = vec![crashed_pod("RuntimeError: TPU initialization failed")],
        "CrashLoop",
        &["TPU initialization failed", "exit code 2"],
    );
    check(
        |world| world.pods = vec![waiting_pod("ContainerCreating", "")],
        "PullingImage",
        &["for 300 s"],
    );
    check(|world| world.pods = Vec::new(), "Creating", &["0 of 1"]);
    check(
        |world| {
            world.refused = vec![(
                "Deployment/qwen-kserve".to_owned(),
                "admission webhook denied the request".to_owned(),
            )]
        },
        "ObjectRefused",
        &["webhook"],
    );
    check(
        |world| world.gateway = Value::Null,
        "GatewayNotFound",
        &["prefixgate-system/prefixgate"],
    );
    check(
        |world| world.gateway["status"] = Value::Null,
        "WaitingForGateway",
        &["prefixgate.dev/gateway-controller"],
    );
    check(
        |world| {
            world.gateway["spec"]["gatewayClassName"] = json!("gke-l7-global-external-managed");
            world.class["spec"]["controllerName"] = json!("networking.gke.io/gateway");
        },
        "GatewayClassUnsupported",
        &["gke-l7-regional-external-managed"],
    );
    check(
        |world| {
            world.route_conditions =
                json!([{"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners"}])
        },
        "RouteNotAccepted",
        &["NotAllowedByListeners"],
    );
    check(
        |world| {
            world.route_conditions =
                json!([{"type": "ResolvedRefs", "status": "False", "reason": "InvalidKind"}])
        },
        "GatewayClassUnsupported",
        &["InferencePool"],
    );
    check(
        |world| world.service["spec"]["model"] = json!({"uri": "ftp://x"}),
        "InvalidRenderedConfig",
        &["ftp://x"],
    );
    check(
        |world| world.service["spec"]["baseRefs"] = json!([{"name": "gone"}]),
        "ConfigNotFound",
        &["gone"],
    );
    check(
        |world| {
            world.pods = Vec::new();
            world.service["spec"]["template"] = json!({"containers": [{"name": "main", "args": ["--prefix-cache-block-size=16"], "resources": {"limits": {"google.com/tpu": "4"}}}]});
        },
        "UnknownEngineFlag",
        &["not rolled out", "--block-size"],
    );
    check(
        |world| world.service["metadata"]["annotations"] = json!({names::STOP: "true"}),
        "Stopped",
        &["end their requests"],
    );
}

#[test]
fn one_replica_replaced_does_not_take_a_service_down() {
    let mut world = World::good();
    world.service["spec"]["replicas"] = json!(3);
    world.service["status"] = json!({"conditions": [{"type": "MainWorkloadReady", "status": "True", "lastTransitionTime": "2026-02-01T00:00:00Z"}]});
    world.pods = vec![
        ready_pod("qwen-1"),
        ready_pod("qwen-2"),
        waiting_pod("ContainerCreating", ""),
    ];
    let status = world.status();
    let main = condition(&status.conditions, "MainWorkloadReady").unwrap();
    assert_eq!(
        (main.status.as_str(), main.last_transition_time.as_str()),
        ("True", "2026-02-01T00:00:00Z")
    );
    assert!(main.message.contains("2 of 3"), "{}", main.message);
    world.pods.remove(0);
    assert_eq!(
        condition(&world.status().conditions, "Ready")
            .unwrap()
            .status,
        "False"
    );
}
