//! What does an HTTPRoute's rule say, in our words?

use std::collections::BTreeSet;

use serde_json::Value;

use super::kinds::GrantRef;
use super::view::Objects;
use crate::types::{BackendRef, HttpRoute, RouteFilter, RouteMatch, RouteRule};

/// A rule for the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// `namespace/name` of the route.
    pub route: String,
    pub created_unix_seconds: i64,
    /// Empty: every host.
    pub hosts: Vec<String>,
    pub matches: Vec<RuleMatch>,
    pub targets: Vec<RuleTarget>,
    pub replace_prefix: Option<String>,
    pub replace_path: Option<String>,
    pub set_headers: Vec<(String, String)>,
    pub add_headers: Vec<(String, String)>,
    pub remove_headers: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleMatch {
    /// False for a prefix.
    pub exact: bool,
    pub path: String,
    pub method: Option<String>,
    pub headers: Vec<(String, String)>,
    pub query: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleTarget {
    /// Name of a pool; `None` for what does not exist, may not be named, or is of a kind we do not know.
    pub pool: Option<String>,
    pub weight: u32,
}

/// `None` where the rule asks for something we do not do: it must not match other requests than it says.
pub(super) fn read(
    route: &HttpRoute,
    rule: &RouteRule,
    hosts: &BTreeSet<String>,
    target: &dyn Fn(&BackendRef) -> Option<String>,
) -> Option<Rule> {
    let namespace = route.metadata.namespace.as_deref().unwrap_or_default();
    let name = route.metadata.name.as_deref().unwrap_or_default();
    let matches: Vec<RuleMatch> = rule.matches.iter().filter_map(read_match).collect();
    if matches.is_empty() && !rule.matches.is_empty() {
        return None;
    }
    let mut read = Rule {
        route: format!("{namespace}/{name}"),
        created_unix_seconds: route
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(0, |at| at.0.as_second()),
        hosts: hosts.iter().cloned().collect(),
        matches,
        ..Rule::default()
    };
    let understood = rule
        .filters
        .iter()
        .all(|filter| filtered(filter, &mut read));
    read.targets = rule
        .backend_refs
        .iter()
        .map(|backend| RuleTarget {
            // A filter that cannot be done is answered with an error, not skipped.
            pool: target(backend).filter(|_| understood && backend.filters.is_empty()),
            weight: backend.weight.unwrap_or(1),
        })
        .collect();
    Some(read)
}

fn read_match(found: &RouteMatch) -> Option<RuleMatch> {
    let (exact, path) = match &found.path {
        None => (false, "/".to_owned()),
        Some(path) => {
            let value = path.value.clone().unwrap_or_else(|| "/".to_owned());
            match path.kind.as_deref().unwrap_or("PathPrefix") {
                "Exact" => (true, value),
                "PathPrefix" => (false, value),
                _ => return None,
            }
        }
    };
    let plain = found.headers.iter().chain(&found.query_params);
    if plain
        .clone()
        .any(|one| one.kind.as_deref().unwrap_or("Exact") != "Exact")
    {
        return None;
    }
    let pairs = |list: &[crate::types::HeaderMatch]| {
        list.iter()
            .map(|one| (one.name.clone(), one.value.clone()))
            .collect::<Vec<_>>()
    };
    Some(RuleMatch {
        exact,
        path,
        method: found.method.clone(),
        headers: pairs(&found.headers),
        query: pairs(&found.query_params),
    })
}

/// Notes what a filter does; false for one that we cannot do.
fn filtered(filter: &RouteFilter, rule: &mut Rule) -> bool {
    match filter.kind.as_str() {
        "URLRewrite" => {
            let Some(rewrite) = &filter.url_rewrite else {
                return false;
            };
            if let Some(host) = &rewrite.hostname {
                rule.set_headers.push(("host".to_owned(), host.clone()));
            }
            if let Some(path) = &rewrite.path {
                match path.kind.as_str() {
                    "ReplacePrefixMatch" => {
                        rule.replace_prefix =
                            Some(path.replace_prefix_match.clone().unwrap_or_default());
                    }
                    "ReplaceFullPath" => {
                        rule.replace_path = Some(path.replace_full_path.clone().unwrap_or_default())
                    }
                    _ => return false,
                }
            }
            true
        }
        "RequestHeaderModifier" => {
            let Some(edits) = filter.other.get("requestHeaderModifier") else {
                return false;
            };
            let pairs = |key: &str| -> Vec<(String, String)> {
                let text =
                    |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
                let list = edits[key].as_array().map(Vec::as_slice).unwrap_or_default();
                list.iter()
                    .map(|one| (text(one, "name"), text(one, "value")))
                    .collect()
            };
            rule.set_headers.extend(pairs("set"));
            rule.add_headers.extend(pairs("add"));
            let removed = edits["remove"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            rule.remove_headers.extend(
                removed
                    .iter()
                    .filter_map(|name| Some(name.as_str()?.to_owned())),
            );
            true
        }
        _ => false,
    }
}

/// What a backend reference means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    Pool {
        namespace: String,
        name: String,
    },
    Service {
        namespace: String,
        name: String,
        port: Option<u16>,
    },
}

