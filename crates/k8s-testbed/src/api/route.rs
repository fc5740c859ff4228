//! Who answers which path?

use std::sync::Arc;

use http::request::Parts;
use http::{Response, header};
use serde_json::{Value, json};

use super::body::{self, Reply};
use super::query::Query;
use super::request::{Shape, Target, Verb};
use super::watch::{self, Watch};
use super::{discovery, openapi, protobuf};
use crate::kinds::{Kind, Scale};
use crate::object::{self, number};
use crate::select::Selector;
use crate::server::Shared;
use crate::status::Status;
use crate::store::{Key, Store};
use crate::table;
use crate::write::{Part, PatchKind, Write};

type Answer = Result<Response<Reply>, Status>;

/// One request, its body read.
pub(crate) struct Asked<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) parts: &'a Parts,
    pub(crate) body: &'a [u8],
    /// Made by a client, not by whoever sets up and checks.
    pub(crate) counted: bool,
}

pub(crate) fn answer(asked: &Asked<'_>) -> Response<Reply> {
    routed(asked).unwrap_or_else(|status| body::refusal(&status))
}

fn routed(asked: &Asked<'_>) -> Answer {
    let path = asked.parts.uri.path().trim_end_matches('/');
    let kinds = || asked.shared.store.kinds();
    let fixed = match path {
        "/version" => Some(discovery::version()),
        "/api" => Some(discovery::core_versions()),
        "/apis" => Some(discovery::groups(&kinds())),
        "/openapi/v3" => Some(openapi::index(&kinds())),
        "/healthz" | "/readyz" | "/livez" => {
            return Ok(body::text(200, "text/plain", "ok".to_owned()));
        }
        "/testbed/faults" => return asked.fault(),
        _ => None,
    };
    if let Some(fixed) = fixed {
        return Ok(body::json(200, &fixed));
    }
    if let Some(wanted) = path.strip_prefix("/openapi/v3") {
        let document = openapi::document(&kinds(), wanted).ok_or_else(Status::no_route)?;
        return Ok(body::json(200, &document));
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let listed = match parts.as_slice() {
        ["api", version] => discovery::resources(&kinds(), "", version),
        ["apis", group] => discovery::group(&kinds(), group),
        ["apis", group, version] => discovery::resources(&kinds(), group, version),
        _ => return asked.resource(path),
    };
    listed
        .map(|listed| body::json(200, &listed))
        .ok_or_else(Status::no_route)
}

impl Asked<'_> {
    fn store(&self) -> &Arc<Store> {
        &self.shared.store
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    fn fault(&self) -> Answer {
        let spec: Value = self.json()?;
        self.shared.inject_json(&spec)?;
        Ok(body::json(200, &Status::success()))
    }

    fn resource(&self, path: &str) -> Answer {
        let verb = Verb::of(&self.parts.method).ok_or_else(Status::method)?;
        let target = Target::parse(path).ok_or_else(Status::no_route)?;
        if let Some(review) = self.review(&target)? {
            return Ok(body::json(201, &review));
        }
        let kind = self
            .store()
            .kind(&target.group, &target.version, &target.plural)
            .ok_or_else(Status::no_route)?;
        let query = Query::parse(self.parts.uri.query());
        if self.counted {
            let part = match target.subresource.as_str() {
                "" => kind.resource(),
                part => format!("{}/{part}", kind.resource()),
            };
            self.shared.count(verb.name(&target, &query), part);
        }
        if verb != Verb::Get {
            self.shared.refuse_write(&kind, &target, verb)?;
        }
        let shape = Shape::of(self.header(header::ACCEPT));
        match (target.subresource.as_str(), target.name.as_str()) {
            ("", "") => self.collection(verb, &kind, &target, &query, shape),
            ("", _) | ("status", _) => self.object(verb, &kind, &target, &query, shape),
            ("scale", _) => self.scale(verb, &kind, &target, &query),
            ("log", name) if kind.kind == "Pod" => {
                let log = self.shared.log(&target.namespace, name, &query)?;
                Ok(body::text(200, "text/plain", log))
            }
            ("eviction", name) if kind.kind == "Pod" => {
                self.writing(&kind, &target, &query)
                    .delete(name, &json!({}))?;
                Ok(body::json(201, &Status::success()))
            }
            _ => Err(Status::no_route()),
        }
    }

    /// Whoever asks may do everything.
    fn review(&self, target: &Target) -> Result<Option<Value>, Status> {
        if target.group != "authorization.k8s.io" || self.parts.method != http::Method::POST {
            return Ok(None);
        }
        let mut review: Value = self.json()?;
        review["status"] = json!({"allowed": true});
        Ok(Some(review))
    }

    fn writing<'a>(&'a self, kind: &'a Kind, target: &'a Target, query: &'a Query) -> Write<'a> {
        let named = query.get("fieldManager");
        let agent = self.header(header::USER_AGENT);
        let manager = if named.is_empty() {
            agent.split('/').next().unwrap_or_default()
        } else {
            named
        };
        Write {
            store: self.store(),
            kind,
            namespace: if kind.namespaced {
                &target.namespace
            } else {
                ""
            },
            manager: if manager.is_empty() {
                "unknown"
            } else {
                manager
            },
            dry_run: !query.get("dryRun").is_empty(),
            strict: query.get("fieldValidation") == "Strict",
        }
    }

    fn collection(
        &self,
        verb: Verb,
        kind: &Kind,
        target: &Target,
        query: &Query,
        shape: Shape,
    ) -> Answer {
        let labels = Selector::parse(query.get("labelSelector"))?;
        let fields = Selector::parse(query.get("fieldSelector"))?;
        match verb {
            Verb::Get if query.is_true("watch") => {
                watch::check(self.store(), query)?;
                let watch = Watch {
                    store: Arc::clone(self.store()),
                    kind: kind.clone(),
                    namespace: target.namespace.clone(),
                    labels,
                    fields,
                    shape,
                    query: query.clone(),
                    cut: self.shared.watches_end(),
                };
                Ok(body::stream(watch.start()))
            }
            Verb::Get => {
                let (objects, version) = self.store().list(&kind.resource(), &target.namespace);
                let chosen: Vec<&Value> = objects
                    .iter()
                    .map(|object| &**object)
                    .filter(|object| labels.selects_labels(object) && fields.selects_fields(object))
                    .collect();
                Ok(body::json(
                    200,
                    &table::many(kind, &chosen, &version.to_string(), shape),
                ))
            }
            Verb::Create => {
                let write = self.writing(kind, target, query);
                let mut sent: Value = self.json()?;
                if kind.kind == "CustomResourceDefinition" {
                    established(&mut sent);
                }
                let created = write.create(sent)?;
                Ok(body::json(201, &table::one(kind, &created, shape)))
            }
            Verb::Delete => {
                let (objects, version) = self.store().list(&kind.resource(), &target.namespace);
                let options = self.options(query)?;
                let chosen = objects.iter().filter(|object| {
                    labels.selects_labels(object) && fields.selects_fields(object)
                });
                for object in chosen {
                    let write = Write {
                        namespace: object::namespace(object),
                        ..self.writing(kind, target, query)
                    };
                    write.delete(object::name(object), &options)?;
                }
                Ok(body::json(
                    200,
                    &table::many(kind, &[], &version.to_string(), shape),
                ))
            }
            _ => Err(Status::method()),
        }
    }

    fn object(
        &self,
        verb: Verb,
        kind: &Kind,
        target: &Target,
        query: &Query,
        shape: Shape,
    ) -> Answer {
        let part = match target.subresource.as_str() {
            "status" if !kind.has_status => return Err(Status::no_route()),
            "status" => Part::Status,
            _ => Part::Main,
        };
        let write = self.writing(kind, target, query);
        let name = target.name.as_str();
        let done = match verb {
            Verb::Get => self.existing(kind, target)?,
            Verb::Replace => write.replace(name, self.json()?, part)?,
            Verb::Patch => {
                let (how, patch) = self.patch(query)?;
                let done = write.patch(name, &patch, how, part)?;
                if kind.kind == "CustomResourceDefinition" {
                    self.establish(kind, name)?
                } else {
                    done
                }
            }
            Verb::Delete if part == Part::Main => {
                let gone = write.delete(name, &self.options(query)?)?;
                if object::is_deleting(&gone) && self.store().get(&key(kind, target)).is_some() {
                    gone
                } else {
                    let mut status = Status::success();
                    status["details"] =
                        json!({"name": name, "kind": kind.plural, "uid": object::uid(&gone)});
                    return Ok(body::json(200, &status));
                }
            }
            _ => return Err(Status::method()),
        };
        Ok(body::json(200, &table::one(kind, &done, shape)))
    }

    fn existing(&self, kind: &Kind, target: &Target) -> Result<Arc<Value>, Status> {
        self.store()
            .get(&key(kind, target))
            .ok_or_else(|| Status::not_found(&kind.resource(), &target.name))
    }

    fn scale(&self, verb: Verb, kind: &Kind, target: &Target, query: &Query) -> Answer {
        let scale = kind.scale.as_ref().ok_or_else(Status::no_route)?;
        let live = self.existing(kind, target)?;
        let mut shown = scale_of(&live, scale);
        if verb != Verb::Get {
            let stated = shown["metadata"]["resourceVersion"].clone();
            match verb {
                Verb::Replace => shown = self.json()?,
                Verb::Patch => {
                    let (how, patch) = self.patch(query)?;
                    match how {
                        PatchKind::Json => crate::patch::json(&mut shown, &patch)?,
                        _ => crate::patch::merge(&mut shown, &patch),
                    }
                }
                _ => return Err(Status::method()),
            }
            let wanted = number(&shown, "/spec/replicas").unwrap_or(0);
            if wanted < 0 {
                return Err(Status::invalid(
                    "Scale",
                    &target.name,
                    "spec.replicas: must be greater than or equal to 0",
                ));
            }
            let given = shown["metadata"]["resourceVersion"].clone();
            if given.is_string() && given != stated {
                return Err(Status::conflict(
                    &kind.resource(),
                    &target.name,
                    "the object has been modified; please apply your changes to the latest version and try again",
                ));
            }
            let operation = json!([{"op": "add", "path": scale.spec, "value": wanted}]);
            let write = self.writing(kind, target, query);
            let done = write.patch(&target.name, &operation, PatchKind::Json, Part::Main)?;
            shown = scale_of(&done, scale);
        }
        Ok(body::json(200, &shown))
    }

    fn options(&self, query: &Query) -> Result<Value, Status> {
        let mut options: Value = if self.body.is_empty() {
            json!({})
        } else {
            self.json()?
        };
        for name in ["propagationPolicy", "gracePeriodSeconds"] {
            let given = query.get(name);
            if !given.is_empty() {
                options[name] = given
                    .parse::<i64>()
                    .map_or_else(|_| json!(given), |number| json!(number));
            }
        }
        Ok(options)
    }

    fn patch(&self, query: &Query) -> Result<(PatchKind, Value), Status> {
        let given = self.header(header::CONTENT_TYPE);
        let how = match given.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => PatchKind::Json,
            "application/merge-patch+json" => PatchKind::Merge,
            "application/strategic-merge-patch+json" => PatchKind::Strategic,
            "application/apply-patch+yaml" => PatchKind::Apply {
                force: query.is_true("force"),
            },
            other => {
                return Err(Status::media_type(format!(
                    "unknown kind of patch: {other}"
                )));
            }
        };
        let patch = match how {
            PatchKind::Apply { .. } => self.yaml()?,
            _ => self.json()?,
        };
        Ok((how, patch))
    }

    fn json(&self) -> Result<Value, Status> {
        if let Some(object) = protobuf::object(self.body)? {
            return Ok(object);
        }
        match serde_json::from_slice(self.body) {
            Ok(value) => Ok(value),
            Err(_) if self.header(header::CONTENT_TYPE).contains("yaml") => self.yaml(),
            Err(error) => Err(Status::bad_request(format!("the body is no JSON: {error}"))),
        }
    }

    /// YAML, of which JSON is a part.
    fn yaml(&self) -> Result<Value, Status> {
        if let Ok(value) = serde_json::from_slice(self.body) {
            return Ok(value);
        }
        let text = std::str::from_utf8(self.body)
            .map_err(|error| Status::bad_request(error.to_string()))?;
        serde_saphyr::from_str(text)
            .map_err(|error| Status::bad_request(format!("the body is no YAML: {error}")))
    }

    /// Clients wait for a new definition to be established.
    fn establish(&self, kind: &Kind, name: &str) -> Result<Arc<Value>, Status> {
        let write = |before: Option<&Value>| {
            let mut object = before
                .cloned()
                .ok_or_else(|| Status::not_found(&kind.plural, name))?;
            established(&mut object);
            Ok(Some(object))
        };
        let done = self
            .store()
            .write(&Key::new(&kind.resource(), "", name), write)?;
        Ok(done.unwrap_or_default())
    }
}

