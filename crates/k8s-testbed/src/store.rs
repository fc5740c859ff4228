//! What is there, in which order did it come, and what has changed since?

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::kinds::{self, Kind};
use crate::object::{self, metadata};
use crate::status::Status;

/// Changes kept for watches that start in the past; older ones answer 410.
const LOG_ENTRIES: usize = 50_000;

/// Where an object is: `plural.group`, namespace (empty for none), name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self {
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// One change: `before` is absent for a creation, `after` for a deletion.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) key: Key,
    pub(crate) before: Option<Arc<Value>>,
    pub(crate) after: Option<Arc<Value>>,
}

/// Every object, with the log of changes.
pub(crate) struct Store {
    /// Held by the one who writes, from reading to writing; what is decided in between may read everything.
    writer: Mutex<()>,
    inner: Mutex<Inner>,
    version: watch::Sender<u64>,
}

struct Inner {
    version: u64,
    /// Watches may start at this version or later.
    oldest: u64,
    objects: BTreeMap<Key, Arc<Value>>,
    log: VecDeque<Change>,
    kinds: Vec<Kind>,
    custom: Vec<Kind>,
}

/// What a write does with what is there; `None` deletes or stays absent.
pub(crate) type Next = Result<Option<Value>, Status>;

impl Store {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            writer: Mutex::new(()),
            inner: Mutex::new(Inner {
                version: 1,
                oldest: 0,
                objects: BTreeMap::new(),
                log: VecDeque::new(),
                kinds: kinds::built_in(),
                custom: Vec::new(),
            }),
            version: watch::Sender::new(1),
        })
    }

    /// Wakes whenever something has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.inner.lock().objects.get(key).cloned()
    }

    /// Objects of a resource, in all namespaces where `namespace` is empty, with the version they were read at.
    pub(crate) fn list(&self, resource: &str, namespace: &str) -> (Vec<Arc<Value>>, u64) {
        let inner = self.inner.lock();
        let objects = inner
            .objects
            .range(Key::new(resource, namespace, "")..)
            .take_while(|(key, _)| {
                key.resource == resource && (namespace.is_empty() || key.namespace == namespace)
            })
            .map(|(_, object)| Arc::clone(object))
            .collect();
        (objects, inner.version)
    }

    /// Every object there is.
    pub(crate) fn everything(&self) -> Vec<(Key, Arc<Value>)> {
        let inner = self.inner.lock();
        inner
            .objects
            .iter()
            .map(|(key, object)| (key.clone(), Arc::clone(object)))
            .collect()
    }

    /// Changes after `version`, with the newest version.
    ///
    /// # Errors
    /// 410 where they are no longer kept.
    pub(crate) fn since(&self, version: u64) -> Result<(Vec<Change>, u64), Status> {
        let inner = self.inner.lock();
        if version < inner.oldest {
            return Err(Status::expired());
        }
        let first = inner
            .log
            .partition_point(|change| change.version <= version);
        Ok((inner.log.range(first..).cloned().collect(), inner.version))
    }

    /// Forgets all changes, so that whoever is behind gets 410.
    pub(crate) fn compact(&self) {
        let mut inner = self.inner.lock();
        // A version of its own, so that nobody who lists now is behind at once.
        inner.version += 1;
        inner.oldest = inner.version;
        inner.log.clear();
        let version = inner.version;
        drop(inner);
        self.version.send_replace(version);
    }

    /// Reads, decides and writes in one step; nothing is written where nothing changed. The result is what is there
    /// afterwards, or what was there before a deletion.
    ///
    /// # Errors
    /// What `next` refuses.
    pub(crate) fn write(
        &self,
        key: &Key,
        next: impl FnOnce(Option<&Value>) -> Next,
    ) -> Result<Option<Arc<Value>>, Status> {
        let _writing = self.writer.lock();
        let before = self.get(key);
        let after = next(before.as_deref())?;
        if let (Some(before), Some(after)) = (&before, &after)
            && same(before, after)
        {
            return Ok(Some(Arc::clone(before)));
        }
        if before.is_none() && after.is_none() {
            return Ok(None);
        }
        let mut inner = self.inner.lock();
        let done = inner.record(key, before, after);
        let version = inner.version;
        drop(inner);
        self.version.send_replace(version);
        Ok(Some(done))
    }

    /// Every served resource.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        let inner = self.inner.lock();
        inner.kinds.iter().chain(&inner.custom).cloned().collect()
    }

    pub(crate) fn kind(&self, group: &str, version: &str, plural: &str) -> Option<Kind> {
        let inner = self.inner.lock();
        let wanted =
            |kind: &&Kind| kind.group == group && kind.version == version && kind.plural == plural;
        inner
            .kinds
            .iter()
            .chain(&inner.custom)
            .find(wanted)
            .cloned()
    }
}

impl Inner {
    fn record(
        &mut self,
        key: &Key,
        before: Option<Arc<Value>>,
        after: Option<Value>,
    ) -> Arc<Value> {
        self.version += 1;
        let version = self.version;
        let stamped = |mut object: Value| {
            metadata(&mut object).insert("resourceVersion".to_owned(), json!(version.to_string()));
            Arc::new(object)
        };
        let after = after.map(stamped);
        match &after {
            Some(after) => self.objects.insert(key.clone(), Arc::clone(after)),
            None => self.objects.remove(key),
        };
        // A deletion is told with the last state, under the version of the deletion.
        let last = before
            .as_ref()
            .map(|before| stamped(before.as_ref().clone()));
        let done = after.clone().or(last);
        self.log.push_back(Change {
            version,
            key: key.clone(),
            before,
            after,
        });
        if self.log.len() > LOG_ENTRIES
            && let Some(dropped) = self.log.pop_front()
        {
            self.oldest = dropped.version;
        }
        if key.resource == "customresourcedefinitions.apiextensions.k8s.io" {
            self.read_definitions();
        }
        done.unwrap_or_default()
    }

    fn read_definitions(&mut self) {
        self.custom = self
            .objects
            .iter()
            .filter(|(key, _)| key.resource == "customresourcedefinitions.apiextensions.k8s.io")
            .flat_map(|(_, definition)| kinds::of_definition(definition))
            .collect();
    }
}

/// Whether a write changed nothing but its own time stamps.
fn same(before: &Value, after: &Value) -> bool {
    let stripped = |object: &Value| {
        let mut object = object.clone();
        let metadata = metadata(&mut object);
        metadata.remove("resourceVersion");
        if let Some(Value::Array(managers)) = metadata.get_mut("managedFields") {
            for manager in managers {
                object::as_map(manager).remove("time");
            }
        }
        object
    };
    stripped(before) == stripped(after)
}
