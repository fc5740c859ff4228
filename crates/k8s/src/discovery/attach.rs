//! Does a route belong to a gateway, and for which hosts?

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::types::{Gateway, HttpRoute, Listener, ParentRef};

const GROUP: &str = "gateway.networking.k8s.io";

/// One listener that takes the route; `hosts` empty for every host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerHosts {
    pub listener: String,
    pub hosts: Vec<String>,
}

/// What becomes of one of a route's parent references.
pub type Attachment = Result<Vec<ListenerHosts>, Unattached>;

/// Why no listener takes the route; the reasons of the route's `Accepted` condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unattached {
    NoMatchingParent,
    NotAllowedByListeners,
    NoMatchingListenerHostname,
}

impl Unattached {
    /// As a condition's reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoMatchingParent => "NoMatchingParent",
            Self::NotAllowedByListeners => "NotAllowedByListeners",
            Self::NoMatchingListenerHostname => "NoMatchingListenerHostname",
        }
    }
}

/// Whether `parent`, written in `route`, means `gateway`.
pub(super) fn names(route: &HttpRoute, parent: &ParentRef, gateway: &Gateway) -> bool {
    let group = parent.group.as_deref().unwrap_or(GROUP);
    let kind = parent.kind.as_deref().unwrap_or("Gateway");
    let namespace = parent
        .namespace
        .as_ref()
        .or(route.metadata.namespace.as_ref());
    group == GROUP
        && kind == "Gateway"
        && Some(&parent.name) == gateway.metadata.name.as_ref()
        && namespace == gateway.metadata.namespace.as_ref()
}

/// Which listeners of `gateway` take `route` by `parent`. `namespaces` are the labels of each.
pub fn attach(
    route: &HttpRoute,
    parent: &ParentRef,
    gateway: &Gateway,
    namespaces: &BTreeMap<String, BTreeMap<String, String>>,
) -> Attachment {
    let named = |listener: &&Listener| {
        let section = parent
            .section_name
            .as_ref()
            .is_none_or(|section| *section == listener.name);
        section && parent.port.is_none_or(|port| port == listener.port)
    };
    let listeners: Vec<&Listener> = gateway.spec.listeners.iter().filter(named).collect();
    if listeners.is_empty() {
        return Err(Unattached::NoMatchingParent);
    }
    let open: Vec<&&Listener> = listeners
        .iter()
        .filter(|listener| allows(listener, &route.metadata, &gateway.metadata, namespaces))
        .collect();
    if open.is_empty() {
        return Err(Unattached::NotAllowedByListeners);
    }
    let taken: Vec<ListenerHosts> = open
        .iter()
        .filter_map(|listener| {
            let hosts = hosts(listener.hostname.as_deref(), &route.spec.hostnames)?;
            Some(ListenerHosts {
                listener: listener.name.clone(),
                hosts,
            })
        })
        .collect();
    match taken.is_empty() {
        true => Err(Unattached::NoMatchingListenerHostname),
        false => Ok(taken),
    }
}

fn allows(
    listener: &Listener,
    route: &ObjectMeta,
    gateway: &ObjectMeta,
    namespaces: &BTreeMap<String, BTreeMap<String, String>>,
) -> bool {
    // Certificates of listeners are not served: a listener that asks for one is not accepted.
    if listener.protocol != "HTTP" {
        return false;
    }
    let Some(allowed) = &listener.allowed_routes else {
        return route.namespace == gateway.namespace;
    };
    let kinds = &allowed.kinds;
    let kind = kinds.is_empty()
        || kinds.iter().any(|kind| {
            kind.kind == "HTTPRoute" && kind.group.as_deref().unwrap_or(GROUP) == GROUP
        });
    let from = allowed.namespaces.as_ref();
    let home = route.namespace.as_deref().unwrap_or_default();
    kind && match from.and_then(|from| from.from.as_deref()).unwrap_or("Same") {
        "All" => true,
        "Selector" => {
            let selector = from.and_then(|from| from.selector.as_ref());
            let labels = namespaces.get(home);
            selector
                .zip(labels)
                .is_some_and(|(selector, labels)| selects(selector, labels))
        }
        _ => route.namespace == gateway.namespace,
    }
}

fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    let expressions = selector.match_expressions.iter().flatten();
    equal
        && expressions.into_iter().all(|one| {
            let value = labels.get(&one.key);
            let listed = || {
                let values = one.values.as_deref().unwrap_or_default();
                value.is_some_and(|value| values.contains(value))
            };
            match one.operator.as_str() {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// The hosts that both sides take; `None` without any, empty for every one.
fn hosts(listener: Option<&str>, route: &[String]) -> Option<Vec<String>> {
    let listener = listener
        .filter(|host| !host.is_empty())
        .map(str::to_ascii_lowercase);
    let route: Vec<String> = route.iter().map(|host| host.to_ascii_lowercase()).collect();
    let Some(listener) = listener else {
        return Some(route);
    };
    if route.is_empty() {
        return Some(vec![listener]);
    }
    let shared: Vec<String> = route
        .iter()
        .filter_map(|host| narrower(&listener, host))
        .collect();
    (!shared.is_empty()).then_some(shared)
}

/// The narrower of two hosts, where one holds the other.
fn narrower(a: &str, b: &str) -> Option<String> {
    let holds = |wide: &str, narrow: &str| match wide.strip_prefix('*') {
        Some(suffix) => narrow.len() > suffix.len() && narrow.ends_with(suffix),
        None => wide == narrow,
    };
    if a == b || holds(a, b) {
        return Some(b.to_owned());
    }
    holds(b, a).then(|| a.to_owned())
}

#[cfg(test)]
#[path = "attach_test.rs"]
mod attach_test;
