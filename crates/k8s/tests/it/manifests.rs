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

/// The part of Helm's template language that the chart keeps to: values, `if` and `range` on lines of their own.
fn rendered(template: &str, values: &Value) -> String {
    let value = |path: &str| -> Value {
        match path.trim() {
            ".Release.Namespace" => json!("prefixgate-system"),
            path => {
                let path = path
                    .strip_prefix(".Values.")
                    .unwrap_or_else(|| panic!("{path}"));
                let found = values.pointer(&format!("/{}", path.replace('.', "/")));
                found
                    .unwrap_or_else(|| panic!("values.yaml has no {path}"))
                    .clone()
            }
        }
    };
    let mut text = String::new();
    let mut shown = vec![true];
    for line in template.lines() {
        let inner = line
            .trim()
            .strip_prefix("{{-")
            .and_then(|rest| rest.strip_suffix("}}"));
        match inner.map(str::trim) {
            Some("end") => drop(shown.pop()),
            Some(block) => {
                let (word, path) = block.split_once(' ').unwrap();
                let found = value(path);
                let items = found.as_array().map_or(1, Vec::len);
                assert!(word == "if" || items == 0, "a default list is empty");
                shown.push(found != false && items > 0);
            }
            None if shown.iter().all(|shown| *shown) => {
                let mut rest = line;
                while let Some((before, after)) = rest.split_once("{{") {
                    let (path, after) = after.split_once("}}").unwrap();
                    text.push_str(before);
                    match value(path) {
                        Value::String(value) => text.push_str(&value),
                        other => text.push_str(&other.to_string()),
                    }
                    rest = after;
                }
                text.push_str(rest);
                text.push('\n');
            }
            None => {}
        }
    }
    text
}

/// Objects of every YAML file in a folder, by kind and name.
fn all(folder: &Path, skipped: &str, read: impl Fn(&str) -> String) -> Vec<Value> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("kustomization.yaml") {
            all.extend(documents(&read(&std::fs::read_to_string(&path).unwrap())));
        }
    }
    let name = |object: &Value| format!("{}/{}", object["kind"], object["metadata"]["name"]);
    all.retain(|object| object["kind"] != skipped);
    all.sort_by_key(name);
    all
}

/// Whoever installs by Helm gets what whoever installs by Kustomize gets.
#[test]
fn the_chart_holds_what_the_kustomization_holds() {
    let chart = deploy().join("helm/prefixgate");
    let values = std::fs::read_to_string(chart.join("values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&values).unwrap();
    let templates = all(&chart.join("templates"), "", |text| rendered(text, &values));
    // Helm makes the namespace with --create-namespace.
    let plain = all(&deploy().join("controller"), "Namespace", str::to_owned);
    assert!(plain.len() >= 7, "{plain:?}");
    assert_eq!(templates, plain);
    let definitions = all(&chart.join("crds"), "", str::to_owned);
    assert_eq!(definitions, all(&deploy().join("crds"), "", str::to_owned));
}