/// Why a reference leads nowhere, as the `ResolvedRefs` condition names it.
pub(super) fn backend(
    route: &HttpRoute,
    backend: &BackendRef,
    objects: &Objects,
) -> Result<Backend, &'static str> {
    let home = route.metadata.namespace.clone().unwrap_or_default();
    let namespace = backend.namespace.clone().unwrap_or_else(|| home.clone());
    let group = backend.group.as_deref().unwrap_or_default();
    let kind = backend.kind.as_deref().unwrap_or("Service");
    let name = backend.name.clone();
    let found = match (group, kind) {
        ("inference.networking.k8s.io" | "inference.networking.x-k8s.io", "InferencePool") => {
            Backend::Pool {
                namespace: namespace.clone(),
                name,
            }
        }
        ("", "Service") => Backend::Service {
            namespace: namespace.clone(),
            name,
            port: backend.port,
        },
        _ => return Err("InvalidKind"),
    };
    if namespace != home && !granted(objects, &home, &namespace, group, kind, &backend.name) {
        return Err("RefNotPermitted");
    }
    let exists = match &found {
        Backend::Pool { namespace, name } => objects.pools.iter().any(|pool| {
            pool.metadata.namespace.as_ref() == Some(namespace)
                && pool.metadata.name.as_ref() == Some(name)
        }),
        Backend::Service {
            namespace,
            name,
            port,
        } => objects.kube_services.iter().any(|service| {
            let external = service.spec.kind.as_deref() == Some("ExternalName");
            let has_port =
                port.is_some_and(|port| service.spec.ports.iter().any(|one| one.port == port));
            let meta = &service.metadata;
            meta.namespace.as_ref() == Some(namespace)
                && meta.name.as_ref() == Some(name)
                && has_port
                && !external
        }),
    };
    if exists {
        Ok(found)
    } else {
        Err("BackendNotFound")
    }
}

/// Whether what a route names exists and may be named; else the reason of its `ResolvedRefs` condition.
///
/// # Errors
/// `InvalidKind`, `RefNotPermitted` or `BackendNotFound`.
pub fn backend_exists(
    route: &HttpRoute,
    reference: &BackendRef,
    objects: &Objects,
) -> Result<(), &'static str> {
    backend(route, reference, objects).map(drop)
}

fn granted(objects: &Objects, from: &str, to: &str, group: &str, kind: &str, name: &str) -> bool {
    let source = |one: &GrantRef| {
        one.group == "gateway.networking.k8s.io"
            && one.kind == "HTTPRoute"
            && one.namespace.as_deref() == Some(from)
    };
    let sink = |one: &GrantRef| {
        one.group == group && one.kind == kind && one.name.as_deref().is_none_or(|one| one == name)
    };
    objects.grants.iter().any(|grant| {
        grant.metadata.namespace.as_deref() == Some(to)
            && grant.spec.from.iter().any(source)
            && grant.spec.to.iter().any(sink)
    })
}
