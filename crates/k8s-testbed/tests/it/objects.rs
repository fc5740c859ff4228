use k8s_testbed::{ApiServer, Client, Fault};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) async fn server() -> ApiServer {
    let server = ApiServer::start("127.0.0.1:0".parse().unwrap(), CancellationToken::new())
        .await
        .unwrap();
    server.install_open_services().unwrap();
    server
}

pub(crate) const SERVICES: &str =
    "/apis/serving.kserve.io/v1alpha2/namespaces/default/llminferenceservices";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn service(replicas: i64) -> Value {
    json!({"metadata": {"name": "a"}, "spec": {"replicas": replicas, "model": {"uri": "hf://x/y"}}})
}

fn code<T: std::fmt::Debug>(result: Result<T, k8s_testbed::Status>) -> u16 {
    result.map(|_| 200).unwrap_or_else(|status| status.code)
}

fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap()
}

#[tokio::test]
async fn generation_counts_changes_of_the_spec_only() {
    let client = server().await.client();
    let path = format!("{SERVICES}/a");
    assert_eq!(
        generation(&client.create(SERVICES, &service(1)).unwrap()),
        1
    );
    let labelled = client
        .merge(&path, &json!({"metadata": {"labels": {"x": "y"}}}))
        .unwrap();
    assert_eq!(generation(&labelled), 1);
    let patched = client
        .patch(
            &path,
            "application/json-patch+json",
            &json!([{"op": "replace", "path": "/spec/replicas", "value": 5}]),
        )
        .unwrap();
    assert_eq!(
        (generation(&patched), &patched["spec"]["replicas"]),
        (2, &json!(5))
    );
    let version = patched["metadata"]["resourceVersion"].clone();
    let same = client
        .merge(&path, &json!({"spec": {"replicas": 5}}))
        .unwrap();
    assert_eq!(
        same["metadata"]["resourceVersion"], version,
        "nothing changed, so nothing was written"
    );
    let status = client
        .merge(
            &format!("{path}/status"),
            &json!({"status": {"replicas": 5}, "spec": {"replicas": 9}}),
        )
        .unwrap();
    assert_eq!(
        (generation(&status), &status["spec"]["replicas"]),
        (2, &json!(5)),
        "a status write writes the status"
    );
    let main = client
        .merge(&path, &json!({"status": {"replicas": 7}}))
        .unwrap();
    assert_eq!(main["status"]["replicas"], 5, "and a main write does not");
}

#[tokio::test]
async fn stale_writes_conflict() {
    let client = server().await.client();
    let mut object = client
        .create(
            MAPS,
            &json!({"metadata": {"name": "m"}, "data": {"a": "1"}}),
        )
        .unwrap();
    let path = format!("{MAPS}/m");
    client.merge(&path, &json!({"data": {"b": "2"}})).unwrap();
    object["data"]["a"] = json!("3");
    assert_eq!(code(client.replace(&path, &object)), 409);
    object["metadata"]["resourceVersion"] = Value::Null;
    assert_eq!(
        client.replace(&path, &object).unwrap()["data"],
        json!({"a": "3"})
    );
    assert_eq!(code(client.create(MAPS, &object)), 409);
    assert_eq!(
        code(client.create(
            "/api/v1/namespaces/nowhere/configmaps",
            &json!({"metadata": {"name": "m"}})
        )),
        404
    );
    assert_eq!(
        code(client.create(MAPS, &json!({"metadata": {"name": "Not_A_Name"}}))),
        422
    );
    assert_eq!(code(client.get("/apis/nothing.example/v1/things")), 404);
    assert_eq!(
        code(client.patch(
            &path,
            "application/json-patch+json",
            &json!([{"op": "remove", "path": "/data/z"}])
        )),
        422
    );
}

