use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::*;
use crate::preflight::{NodeFacts, PodFacts};

const MANIFEST: &str = "
apiVersion: serving.kserve.io/v1alpha1
kind: LLMInferenceService
metadata: {name: q, namespace: ns}
spec:
  model: {uri: 'hf://a/b'}
  replicas: 3
  router: {route: {}, scheduler: {}, gateway: {refs: [{name: gw, namespace: infra}]}}
  template:
    imagePullSecrets: [{name: pull}]
    nodeSelector: {pool: tpu}
    tolerations: [{key: google.com/tpu, operator: Exists}]
    containers:
    - name: main
      env: [{name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hf, key: HF_TOKEN}}}]
      resources: {limits: {google.com/tpu: '4'}}
";

fn needs() -> Needs {
    Needs::of_manifest(MANIFEST).unwrap().remove(0)
}

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn node(number: usize) -> NodeFacts {
    NodeFacts {
        name: format!("n{number}"),
        labels: BTreeMap::from([
            ("pool".to_owned(), "tpu".to_owned()),
            (
                "cloud.google.com/gke-nodepool".to_owned(),
                "tpu-pool".to_owned(),
            ),
        ]),
        taints: vec![json!({"key": "google.com/tpu", "value": "present", "effect": "NoSchedule"})],
        allocatable: BTreeMap::from([("google.com/tpu".to_owned(), 4)]),
        usable: true,
    }
}

/// A cluster where everything is as it should be.
fn facts() -> Facts {
    let served = |version: &str| (BTreeSet::from([version.to_owned()]), None);
    let keys = |key: &str| Ok(Some(BTreeSet::from([key.to_owned()])));
    Facts {
        server_version: Ok("v1.33.0".to_owned()),
        namespace_exists: Ok(true),
        gateways: vec![Ok(Some(parse(json!({
            "metadata": {"name": "gw", "namespace": "infra"}, "spec": {"gatewayClassName": "c", "listeners": []},
            "status": {"conditions": [{"type": "Programmed", "status": "True"}]},
        }))))],
        classes: Ok(vec![parse(
            json!({"metadata": {"name": "c"}, "spec": {"controllerName": GATEWAY_CONTROLLER}}),
        )]),
        definitions: Ok(BTreeMap::from([
            (
                "llminferenceservices.serving.kserve.io".to_owned(),
                served("v1alpha1"),
            ),
            (
                "gateways.gateway.networking.k8s.io".to_owned(),
                served("v1"),
            ),
            (
                "httproutes.gateway.networking.k8s.io".to_owned(),
                served("v1"),
            ),
            (
                "inferencepools.inference.networking.k8s.io".to_owned(),
                served("v1"),
            ),
        ])),
        cert_manager: Ok(Some(true)),
        secrets: BTreeMap::from([
            ("pull".to_owned(), keys(".dockerconfigjson")),
            ("hf".to_owned(), keys("HF_TOKEN")),
        ]),
        nodes: Ok((1..=3).map(node).collect()),
        pods: Ok(Vec::new()),
        quota: Ok(BTreeMap::new()),
        group_max: Ok(BTreeMap::new()),
    }
}

#[track_caller]
fn check(change: impl FnOnce(&mut Facts), name: &str, expected: Verdict, words: &str) {
    let mut facts = facts();
    change(&mut facts);
    let checks = judge(&needs(), &facts, Hints::default());
    let worst = checks
        .iter()
        .filter(|check| check.name == name)
        .max_by_key(|check| check.verdict)
        .unwrap();
    assert_eq!(worst.verdict, expected, "{worst:?}");
    assert!(
        worst.evidence.contains(words),
        "{worst:?} does not say {words}"
    );
}

#[test]
fn a_cluster_that_has_everything_passes_but_for_what_it_cannot_say() {
    for check in judge(&needs(), &facts(), Hints::default()) {
        let expected = if check.name == "cloud-quota" {
            Verdict::Unknown
        } else {
            Verdict::Ok
        };
        assert_eq!(check.verdict, expected, "{check:?}");
    }
}

