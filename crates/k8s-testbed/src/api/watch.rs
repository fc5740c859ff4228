//! What does a watch tell, and when does it end?

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::query::Query;
use super::request::Shape;
use crate::kinds::Kind;
use crate::select::Selector;
use crate::status::Status;
use crate::store::{Change, Store};
use crate::table;

/// Events that may wait for a slow client; then the watch waits too.
const QUEUE: usize = 64;

/// Between two bookmarks of a quiet watch.
const BOOKMARK_EVERY: Duration = Duration::from_secs(5);

/// A watch without a time limit of its own ends after this.
const LONGEST: Duration = Duration::from_secs(3_600);

/// What one client wants to be told.
pub(crate) struct Watch {
    pub(crate) store: Arc<Store>,
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) labels: Selector,
    pub(crate) fields: Selector,
    pub(crate) shape: Shape,
    pub(crate) query: Query,
    /// Ends the watch from outside.
    pub(crate) cut: CancellationToken,
}

impl Watch {
    /// Starts it; the first piece may be an error.
    pub(crate) fn start(self) -> mpsc::Receiver<Bytes> {
        let (pieces, receiver) = mpsc::channel(QUEUE);
        let seconds = self
            .query
            .get("timeoutSeconds")
            .parse()
            .map(Duration::from_secs);
        let limit = seconds.unwrap_or(LONGEST).min(LONGEST);
        let cut = self.cut.clone();
        tokio::spawn(async move {
            // Whichever ends it, the client opens a new one.
            let _ = cut
                .run_until_cancelled(tokio::time::timeout(limit, self.run(pieces)))
                .await;
        });
        receiver
    }

    async fn run(self, pieces: mpsc::Sender<Bytes>) {
        let mut changes = self.store.changes();
        let asked = self.query.get("resourceVersion");
        let initial = self.query.is_true("sendInitialEvents") || asked.is_empty() || asked == "0";
        let mut seen: u64 = match asked.parse() {
            Ok(version) if !initial => version,
            _ => {
                let (objects, version) = self.store.list(&self.kind.resource(), &self.namespace);
                for object in objects.iter().filter(|object| self.wants(object)) {
                    if self.send(&pieces, "ADDED", object).await.is_err() {
                        return;
                    }
                }
                if self.query.is_true("sendInitialEvents")
                    && self.bookmark(&pieces, version, true).await.is_err()
                {
                    return;
                }
                version
            }
        };
        let bookmarks = self.query.is_true("allowWatchBookmarks");
        let mut tick = tokio::time::interval(BOOKMARK_EVERY);
        tick.tick().await;
        loop {
            changes.borrow_and_update();
            match self.store.since(seen) {
                Err(status) => {
                    // The client hears it and lists anew.
                    let _ = self
                        .piece(&pieces, &json!({"type": "ERROR", "object": status.body()}))
                        .await;
                    return;
                }
                Ok((news, version)) => {
                    for change in &news {
                        if self.tell(&pieces, change).await.is_err() {
                            return;
                        }
                    }
                    seen = version;
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                _ = tick.tick() => if bookmarks && self.bookmark(&pieces, seen, false).await.is_err() { return },
                () = pieces.closed() => return,
            }
        }
    }

    fn wants(&self, object: &Value) -> bool {
        self.labels.selects_labels(object) && self.fields.selects_fields(object)
    }

    async fn tell(&self, pieces: &mpsc::Sender<Bytes>, change: &Change) -> Result<(), ()> {
        let here = change.key.resource == self.kind.resource()
            && (self.namespace.is_empty() || change.key.namespace == self.namespace);
        if !here {
            return Ok(());
        }
        let before = change.before.as_ref().filter(|object| self.wants(object));
        let after = change.after.as_ref().filter(|object| self.wants(object));
        match (before, after) {
            (None, None) => Ok(()),
            (None, Some(after)) => self.send(pieces, "ADDED", after).await,
            (Some(_), Some(after)) => self.send(pieces, "MODIFIED", after).await,
            (Some(before), None) => {
                let mut last = change.after.as_deref().unwrap_or(before).clone();
                last["metadata"]["resourceVersion"] = json!(change.version.to_string());
                self.send(pieces, "DELETED", &last).await
            }
        }
    }

    async fn send(
        &self,
        pieces: &mpsc::Sender<Bytes>,
        event: &str,
        object: &Value,
    ) -> Result<(), ()> {
        let object = table::one(&self.kind, object, self.shape);
        self.piece(pieces, &json!({"type": event, "object": object}))
            .await
    }

    async fn bookmark(
        &self,
        pieces: &mpsc::Sender<Bytes>,
        version: u64,
        initial: bool,
    ) -> Result<(), ()> {
        let mut metadata =
            json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        if initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let (kind, api_version) = match self.shape {
            Shape::Metadata => (
                "PartialObjectMetadata".to_owned(),
                "meta.k8s.io/v1".to_owned(),
            ),
            _ => (self.kind.kind.clone(), self.kind.api_version()),
        };
        let object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        self.piece(pieces, &json!({"type": "BOOKMARK", "object": object}))
            .await
    }

    async fn piece(&self, pieces: &mpsc::Sender<Bytes>, event: &Value) -> Result<(), ()> {
        pieces
            .send(Bytes::from(format!("{event}\n")))
            .await
            .map_err(drop)
    }
}

/// Whether a watch may start where the client wants it to.
///
/// # Errors
/// 410 at once where changes since then are gone.
pub(crate) fn check(store: &Store, query: &Query) -> Result<(), Status> {
    match query.get("resourceVersion").parse::<u64>() {
        Ok(version) if version > 0 && !query.is_true("sendInitialEvents") => {
            store.since(version).map(drop)
        }
        _ => Ok(()),
    }
}
