//! What happens to an object on its way in?

use std::sync::Arc;

use serde_json::{Value, json};

use crate::apply::{self, Writer};
use crate::fields::Lists;
use crate::kinds::Kind;
use crate::object::{self, finalizers, is_deleting, metadata, now, text};
use crate::status::Status;
use crate::store::{Key, Store};
use crate::{patch, strategic};

/// Deletes dependents first.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// Leaves dependents behind.
pub(crate) const ORPHAN: &str = "orphan";

/// Whole objects or one part of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Main,
    Status,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
        }
    }
}

/// How a change is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply { force: bool },
}

/// A write to one resource.
pub(crate) struct Write<'a> {
    pub(crate) store: &'a Store,
    pub(crate) kind: &'a Kind,
    pub(crate) namespace: &'a str,
    pub(crate) manager: &'a str,
    /// Checked and answered, not kept.
    pub(crate) dry_run: bool,
    /// Fields that the schema does not know are refused instead of dropped.
    pub(crate) strict: bool,
}

impl Write<'_> {
    fn key(&self, name: &str) -> Key {
        Key::new(&self.kind.resource(), self.namespace, name)
    }

    fn lists(&self) -> Lists<'_> {
        Lists {
            schema: self.kind.schema.as_deref(),
            custom: self.kind.custom,
        }
    }

    fn writer<'a>(&'a self, api_version: &'a str, part: Part) -> Writer<'a> {
        Writer {
            manager: self.manager,
            api_version,
            subresource: part.name(),
        }
    }

    /// # Errors
    /// It exists, its namespace does not, or it is no such object.
    pub(crate) fn create(&self, mut body: Value) -> Result<Arc<Value>, Status> {
        self.check_type(&body)?;
        self.check_fields(&body)?;
        let name = self.name_of(&mut body)?;
        self.check_namespace(&body)?;
        let key = self.key(&name);
        self.commit(&key, |before| {
            if before.is_some() {
                return Err(Status::exists(&self.kind.resource(), &name));
            }
            let mut object = self.fresh(body)?;
            let api_version = self.kind.api_version();
            apply::updated(
                &json!({}),
                &mut object,
                &self.writer(&api_version, Part::Main),
                &self.lists(),
            );
            Ok(Some(object))
        })
    }

    /// # Errors
    /// It does not exist, or was changed since it was read.
    pub(crate) fn replace(
        &self,
        name: &str,
        body: Value,
        part: Part,
    ) -> Result<Arc<Value>, Status> {
        self.check_type(&body)?;
        self.check_fields(&body)?;
        self.change(name, part, |_| Ok(body))
    }

    /// # Errors
    /// It does not exist (but for an apply), the patch does not fit, or a conflict.
    pub(crate) fn patch(
        &self,
        name: &str,
        body: &Value,
        how: PatchKind,
        part: Part,
    ) -> Result<Arc<Value>, Status> {
        if let PatchKind::Apply { force } = how {
            return self.apply(name, body, force, part);
        }
        self.change(name, part, |live| {
            let mut next = live.clone();
            match how {
                PatchKind::Json => patch::json(&mut next, body)?,
                PatchKind::Strategic if !self.kind.custom => strategic::merge(&mut next, body),
                PatchKind::Strategic => {
                    return Err(Status::media_type(
                        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
                    ));
                }
                PatchKind::Merge | PatchKind::Apply { .. } => patch::merge(&mut next, body),
            }
            self.check_fields(&next)?;
            // A patch that names no version is made against whatever is there.
            Ok(next)
        })
    }

    fn change(
        &self,
        name: &str,
        part: Part,
        next: impl FnOnce(&Value) -> Result<Value, Status>,
    ) -> Result<Arc<Value>, Status> {
        let resource = self.kind.resource();
        self.commit(&self.key(name), |before| {
            let before = before.ok_or_else(|| Status::not_found(&resource, name))?;
            let body = next(before)?;
            self.check_version(before, &body, name)?;
            let mut after = self.carried(before, body, part)?;
            let api_version = self.kind.api_version();
            apply::updated(
                before,
                &mut after,
                &self.writer(&api_version, part),
                &self.lists(),
            );
            Ok(settled(after))
        })
    }

    fn apply(
        &self,
        name: &str,
        body: &Value,
        force: bool,
        part: Part,
    ) -> Result<Arc<Value>, Status> {
        self.check_type(body)?;
        self.check_fields(body)?;
        if body["metadata"]
            .get("managedFields")
            .is_some_and(|fields| !fields.is_null())
        {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        if self.manager.is_empty() {
            return Err(Status::bad_request(
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            ));
        }
        let mut body = body.clone();
        let given = text(&body, "/metadata/name");
        if !given.is_empty() && given != name {
            return Err(Status::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        metadata(&mut body).insert("name".to_owned(), json!(name));
        let api_version = self.kind.api_version();
        self.commit(&self.key(name), |before| {
            let writer = self.writer(&api_version, part);
            match before {
                Some(before) => {
                    self.check_version(before, &body, name)?;
                    let mut config = body.clone();
                    metadata(&mut config).remove("resourceVersion");
                    if part == Part::Status {
                        object::as_map(&mut config).remove("spec");
                    } else if self.kind.has_status {
                        object::as_map(&mut config).remove("status");
                    }
                    let merged = apply::apply(before, &config, &writer, force, &self.lists())?;
                    let managed = merged["metadata"]["managedFields"].clone();
                    let mut after = self.carried(before, merged, part)?;
                    metadata(&mut after).insert("managedFields".to_owned(), managed);
                    Ok(settled(after))
                }
                None if part == Part::Status => Err(Status::not_found(&self.kind.resource(), name)),
                None => {
                    self.check_namespace(&body)?;
                    let empty = json!({"metadata": {}});
                    let applied = apply::apply(&empty, &body, &writer, force, &self.lists())?;
                    let managed = applied["metadata"]["managedFields"].clone();
                    let mut object = self.fresh(applied)?;
                    metadata(&mut object).insert("managedFields".to_owned(), managed);
                    Ok(Some(object))
                }
            }
        })
    }

    fn commit(
        &self,
        key: &Key,
        next: impl FnOnce(Option<&Value>) -> Result<Option<Value>, Status>,
    ) -> Result<Arc<Value>, Status> {
        if self.dry_run {
            let live = self.store.get(key);
            return next(live.as_deref()).map(|object| Arc::new(object.unwrap_or_default()));
        }
        self.store.write(key, next).map(Option::unwrap_or_default)
    }

    fn check_type(&self, body: &Value) -> Result<(), Status> {
        let (kind, api_version) = (text(body, "/kind"), text(body, "/apiVersion"));
        let fits = (kind.is_empty() || kind == self.kind.kind)
            && (api_version.is_empty() || api_version == self.kind.api_version());
        if body.is_object() && fits {
            return Ok(());
        }
        Err(Status::bad_request(format!(
            "the API version in the data ({api_version}, {kind}) does not match the expected API version ({}, {})",
            self.kind.api_version(),
            self.kind.kind
        )))
    }

    /// With `fieldValidation=Strict`, as `kubectl apply` asks for.
    fn check_fields(&self, body: &Value) -> Result<(), Status> {
        let Some(schema) = self.kind.schema.as_deref().filter(|_| self.strict) else {
            return Ok(());
        };
        let mut unknown = Vec::new();
        crate::api::schema::unknown(body, schema, &mut String::new(), &mut unknown);
        if unknown.is_empty() {
            return Ok(());
        }
        let named: Vec<String> = unknown
            .iter()
            .map(|path| format!("unknown field \"{path}\""))
            .collect();
        Err(Status::bad_request(format!(
            "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
            self.kind.kind,
            self.kind.version,
            self.kind.kind,
            named.join(", ")
        )))
    }

    fn name_of(&self, body: &mut Value) -> Result<String, Status> {
        let name = match (
            text(body, "/metadata/name"),
            text(body, "/metadata/generateName"),
        ) {
            ("", "") => {
                return Err(Status::invalid(
                    &self.kind.kind,
                    "",
                    "name or generateName is required",
                ));
            }
            ("", prefix) => format!("{prefix}{}", suffix()),
            (name, _) => name.to_owned(),
        };
        let good = |letter: char| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-.:".contains(letter)
        };
        if !name.chars().all(good) || name.len() > 253 {
            return Err(Status::invalid(
                &self.kind.kind,
                &name,
                format!(
                    "metadata.name: Invalid value: {name:?}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
                ),
            ));
        }
        metadata(body).insert("name".to_owned(), json!(name));
        Ok(name)
    }

    fn check_namespace(&self, body: &Value) -> Result<(), Status> {
        if !self.kind.namespaced {
            return Ok(());
        }
        let given = object::namespace(body);
        if !given.is_empty() && given != self.namespace {
            return Err(Status::bad_request(format!(
                "the namespace of the provided object does not match the namespace sent on the request ({given} != {})",
                self.namespace
            )));
        }
        match self.store.get(&Key::new("namespaces", "", self.namespace)) {
            None => Err(Status::not_found("namespaces", self.namespace)),
            Some(namespace) if is_deleting(&namespace) => Err(Status::forbidden(format!(
                "unable to create new content in namespace {} because it is being terminated",
                self.namespace
            ))),
            Some(_) => Ok(()),
        }
    }

    fn check_version(&self, before: &Value, body: &Value, name: &str) -> Result<(), Status> {
        let given = text(body, "/metadata/resourceVersion");
        let uid = object::uid(body);
        let stale = !given.is_empty() && given != text(before, "/metadata/resourceVersion");
        if stale || (!uid.is_empty() && uid != object::uid(before)) {
            return Err(Status::conflict(
                &self.kind.resource(),
                name,
                "the object has been modified; please apply your changes to the latest version and try again",
            ));
        }
        Ok(())
    }

    /// A new object as it is kept.
    fn fresh(&self, mut object: Value) -> Result<Value, Status> {
        self.stamp(&mut object);
        if self.kind.has_status && self.kind.custom {
            object::as_map(&mut object).remove("status");
        }
        crate::sim::defaults(self.store, &mut object);
        self.admit(&mut object)?;
        let uid = uuid::Uuid::new_v4().to_string();
        let metadata = metadata(&mut object);
        for ours in [
            "resourceVersion",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "managedFields",
        ] {
            metadata.remove(ours);
        }
        metadata.insert("uid".to_owned(), json!(uid));
        metadata.insert("creationTimestamp".to_owned(), json!(now()));
        if self.kind.counts_changes() {
            metadata.insert("generation".to_owned(), json!(1));
        }
        if self.kind.namespaced {
            metadata.insert("namespace".to_owned(), json!(self.namespace));
        }
        Ok(object)
    }

    /// `body` as the successor of `before`: what only the server sets stays, and so does the other part.
    fn carried(&self, before: &Value, mut body: Value, part: Part) -> Result<Value, Status> {
        let mut after = match part {
            Part::Status => {
                let mut after = before.clone();
                after["status"] = body["status"].take();
                // Finalizers, labels and annotations are not written through a status, as in the real server.
                if after["status"].is_null() {
                    object::as_map(&mut after).remove("status");
                }
                return Ok(after);
            }
            Part::Main => body,
        };
        self.stamp(&mut after);
        if self.kind.has_status && !matches!(self.kind.kind.as_str(), "CustomResourceDefinition") {
            let map = object::as_map(&mut after);
            match before.get("status") {
                Some(status) => {
                    map.insert("status".to_owned(), status.clone());
                }
                None => {
                    map.remove("status");
                }
            }
        }
        let kept = &before["metadata"];
        let meta = metadata(&mut after);
        for ours in [
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "generateName",
            "resourceVersion",
        ] {
            match kept.get(ours) {
                Some(value) => meta.insert(ours.to_owned(), value.clone()),
                None => meta.remove(ours),
            };
        }
        crate::sim::defaults(self.store, &mut after);
        self.admit(&mut after)?;
        let content = |object: &Value| {
            let mut object = object.clone();
            let map = object::as_map(&mut object);
            for beside in ["metadata", "status", "apiVersion"] {
                map.remove(beside);
            }
            object
        };
        if self.kind.counts_changes() && content(before) != content(&after) {
            let generation = object::number(before, "/metadata/generation").unwrap_or(0);
            metadata(&mut after).insert("generation".to_owned(), json!(generation + 1));
        }
        Ok(after)
    }

    fn stamp(&self, object: &mut Value) {
        let map = object::as_map(object);
        map.insert("apiVersion".to_owned(), json!(self.kind.api_version()));
        map.insert("kind".to_owned(), json!(self.kind.kind));
    }

    /// Prunes and defaults by the schema, then holds the object to it.
    fn admit(&self, object: &mut Value) -> Result<(), Status> {
        let Some(schema) = &self.kind.schema else {
            return Ok(());
        };
        crate::api::schema::prune(object, schema, true);
        let mut wrong = Vec::new();
        crate::api::schema::check(object, schema, &mut String::new(), &mut wrong);
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Status::invalid(
            &format!("{}.{}", self.kind.kind, self.kind.group),
            object::name(object),
            wrong.join(", "),
        ))
    }

    /// Marks for deletion, or deletes where nothing holds it. What is answered is the object as it is now or was.
    ///
    /// # Errors
    /// It does not exist, or is not the one meant.
    pub(crate) fn delete(&self, name: &str, options: &Value) -> Result<Arc<Value>, Status> {
        let resource = self.kind.resource();
        self.commit(&self.key(name), |before| {
            let before = before.ok_or_else(|| Status::not_found(&resource, name))?;
            let meant = text(options, "/preconditions/uid");
            if !meant.is_empty() && meant != object::uid(before) {
                return Err(Status::conflict(
                    &resource,
                    name,
                    "the UID in the precondition does not match",
                ));
            }
            let mut after = before.clone();
            let extra = match text(options, "/propagationPolicy") {
                "Foreground" => Some(FOREGROUND),
                "Orphan" => Some(ORPHAN),
                _ => None,
            };
            let grace = self.grace(before, options);
            let metadata = metadata(&mut after);
            if let Some(extra) = extra {
                let list = metadata.entry("finalizers").or_insert_with(|| json!([]));
                if let Some(list) = list.as_array_mut()
                    && !list.iter().any(|one| one == extra)
                {
                    list.push(json!(extra));
                }
            }
            let shorter = grace
                < object::number(before, "/metadata/deletionGracePeriodSeconds")
                    .unwrap_or(i64::MAX);
            if !is_deleting(before) {
                metadata.insert("deletionTimestamp".to_owned(), json!(now()));
                if let Some(generation) = object::number(before, "/metadata/generation") {
                    metadata.insert("generation".to_owned(), json!(generation + 1));
                }
            }
            if !is_deleting(before) || shorter {
                metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
            }
            Ok(settled(after))
        })
    }

    /// Seconds that a pod may take to end; nothing else has any.
    fn grace(&self, before: &Value, options: &Value) -> i64 {
        if self.kind.kind != "Pod" || text(before, "/spec/nodeName").is_empty() {
            return 0;
        }
        let own = object::number(before, "/spec/terminationGracePeriodSeconds").unwrap_or(30);
        object::number(options, "/gracePeriodSeconds").unwrap_or(own)
    }
}

/// Gone, where it is marked for deletion and nothing holds it.
fn settled(object: Value) -> Option<Value> {
    let grace = object::number(&object, "/metadata/deletionGracePeriodSeconds").unwrap_or(0);
    let emptied = object["kind"] != "Namespace" || finalizers(&object).is_empty();
    let gone = is_deleting(&object) && finalizers(&object).is_empty() && grace == 0 && emptied;
    (!gone).then_some(object)
}

/// Five letters, as `generateName` adds them.
pub(crate) fn suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let bytes = uuid::Uuid::new_v4().into_bytes();
    bytes
        .iter()
        .take(5)
        .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
        .collect()
}
