//! How is the API called from the same process?

use std::sync::Arc;

use http::{Method, Request, header};
use serde_json::Value;

use crate::api::body::Reply;
use crate::api::route::{self, Asked};
use crate::server::Shared;
use crate::status::Status;

/// Calls by path, as over HTTP, without a socket.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// # Errors
    /// As the API answers.
    pub fn get(&self, path: &str) -> Result<Value, Status> {
        self.call(Method::GET, path, "application/json", None)
    }

    /// Objects of a collection.
    ///
    /// # Errors
    /// As the API answers.
    pub fn list(&self, path: &str) -> Result<Vec<Value>, Status> {
        let mut list = self.get(path)?;
        Ok(list["items"]
            .as_array_mut()
            .map(std::mem::take)
            .unwrap_or_default())
    }

    /// # Errors
    /// As the API answers.
    pub fn create(&self, path: &str, object: &Value) -> Result<Value, Status> {
        self.call(Method::POST, path, "application/json", Some(object))
    }

    /// # Errors
    /// As the API answers.
    pub fn replace(&self, path: &str, object: &Value) -> Result<Value, Status> {
        self.call(Method::PUT, path, "application/json", Some(object))
    }

    /// Server-side apply, by force.
    ///
    /// # Errors
    /// As the API answers.
    pub fn apply(&self, path: &str, manager: &str, object: &Value) -> Result<Value, Status> {
        let path = format!("{path}?fieldManager={manager}&force=true");
        self.call(
            Method::PATCH,
            &path,
            "application/apply-patch+yaml",
            Some(object),
        )
    }

    /// # Errors
    /// As the API answers.
    pub fn merge(&self, path: &str, patch: &Value) -> Result<Value, Status> {
        self.call(
            Method::PATCH,
            path,
            "application/merge-patch+json",
            Some(patch),
        )
    }

    /// # Errors
    /// As the API answers.
    pub fn patch(&self, path: &str, content_type: &str, patch: &Value) -> Result<Value, Status> {
        self.call(Method::PATCH, path, content_type, Some(patch))
    }

    /// # Errors
    /// As the API answers.
    pub fn delete(&self, path: &str) -> Result<Value, Status> {
        self.call(Method::DELETE, path, "application/json", None)
    }

    /// Applies every document of a YAML text, each where it belongs.
    ///
    /// # Errors
    /// What is no YAML, what the server does not know, what it refuses.
    pub fn apply_manifest(&self, manager: &str, manifest: &str) -> Result<(), Status> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(manifest)
            .map_err(|error| Status::bad_request(error.to_string()))?;
        for document in documents.iter().filter(|document| document.is_object()) {
            let path = self.path_of(document)?;
            self.apply(&path, manager, document)?;
        }
        Ok(())
    }

    /// Where `object` belongs.
    ///
    /// # Errors
    /// Its kind is not known.
    pub fn path_of(&self, object: &Value) -> Result<String, Status> {
        let api_version = object["apiVersion"].as_str().unwrap_or_default();
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let kind_name = object["kind"].as_str().unwrap_or_default();
        let kinds = self.shared.store.kinds();
        let kind = kinds
            .iter()
            .find(|kind| kind.group == group && kind.version == version && kind.kind == kind_name)
            .ok_or_else(|| {
                Status::bad_request(format!(
                    "no matches for kind {kind_name:?} in version {api_version:?}"
                ))
            })?;
        let root = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let namespace = object["metadata"]["namespace"]
            .as_str()
            .unwrap_or("default");
        Ok(match kind.namespaced {
            true => format!("{root}/namespaces/{namespace}/{}/{name}", kind.plural),
            false => format!("{root}/{}/{name}", kind.plural),
        })
    }

    fn call(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Value, Status> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::USER_AGENT, "testbed/0")
            .body(())
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let (parts, ()) = request.into_parts();
        let body = body.map(Value::to_string).unwrap_or_default();
        let response = route::answer(&Asked {
            shared: &self.shared,
            parts: &parts,
            body: body.as_bytes(),
            counted: false,
        });
        let status = response.status();
        let answered = match response.into_body() {
            Reply::Whole(bytes) => {
                serde_json::from_slice(&bytes.unwrap_or_default()).unwrap_or_default()
            }
            Reply::Stream(_) => return Err(Status::bad_request("a watch needs a socket")),
        };
        if status.is_success() {
            return Ok(answered);
        }
        let message = answered["message"].as_str().unwrap_or_default().to_owned();
        let mut refused = Status::internal(message);
        refused.code = status.as_u16();
        refused.reason = match status.as_u16() {
            404 => "NotFound",
            409 => "Conflict",
            410 => "Expired",
            422 => "Invalid",
            _ => "Failure",
        };
        Err(refused)
    }
}