fn established(definition: &mut Value) {
    let names = definition["spec"]["names"].clone();
    let mut conditions = object::list(definition, "/status/conditions").to_vec();
    object::set_condition(
        &mut conditions,
        "NamesAccepted",
        "True",
        "NoConflicts",
        "no conflicts found",
    );
    object::set_condition(
        &mut conditions,
        "Established",
        "True",
        "InitialNamesAccepted",
        "the initial names have been accepted",
    );
    definition["status"] = json!({
        "acceptedNames": names,
        "conditions": conditions,
        "storedVersions": object::list(definition, "/spec/versions")
            .iter()
            .filter(|version| version["storage"] == true)
            .map(|version| version["name"].clone())
            .collect::<Vec<_>>(),
    });
}

fn key(kind: &Kind, target: &Target) -> Key {
    let namespace = if kind.namespaced {
        &target.namespace
    } else {
        ""
    };
    Key::new(&kind.resource(), namespace, &target.name)
}

fn scale_of(object: &Value, scale: &Scale) -> Value {
    let selector = match &scale.selector {
        Some(pointer) => object::text(object, pointer).to_owned(),
        None => {
            let labels = object
                .pointer("/spec/selector/matchLabels")
                .and_then(Value::as_object);
            let pairs = labels.into_iter().flatten();
            pairs
                .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
                .collect::<Vec<_>>()
                .join(",")
        }
    };
    let metadata = &object["metadata"];
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {"replicas": number(object, &scale.spec).unwrap_or(0)},
        "status": {"replicas": number(object, &scale.status).unwrap_or(0), "selector": selector},
    })
}