#[tokio::test]
async fn scale_is_a_subresource_in_every_version() {
    let client = server().await.client();
    client.create(SERVICES, &service(3)).unwrap();
    let path = format!("{SERVICES}/a/scale");
    let scale = client.get(&path).unwrap();
    assert_eq!(
        (scale["kind"].as_str(), &scale["spec"]["replicas"]),
        (Some("Scale"), &json!(3))
    );
    client
        .merge(&path, &json!({"spec": {"replicas": 1}}))
        .unwrap();
    let old = client
        .get("/apis/serving.kserve.io/v1alpha1/namespaces/default/llminferenceservices/a")
        .unwrap();
    assert_eq!(
        (&old["spec"]["replicas"], old["apiVersion"].as_str()),
        (&json!(1), Some("serving.kserve.io/v1alpha1"))
    );
    assert_eq!(
        code(client.merge(&path, &json!({"spec": {"replicas": -1}}))),
        422
    );
}

#[tokio::test]
async fn finalizers_hold_what_is_deleted() {
    let client = server().await.client();
    let path = format!("{MAPS}/m");
    client
        .create(
            MAPS,
            &json!({"metadata": {"name": "m", "finalizers": ["x.example/y"]}}),
        )
        .unwrap();
    let held = client.delete(&path).unwrap();
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    client
        .merge(&path, &json!({"metadata": {"finalizers": null}}))
        .unwrap();
    assert_eq!(code(client.get(&path)), 404);
}

#[tokio::test]
async fn selectors_choose() {
    let client = server().await.client();
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "z")] {
        client
            .create(
                MAPS,
                &json!({"metadata": {"name": name, "labels": {"app": app}}}),
            )
            .unwrap();
    }
    let check = |query: &str, expected: &[&str]| {
        let found = client.list(&format!("{MAPS}?{query}")).unwrap();
        let names: Vec<&str> = found
            .iter()
            .map(|one| one["metadata"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, expected, "{query}");
    };
    check("labelSelector=app%3Dx", &["a"]);
    check("labelSelector=app!%3Dx", &["b", "c"]);
    check("labelSelector=app+in+(x,y)", &["a", "b"]);
    check("labelSelector=app+notin+(x,y)", &["c"]);
    check("labelSelector=!app", &[]);
    check("fieldSelector=metadata.name%3Db", &["b"]);
}

#[tokio::test]
async fn faults_refuse_writes_as_often_as_asked() {
    let server = server().await;
    let client = server.client();
    client
        .create(MAPS, &json!({"metadata": {"name": "m"}}))
        .unwrap();
    let write =
        |client: &Client| code(client.merge(&format!("{MAPS}/m"), &json!({"data": {"a": "1"}})));
    server.inject(Fault::ConflictStorm { count: 2 });
    assert_eq!(
        [write(&client), write(&client), write(&client)],
        [409, 409, 200]
    );
    server.inject(Fault::WebhookRefuses {
        kind: "ConfigMap".to_owned(),
        count: 1,
    });
    assert_eq!(
        code(client.create(MAPS, &json!({"metadata": {"name": "n"}}))),
        403
    );
    assert_eq!(
        code(client.create(MAPS, &json!({"metadata": {"name": "n"}}))),
        200
    );
}

#[tokio::test]
async fn schemas_are_held_to() {
    let server = server().await;
    let client = server.client();
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "required": ["size"], "properties": {
                    "size": {"type": "integer", "minimum": 1}, "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
                }}},
            }}}],
        },
    });
    client
        .create(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &definition,
        )
        .unwrap();
    let things = "/apis/example.com/v1/namespaces/default/things";
    let check = |spec: Value, expected: Result<Value, &str>| {
        let made = client.create(
            things,
            &json!({"metadata": {"generateName": "t-"}, "spec": spec}),
        );
        match expected {
            Ok(spec) => assert_eq!(made.unwrap()["spec"], spec),
            Err(words) => {
                let status = made.unwrap_err();
                assert!(
                    status.code == 422 && status.message.contains(words),
                    "{status}"
                );
            }
        }
    };
    check(
        json!({"size": 1, "unknown": true}),
        Ok(json!({"size": 1, "mode": "a"})),
    );
    check(json!({"size": 0}), Err("spec.size"));
    check(json!({"size": "1"}), Err("must be of type integer"));
    check(json!({"mode": "c", "size": 1}), Err("Unsupported value"));
    check(json!({}), Err("spec.size: Required value"));
}
