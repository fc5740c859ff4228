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
    pub how: PathKind,
    pub path: String,
    pub method: Option<String>,
    pub headers: Vec<PairMatch>,
    pub query: Vec<PairMatch>,
}

/// How a path matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathKind {
    #[default]
    Prefix,
    Exact,
    /// A regular expression of the whole path.
    Pattern,
}

/// A header, or a query parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairMatch {
    pub name: String,
    pub value: String,
    /// The value is a regular expression of the whole.
    pub pattern: bool,
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

/// `None` for a kind of match that is not done here, and for a pattern that is none.
fn read_match(found: &RouteMatch) -> Option<RuleMatch> {
    let (how, path) = match &found.path {
        None => (PathKind::Prefix, "/".to_owned()),
        Some(path) => {
            let value = path.value.clone().unwrap_or_else(|| "/".to_owned());
            let how = match path.kind.as_deref().unwrap_or("PathPrefix") {
                "Exact" => PathKind::Exact,
                "PathPrefix" => PathKind::Prefix,
                "RegularExpression" => PathKind::Pattern,
                _ => return None,
            };
            (how, value)
        }
    };
    if how == PathKind::Pattern && !is_pattern(&path) {
        return None;
    }
    Some(RuleMatch {
        how,
        path,
        method: found.method.clone(),
        headers: pairs(&found.headers)?,
        query: pairs(&found.query_params)?,
    })
}

fn pairs(list: &[crate::types::HeaderMatch]) -> Option<Vec<PairMatch>> {
    list.iter()
        .map(|one| {
            let pattern = match one.kind.as_deref().unwrap_or("Exact") {
                "Exact" => false,
                "RegularExpression" if is_pattern(&one.value) => true,
                _ => return None,
            };
            Some(PairMatch {
                name: one.name.clone(),
                value: one.value.clone(),
                pattern,
            })
        })
        .collect()
}

fn is_pattern(text: &str) -> bool {
    regex::Regex::new(text).is_ok()
}

/// Rules of a route that ask for something that is not done here, each with what it is.
pub fn unsupported(route: &HttpRoute) -> Vec<String> {
    let mut found = Vec::new();
    for (at, rule) in route.spec.rules.iter().enumerate() {
        if rule.matches.iter().any(|one| read_match(one).is_none()) {
            found.push(format!(
                "rule {at}: a match of a kind that is not known, or a pattern that is none"
            ));
        }
        let filters = rule.filters.iter();
        for filter in filters.filter(|filter| !filtered(filter, &mut Rule::default())) {
            found.push(format!("rule {at}: filter {} is not done", filter.kind));
        }
        if rule.backend_refs.iter().any(|one| !one.filters.is_empty()) {
            found.push(format!("rule {at}: filters of a backendRef are not done"));
        }
    }
    found
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(rule: Value, expected: &[&str]) {
        let route: HttpRoute = serde_json::from_value(json!({"spec": {"rules": [rule]}})).unwrap();
        let found = unsupported(&route);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found} lacks {expected}");
        }
    }

    #[test]
    fn what_is_not_done_is_named() {
        let path = |kind: &str, value: &str| json!({"matches": [{"path": {"type": kind, "value": value}}]});
        check(path("PathPrefix", "/v1"), &[]);
        check(path("RegularExpression", "/v[12]/.*"), &[]);
        check(path("RegularExpression", "/v["), &["pattern that is none"]);
        check(path("Glob", "/v*"), &["not known"]);
        check(
            json!({"matches": [{"headers": [{"type": "RegularExpression", "name": "a", "value": "("}]}]}),
            &["pattern that is none"],
        );
        check(
            json!({"filters": [{"type": "RequestMirror"}]}),
            &["RequestMirror"],
        );
    }
}
