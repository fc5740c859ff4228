//! Which objects of a kind are there, as far as we have heard?
//!
//! List, then watch from there; a watch that ends goes on where it was, one that is told 410 lists anew and swaps the
//! whole view in one step. Nothing is forgotten in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::Request;
use kube::{Client, Resource};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Notify;

use super::source::Source;

/// Objects per list request.
const PAGE: u32 = 500;

/// A watch ends by itself after this, and a silent one is given up soon after: a connection that died without a word
/// looks like a cluster where nothing happens.
const WATCH_SECONDS: u32 = 240;
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);

/// Longest wait for a page of a list.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// A server that ends every watch at once, or forgets at once, is not asked more often than this.
const PAUSE: Duration = Duration::from_millis(20);

/// Wait after a failure: the first, doubled up to the second.
const RETRY: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How often a kind that the cluster does not have is looked for.
const ABSENT: Duration = Duration::from_secs(10);

/// Namespace and name.
pub(super) type Name = (String, String);

/// The last view of one kind.
pub(super) struct Watched<K> {
    objects: Mutex<BTreeMap<Name, Arc<K>>>,
    pub(super) source: Source,
}

#[derive(serde::Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default)]
    items: Vec<Value>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMetadata {
    resource_version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// Why a watch ended.
enum End {
    /// Go on from this version.
    Continue(String),
    /// Changes were missed.
    Missed,
}

impl<K: Resource<DynamicType = ()> + DeserializeOwned + Send + Sync + 'static> Watched<K> {
    pub(super) fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self {
            objects: Mutex::default(),
            source: Source::new(name),
        })
    }

    pub(super) fn all(&self) -> Vec<Arc<K>> {
        self.objects.lock().values().cloned().collect()
    }

    /// Follows the API server for ever; `changed` is told of every change.
    pub(super) async fn run(
        self: Arc<Self>,
        client: Client,
        namespace: Option<String>,
        changed: Arc<Notify>,
    ) {
        let mut wait = RETRY;
        let mut version: Option<String> = None;
        loop {
            let begun = match version.take() {
                Some(version) => Ok(version),
                None => self.list(&client, namespace.as_deref(), &changed).await,
            };
            let ended = match begun {
                Ok(from) => match self
                    .watch(&client, namespace.as_deref(), from, &changed, &mut wait)
                    .await
                {
                    Ok(End::Continue(next)) => {
                        version = Some(next);
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                    Ok(End::Missed) => {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                    Err((error, from)) => {
                        version = from;
                        error
                    }
                },
                Err(error) => error,
            };
            if is_absent(&ended) {
                self.source.absent();
                self.swap(BTreeMap::new(), &changed);
                version = None;
                tokio::time::sleep(ABSENT).await;
                continue;
            }
            self.source.lost(&words(&ended));
            changed.notify_one();
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    fn request(namespace: Option<&str>) -> Request {
        // A kind outside of namespaces has one path only.
        Request::new(K::url_path(&(), namespace))
    }

    async fn list(
        &self,
        client: &Client,
        namespace: Option<&str>,
        changed: &Notify,
    ) -> kube::Result<String> {
        let mut all = BTreeMap::new();
        let mut parameters = ListParams::default().limit(PAGE);
        loop {
            let request = Self::request(namespace)
                .list(&parameters)
                .map_err(kube::Error::BuildRequest)?;
            let page: Page = tokio::time::timeout(LIST_TIMEOUT, client.request(request))
                .await
                .unwrap_or_else(|_| {
                    Err(kube::Error::Service("the list did not come in time".into()))
                })?;
            all.extend(page.items.into_iter().filter_map(|item| self.read(item)));
            match page.metadata.next.filter(|next| !next.is_empty()) {
                Some(next) => parameters.continue_token = Some(next),
                None => {
                    self.source.listed(all.len());
                    self.swap(all, changed);
                    return Ok(page.metadata.resource_version);
                }
            }
        }
    }

    fn swap(&self, all: BTreeMap<Name, Arc<K>>, changed: &Notify) {
        *self.objects.lock() = all;
        changed.notify_one();
    }

    /// Follows changes; a failure comes with the version to go on from, where it is known to be good.
    async fn watch(
        &self,
        client: &Client,
        namespace: Option<&str>,
        mut version: String,
        changed: &Notify,
        wait: &mut Duration,
    ) -> Result<End, (kube::Error, Option<String>)> {
        let parameters = WatchParams::default().timeout(WATCH_SECONDS);
        let request = Self::request(namespace)
            .watch(&parameters, &version)
            .map_err(|error| (kube::Error::BuildRequest(error), None))?;
        let opened = tokio::time::timeout(LIST_TIMEOUT, client.request_events::<Value>(request));
        let stream = match opened.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if is_gone(&error) => return Ok(End::Missed),
            Ok(Err(error)) => return Err((error, Some(version))),
            Err(_) => {
                return Err((
                    kube::Error::Service("the watch did not open in time".into()),
                    Some(version),
                ));
            }
        };
        self.source.connected();
        *wait = RETRY;
        let mut stream = std::pin::pin!(stream);
        loop {
            let next = tokio::time::timeout(SILENCE, stream.try_next()).await;
            let event = match next {
                Ok(Ok(Some(event))) => event,
                // It ended as watches do.
                Ok(Ok(None)) => return Ok(End::Continue(version)),
                Ok(Err(kube::Error::SerdeError(error))) => {
                    tracing::warn!(source = self.source.status().name, %error, "an event that cannot be read");
                    return Ok(End::Missed);
                }
                Ok(Err(error)) => return Err((error, Some(version))),
                Err(_) => {
                    return Err((
                        kube::Error::Service("nothing was heard for too long".into()),
                        Some(version),
                    ));
                }
            };
            match event {
                WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                WatchEvent::Error(status) if status.code == 410 => return Ok(End::Missed),
                WatchEvent::Error(status) => return Err((kube::Error::Api(status), None)),
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    remember(&mut version, &object);
                    if let Some((name, object)) = self.read(object) {
                        let mut objects = self.objects.lock();
                        objects.insert(name, object);
                        self.source.holds(objects.len());
                    }
                    changed.notify_one();
                }
                WatchEvent::Deleted(object) => {
                    remember(&mut version, &object);
                    let mut objects = self.objects.lock();
                    objects.remove(&name_of(&object));
                    self.source.holds(objects.len());
                    drop(objects);
                    changed.notify_one();
                }
            }
        }
    }

    /// One that cannot be read is left out, and said; the others count all the same.
    fn read(&self, object: Value) -> Option<(Name, Arc<K>)> {
        let name = name_of(&object);
        match serde_json::from_value(object) {
            Ok(object) => Some((name, Arc::new(object))),
            Err(error) => {
                tracing::warn!(
                    source = self.source.status().name,
                    namespace = name.0, name = name.1, %error,
                    "an object that cannot be read is left out"
                );
                None
            }
        }
    }
}

fn name_of(object: &Value) -> Name {
    let text = |key: &str| {
        object["metadata"][key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (text("namespace"), text("name"))
}

fn remember(version: &mut String, object: &Value) {
    if let Some(newer) = object["metadata"]["resourceVersion"].as_str() {
        newer.clone_into(version);
    }
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 410)
}

fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// What an operator can do something about, in one line.
fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} {}", status.code, status.message),
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(inner) = source {
                let inner_text = inner.to_string();
                if !text.contains(&inner_text) {
                    text = format!("{text}: {inner_text}");
                }
                source = inner.source();
            }
            text
        }
    }
}
