//! How do objects get into the cluster?
//!
//! By server-side apply under one name, with exactly the fields we own, so that fields of others survive. An object
//! that is as it was applied last is not applied again until the next resync or until its generation moved.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::{ApiResource, DynamicObject};
use serde_json::Value;
use tokio::time::Instant;

use super::Context;
use super::kinds::resource;
use super::queue::Key;
use super::views::key_of;
use crate::desired::names;

/// An object that nothing seems to have changed is applied again after this long.
const REAPPLY: Duration = Duration::from_secs(600);

/// What was applied last, by kind, namespace and name.
#[derive(Default)]
pub(crate) struct Applied {
    last: HashMap<(String, Key), Last>,
}

struct Last {
    hash: String,
    generation: Option<i64>,
    version: Option<String>,
    at: Instant,
}

/// How an apply ended.
pub(crate) enum Outcome {
    Applied,
    Unchanged,
    /// Somebody else's: left alone. Says whose.
    Foreign(String),
    /// The API server said no. Says why.
    Refused(String),
}

/// Names of the kind's objects as the status records them: `Kind/name`.
pub(crate) fn recorded(object: &Value) -> String {
    format!(
        "{}/{}",
        text(object, "kind"),
        object["metadata"]["name"].as_str().unwrap_or_default()
    )
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// Applies one object.
///
/// # Errors
/// The API server cannot be reached or has no time; trying again later can help.
pub(crate) async fn apply(context: &Context, object: &Value) -> anyhow::Result<Outcome> {
    let kind = text(object, "kind");
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let key = (kind.to_owned(), Key::new(namespace, name));
    let live = Live::of(context, kind, &key.1);
    if let Some(whose) = live.as_ref().and_then(|live| live.foreign(object)) {
        return Ok(Outcome::Foreign(whose));
    }
    let hash = crate::desired::hash(&object.to_string());
    let same = context.applied.lock().last.get(&key).is_some_and(|last| {
        let seen = live.is_some() || !watched(kind);
        let untouched = live.as_ref().is_none_or(|live| live.is_as_left(last));
        seen && untouched && last.hash == hash && last.at.elapsed() < REAPPLY
    });
    if same {
        return Ok(Outcome::Unchanged);
    }
    let resource = resource(kind).with_context(|| format!("{kind} is no kind we apply"))?;
    let api = dynamic(context, namespace, &resource);
    let parameters = PatchParams::apply(names::FIELD_MANAGER).force();
    match api.patch(name, &parameters, &Patch::Apply(object)).await {
        Ok(applied) => {
            let last = Last {
                hash,
                generation: applied.metadata.generation,
                version: applied.metadata.resource_version,
                at: Instant::now(),
            };
            context.applied.lock().last.insert(key, last);
            Ok(Outcome::Applied)
        }
        // A kind that is not installed, a webhook's no, a quota, a field the server does not know, a webhook that does not
        // answer (500 is the code of these two): said, not retried at once.
        Err(kube::Error::Api(status))
            if matches!(status.code, 400 | 403 | 404 | 405 | 415 | 422 | 500) =>
        {
            Ok(Outcome::Refused(status.message.clone()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot apply {kind} {namespace}/{name}")),
    }
}

/// Deletes an object of a service, unless it is no longer the service's.
///
/// # Errors
/// The API server cannot be reached or has no time.
pub(crate) async fn delete(
    context: &Context,
    owner: &str,
    namespace: &str,
    recorded: &str,
) -> anyhow::Result<bool> {
    let Some((kind, name)) = recorded.split_once('/') else {
        return Ok(false);
    };
    let Some(resource) = resource(kind) else {
        return Ok(false);
    };
    let api = dynamic(context, namespace, &resource);
    let Some(live) = api.get_metadata_opt(name).await.or_else(absent_kind)? else {
        return Ok(false);
    };
    let owners = live.metadata.owner_references.unwrap_or_default();
    if !owners.iter().any(|reference| reference.uid == owner) {
        return Ok(false);
    }
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: live.metadata.uid,
            resource_version: None,
        }),
        ..DeleteParams::background()
    };
    context
        .applied
        .lock()
        .last
        .remove(&(kind.to_owned(), Key::new(namespace, name)));
    match api.delete(name, &parameters).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        Err(error) => {
            Err(error).with_context(|| format!("cannot delete {kind} {namespace}/{name}"))
        }
    }
}

/// An object of a kind that is not installed is not there.
fn absent_kind<T>(error: kube::Error) -> Result<Option<T>, kube::Error> {
    match &error {
        kube::Error::Api(status) if status.code == 404 => Ok(None),
        _ => Err(error),
    }
}

pub(crate) fn dynamic(
    context: &Context,
    namespace: &str,
    resource: &ApiResource,
) -> Api<DynamicObject> {
    if namespace.is_empty() {
        Api::all_with(context.client.clone(), resource)
    } else {
        Api::namespaced_with(context.client.clone(), namespace, resource)
    }
}

/// Kinds whose objects a view shows: one that is not in the view is not there.
fn watched(kind: &str) -> bool {
    matches!(
        kind,
        "Deployment" | "HTTPRoute" | "InferencePool" | "Service"
    )
}

/// What a view says of an object that exists.
struct Live {
    generation: Option<i64>,
    version: Option<String>,
    annotated: Option<String>,
    controller: Option<(String, String)>,
}

impl Live {
    fn of(context: &Context, kind: &str, key: &Key) -> Option<Self> {
        let views = &context.views;
        let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
        let metadata = match kind {
            "Deployment" => views.deployments.get(namespace, name)?.metadata.clone(),
            "HTTPRoute" => views.routes.get(namespace, name)?.metadata.clone(),
            "InferencePool" => views.pools.get(namespace, name)?.metadata.clone(),
            "Service" => views.core_services.get(namespace, name)?.metadata.clone(),
            _ => return None,
        };
        let owner = metadata
            .owner_references
            .unwrap_or_default()
            .into_iter()
            .find(|owner| owner.controller == Some(true));
        Some(Self {
            generation: metadata.generation,
            version: metadata.resource_version,
            annotated: metadata
                .annotations
                .unwrap_or_default()
                .remove(names::CONTROLLER),
            controller: owner.map(|owner| (owner.uid, format!("{} {}", owner.kind, owner.name))),
        })
    }

    /// Whether nobody has written what we own since. A view that lags behind our own write is no change by somebody
    /// else. Services have no generation: there any write counts, and an apply that changes nothing leaves the version.
    fn is_as_left(&self, last: &Last) -> bool {
        match (self.generation, last.generation) {
            (Some(now), Some(then)) => now <= then,
            _ => self.version == last.version,
        }
    }

    /// Whose the object is, when it is not ours to write.
    fn foreign(&self, object: &Value) -> Option<String> {
        if self.annotated.as_deref() == Some("none") {
            return Some(format!("annotated {}: none", names::CONTROLLER));
        }
        let ours = object["metadata"]["ownerReferences"][0]["uid"].as_str();
        let (uid, name) = self.controller.as_ref()?;
        (Some(uid.as_str()) != ours).then(|| format!("it belongs to {name}"))
    }
}

/// Forgets what was applied for a service that is gone.
pub(crate) fn forget(context: &Context, service: &Key) {
    let prefix = service.name.as_str();
    context
        .applied
        .lock()
        .last
        .retain(|(_, key), _| key.namespace != service.namespace || !key.name.starts_with(prefix));
}

/// A service's name and place.
pub(crate) fn named(service: &crate::types::LlmInferenceService) -> Key {
    key_of(service)
}
