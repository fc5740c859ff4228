use serde_json::{Value, json};

use crate::objects::{SERVICES, server};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment(image: &str, args: &[&str]) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"ours": "1"}},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "main", "image": image, "args": args, "env": [{"name": "X", "value": "1"}]}]},
        }},
    })
}

#[tokio::test]
async fn fields_of_others_survive_and_ours_come_and_go() {
    let client = server().await.client();
    let path = format!("{DEPLOYMENTS}/d");
    client
        .apply(&path, "ours", &deployment("i:1", &["a"]))
        .unwrap();
    // A user adds a label, a variable and a sidecar.
    let patch = json!({
        "metadata": {"labels": {"theirs": "1"}},
        "spec": {"template": {"spec": {"containers": [
            {"name": "main", "env": [{"name": "Y", "value": "2"}]}, {"name": "side", "image": "s"},
        ]}}},
    });
    client
        .patch(&path, "application/strategic-merge-patch+json", &patch)
        .unwrap();
    let mut next = deployment("i:2", &["b"]);
    next["metadata"]["labels"] = json!({"newer": "1"});
    let applied = client.apply(&path, "ours", &next).unwrap();
    assert_eq!(
        applied["metadata"]["labels"],
        json!({"theirs": "1", "newer": "1"})
    );
    let containers = applied["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    assert_eq!(containers.len(), 2);
    assert_eq!(
        (&containers[0]["image"], &containers[0]["args"]),
        (&json!("i:2"), &json!(["b"]))
    );
    let names: Vec<&Value> = containers[0]["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["X", "Y"]);
    let again = client.apply(&path, "ours", &next).unwrap();
    assert_eq!(
        again["metadata"]["resourceVersion"], applied["metadata"]["resourceVersion"],
        "the same again writes nothing"
    );
}

#[tokio::test]
async fn a_field_of_anothers_is_a_conflict_unless_forced() {
    let client = server().await.client();
    let path = format!("{SERVICES}/a");
    let with = |replicas: i64| json!({"apiVersion": "serving.kserve.io/v1alpha2", "kind": "LLMInferenceService", "metadata": {"name": "a"}, "spec": {"replicas": replicas}});
    let unforced = |manager: &str, replicas: i64| {
        client.patch(
            &format!("{path}?fieldManager={manager}"),
            "application/apply-patch+yaml",
            &with(replicas),
        )
    };
    unforced("one", 3).unwrap();
    unforced("two", 3).unwrap();
    let status = unforced("two", 4).unwrap_err();
    assert_eq!(status.code, 409);
    assert!(
        status
            .message
            .contains("conflict with \"one\": .spec.replicas"),
        "{status}"
    );
    let forced = client.apply(&path, "two", &with(4)).unwrap();
    assert_eq!(forced["spec"]["replicas"], 4);
    let managers = forced["metadata"]["managedFields"].as_array().unwrap();
    let owners: Vec<&Value> = managers
        .iter()
        .filter(|one| one["fieldsV1"]["f:spec"]["f:replicas"].is_object())
        .map(|one| &one["manager"])
        .collect();
    assert_eq!(owners, ["two"]);
}

#[tokio::test]
async fn a_status_is_applied_on_its_own() {
    let client = server().await.client();
    let path = format!("{SERVICES}/a");
    client
        .create(
            SERVICES,
            &json!({"metadata": {"name": "a"}, "spec": {"replicas": 1}}),
        )
        .unwrap();
    let status = json!({
        "apiVersion": "serving.kserve.io/v1alpha2", "kind": "LLMInferenceService", "metadata": {"name": "a"},
        "status": {"url": "http://x", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    let applied = client
        .apply(&format!("{path}/status"), "controller", &status)
        .unwrap();
    assert_eq!(
        (&applied["status"]["url"], &applied["spec"]["replicas"]),
        (&json!("http://x"), &json!(1))
    );
    assert_eq!(applied["metadata"]["generation"], 1);
    let version = applied["metadata"]["resourceVersion"].clone();
    let again = client
        .apply(&format!("{path}/status"), "controller", &status)
        .unwrap();
    assert_eq!(again["metadata"]["resourceVersion"], version);
    let fewer = json!({"apiVersion": "serving.kserve.io/v1alpha2", "kind": "LLMInferenceService", "metadata": {"name": "a"}, "status": {"replicas": 1}});
    let applied = client
        .apply(&format!("{path}/status"), "controller", &fewer)
        .unwrap();
    assert_eq!(
        applied["status"],
        json!({"replicas": 1}),
        "what is no longer applied is removed"
    );
}
