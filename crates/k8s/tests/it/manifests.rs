use std::path::{Path, PathBuf};

use k8s_testbed::ApiServer;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn documents(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    all.into_iter().filter(Value::is_object).collect()
}

/// What of `sent` the server does not hold, by path.
fn dropped(sent: &Value, held: &Value, path: &str, found: &mut Vec<String>) {
    match sent {
        Value::Object(fields) => {
            for (name, value) in fields {
                dropped(value, &held[name], &format!("{path}.{name}"), found);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                dropped(item, &held[at], &format!("{path}[{at}]"), found);
            }
        }
        other if other != held => found.push(format!("{path}: {other} became {held}")),
        _ => {}
    }
}

async fn cluster() -> ApiServer {
    let server = ApiServer::start(([127, 0, 0, 1], 0).into(), CancellationToken::new())
        .await
        .unwrap();
    server.install_gateway_api().unwrap();
    for (_, definition) in k8s::types::crds::documents() {
        server.client().apply_manifest("test", &definition).unwrap();
    }
    server
}

fn strictly(server: &ApiServer, object: &Value) -> Result<Value, k8s_testbed::Status> {
    let client = server.client();
    let path = client.path_of(object)?;
    let path = format!("{path}?fieldManager=kubectl&fieldValidation=Strict");
    client.patch(&path, "application/apply-patch+yaml", object)
}

/// As `kubectl apply` sends them: a field that the definitions do not know would be refused.
#[tokio::test]
async fn examples_are_taken_whole() {
    let server = cluster().await;
    let mut seen = 0;
    for entry in std::fs::read_dir(deploy().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        for object in documents(&std::fs::read_to_string(&path).unwrap()) {
            let namespace = object["metadata"]["namespace"]
                .as_str()
                .unwrap_or("default");
            let namespace = json!({"metadata": {"name": namespace}});
            // Several share one.
            let _ = server.client().create("/api/v1/namespaces", &namespace);
            let held = strictly(&server, &object)
                .unwrap_or_else(|refused| panic!("{}: {refused:?}", path.display()));
            let mut found = Vec::new();
            dropped(&object, &held, "", &mut found);
            assert!(found.is_empty(), "{}: {found:?}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 4);
}

/// What a manifest says wrong, and how it is refused.
#[tokio::test]
async fn wrong_manifests_are_refused_by_the_definition() {
    let server = cluster().await;
    let check = |pointer: &str, value: Value, words: &str| {
        let mut object = json!({
            "apiVersion": "serving.kserve.io/v1alpha2", "kind": "LLMInferenceService",
            "metadata": {"name": "a", "namespace": "default"},
            "spec": {"model": {"uri": "hf://a/b"}},
        });
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[field] = value;
        let refused = strictly(&server, &object).unwrap_err();
        assert!(refused.message.contains(words), "{pointer}: {refused:?}");
    };
    check("/spec/replica", json!(3), "unknown field \"spec.replica\"");
    check("/spec/replicas", json!("3"), "must be of type integer");
    check("/spec/replicas", json!(-1), "greater than or equal to 0");
    check(
        "/spec/model",
        json!({"name": "x"}),
        "spec.model.uri: Required",
    );
    check(
        "/spec/schedules",
        json!([{"cron": "0 7 * * *"}]),
        "replicas: Required",
    );
    check(
        "/spec/router",
        json!({"schedular": {}}),
        "spec.router.schedular",
    );
}
