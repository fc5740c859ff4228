//! What does `kubectl` want to know of the schema before it sends anything?
//!
//! That fields are validated by the server: one `patch` operation per kind says so. Kinds with a schema of their own
//! are described for `kubectl explain`.

use serde_json::{Map, Value, json};

use crate::kinds::Kind;

/// `/openapi/v3`.
pub(crate) fn index(kinds: &[Kind]) -> Value {
    let mut paths = Map::new();
    for kind in kinds {
        let path = root(kind);
        let url = format!("/openapi/v3{path}?hash=1");
        paths.insert(
            path.trim_start_matches('/').to_owned(),
            json!({"serverRelativeURL": url}),
        );
    }
    json!({"paths": paths})
}

/// `/openapi/v3/apis/GROUP/VERSION`.
pub(crate) fn document(kinds: &[Kind], wanted: &str) -> Option<Value> {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for kind in kinds.iter().filter(|kind| root(kind) == wanted) {
        let namespace = if kind.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let path = format!("{wanted}{namespace}/{}/{{name}}", kind.plural);
        let meaning = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
        let parameter =
            json!({"name": "fieldValidation", "in": "query", "schema": {"type": "string"}});
        paths.insert(
            path,
            json!({"patch": {
                "parameters": [parameter],
                "responses": {"200": {"description": "OK"}},
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": meaning,
            }}),
        );
        let mut schema = kind
            .schema
            .as_deref()
            .cloned()
            .unwrap_or_else(|| json!({"type": "object"}));
        schema["x-kubernetes-group-version-kind"] = json!([meaning]);
        schemas.insert(
            format!("{}.{}.{}", kind.group, kind.version, kind.kind),
            schema,
        );
    }
    let known = !paths.is_empty();
    known.then(|| {
        json!({
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "v1.33.0"},
            "paths": paths,
            "components": {"schemas": schemas},
        })
    })
}

fn root(kind: &Kind) -> String {
    match kind.group.as_str() {
        "" => format!("/api/{}", kind.version),
        group => format!("/apis/{group}/{}", kind.version),
    }
}