#[test]
fn what_is_missing_fails_and_says_what_to_do() {
    use Verdict::Failed;
    check(
        |facts| facts.server_version = Ok("v1.29.4-gke.1".to_owned()),
        "api-server",
        Failed,
        "v1.29.4-gke.1 does not know the pause",
    );
    check(
        |facts| facts.namespace_exists = Ok(false),
        "namespace",
        Failed,
        "ns does not exist",
    );
    check(
        |facts| facts.gateways[0] = Ok(None),
        "gateway-programmed",
        Failed,
        "infra/gw does not exist",
    );
    check(
        |facts| {
            if let Ok(Some(gateway)) = &mut facts.gateways[0] {
                gateway.status = None;
            }
        },
        "gateway-programmed",
        Failed,
        "no Programmed condition",
    );
    check(
        |facts| {
            facts.classes = Ok(vec![parse(json!({
                "metadata": {"name": "c-mc"}, "spec": {"controllerName": "networking.gke.io/gateway"},
            }))]);
        },
        "gateway-class",
        Failed,
        "class c does not exist",
    );
    check(
        |facts| {
            drop(
                facts
                    .definitions
                    .as_mut()
                    .unwrap()
                    .remove("inferencepools.inference.networking.k8s.io"),
            )
        },
        "definitions",
        Failed,
        "inferencepools",
    );
    check(
        |facts| drop(facts.secrets.insert("pull".to_owned(), Ok(None))),
        "pull-secret",
        Failed,
        "pull does not exist in ns",
    );
    check(
        |facts| {
            drop(
                facts
                    .secrets
                    .insert("hf".to_owned(), Ok(Some(BTreeSet::new()))),
            )
        },
        "secret",
        Failed,
        "no key HF_TOKEN",
    );
    check(
        |facts| facts.quota = Ok(BTreeMap::from([("requests.google.com/tpu".to_owned(), 8)])),
        "quota",
        Failed,
        "leaves 8 google.com/tpu, 12 are needed",
    );
}

#[test]
fn what_cannot_be_read_is_unknown() {
    use Verdict::Unknown;
    let no = || "not allowed to read it".to_owned();
    check(
        |facts| facts.gateways[0] = Err(no()),
        "gateway-programmed",
        Unknown,
        "not allowed",
    );
    check(
        |facts| facts.gateways[0] = Err(no()),
        "gateway-class",
        Unknown,
        "could not be read",
    );
    check(
        |facts| facts.classes = Err(no()),
        "gateway-class",
        Unknown,
        "not allowed",
    );
    check(
        |facts| facts.definitions = Err(no()),
        "definitions",
        Unknown,
        "not allowed",
    );
    check(
        |facts| facts.cert_manager = Err(no()),
        "cert-manager",
        Unknown,
        "not allowed",
    );
    check(
        |facts| drop(facts.secrets.insert("pull".to_owned(), Err(no()))),
        "pull-secret",
        Unknown,
        "not allowed",
    );
    check(
        |facts| facts.nodes = Err(no()),
        "chips",
        Unknown,
        "not allowed",
    );
    check(
        |facts| facts.pods = Err(no()),
        "chips",
        Unknown,
        "not allowed",
    );
    check(
        |facts| facts.quota = Err(no()),
        "quota",
        Unknown,
        "not allowed",
    );
    check(
        |facts| {
            facts.classes = Ok(vec![parse(
                json!({"metadata": {"name": "c"}, "spec": {"controllerName": "istio.io/gateway-controller"}}),
            )]);
        },
        "gateway-class",
        Unknown,
        "does not say",
    );
}

#[track_caller]
fn check_chips(change: impl FnOnce(&mut Facts), max: Option<u64>, expected: Verdict, words: &str) {
    let mut facts = facts();
    change(&mut facts);
    let checks = judge(&needs(), &facts, Hints { node_pool_max: max });
    let found = checks.iter().find(|check| check.name == "chips").unwrap();
    assert_eq!(found.verdict, expected, "{found:?}");
    assert!(
        found.evidence.contains(words),
        "{found:?} does not say {words}"
    );
}

#[test]
fn chips_are_counted_by_node_and_by_the_pools_maximum() {
    use Verdict::{Failed, Ok as Good, Unknown};
    let two = |facts: &mut Facts| facts.nodes = Ok((1..=2).map(node).collect());
    check_chips(|_| {}, None, Good, "room for 3 replicas");
    check_chips(two, None, Unknown, "maximum is not told");
    check_chips(two, Some(3), Good, "may grow to 3 nodes of 4");
    check_chips(two, Some(2), Failed, "room for 2 replicas");
    let told = |max: u64| {
        move |facts: &mut Facts| {
            facts.nodes = Ok((1..=2).map(node).collect());
            facts.group_max = Ok(BTreeMap::from([(
                "zones/x/gke-c-tpu-pool-1-grp".to_owned(),
                max,
            )]));
        }
    };
    check_chips(told(3), None, Good, "may grow to 3");
    check_chips(told(2), None, Failed, "may grow to 2");
    let taken = |own: bool| {
        move |facts: &mut Facts| {
            facts.pods = Ok(vec![PodFacts {
                node: "n1".to_owned(),
                own,
                chips: BTreeMap::from([("google.com/tpu".to_owned(), 4)]),
            }]);
        }
    };
    check_chips(taken(false), None, Unknown, "room for 2 replicas");
    check_chips(taken(true), None, Good, "room for 3 replicas");
    let cordoned = |facts: &mut Facts| facts.nodes.as_mut().unwrap()[0].usable = false;
    check_chips(cordoned, Some(3), Good, "room for 2 replicas");
    check_chips(
        |facts| facts.nodes = Ok(Vec::new()),
        Some(3),
        Unknown,
        "no node yet",
    );
}
