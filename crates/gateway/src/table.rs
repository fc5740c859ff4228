//! Which rule of the operator's routes does a request meet, and what does the rule do to it?
//!
//! Rules come from HTTPRoutes, and the one that counts is the one their specification names: the most specific host,
//! then an exact path before a pattern before a longer prefix before a shorter one, a method, more headers, more query parameters, the
//! older route, the route's name, the earlier rule.

use std::cmp::Reverse;

use http::header::{HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Uri};

use crate::inbound::Inbound;
use crate::text_match::{Pattern, TextMatch};

/// One rule of a route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteRule {
    /// `namespace/route`, for messages and the last tie.
    pub route: String,
    /// When the route was made, seconds since 1970.
    pub created_unix_seconds: i64,
    /// Lower case, without port; `*.` in front stands for one label or more. Empty: every host.
    pub hosts: Vec<String>,
    /// One of them has to match; empty matches everything.
    pub matches: Vec<RequestMatch>,
    /// Where requests go, in these shares.
    pub targets: Vec<RouteTarget>,
    pub rewrite: Option<PathRewrite>,
    pub headers: HeaderEdits,
}

/// Every part has to match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestMatch {
    pub path: PathMatch,
    pub method: Option<Method>,
    pub headers: Vec<(HeaderName, TextMatch)>,
    pub query: Vec<(String, TextMatch)>,
}

/// How a path matches.
#[derive(Clone, Debug, PartialEq)]
pub enum PathMatch {
    Exact(String),
    /// The whole path, without its query.
    Pattern(Pattern),
    /// By whole elements; a trailing slash does not count.
    Prefix(String),
}

impl Default for PathMatch {
    fn default() -> Self {
        Self::Prefix("/".to_owned())
    }
}

/// A share of a rule's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTarget {
    /// Name of a pool; `None` where what the route names does not exist: its share is answered 500.
    pub pool: Option<String>,
    pub weight: u32,
}

/// What a path becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// The matched prefix is replaced.
    Prefix(String),
    Full(String),
}

/// What becomes of a request's headers, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderEdits {
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub add: Vec<(HeaderName, HeaderValue)>,
    pub remove: Vec<HeaderName>,
}

/// All rules, each match on its own, best first.
pub(crate) struct Table {
    rules: Vec<RouteRule>,
    order: Vec<Entry>,
}

struct Entry {
    host: Option<String>,
    rule: usize,
    found: RequestMatch,
}

/// What a request meets.
pub(crate) struct Hit<'a> {
    pub(crate) rule: &'a RouteRule,
    path: &'a PathMatch,
}

impl Table {
    pub(crate) fn new(rules: Vec<RouteRule>) -> Self {
        let mut order = Vec::new();
        for (at, rule) in rules.iter().enumerate() {
            let any = [RequestMatch::default()];
            let matches = if rule.matches.is_empty() {
                &any[..]
            } else {
                &rule.matches
            };
            let hosts: Vec<Option<&String>> = match rule.hosts.is_empty() {
                true => vec![None],
                false => rule.hosts.iter().map(Some).collect(),
            };
            for host in hosts {
                order.extend(matches.iter().map(|found| Entry {
                    host: host.cloned(),
                    rule: at,
                    found: found.clone(),
                }));
            }
        }
        order.sort_by_cached_key(|entry| {
            let rule = &rules[entry.rule];
            (
                rank_host(entry.host.as_deref()),
                rank_match(&entry.found),
                rule.created_unix_seconds,
                rule.route.clone(),
                entry.rule,
            )
        });
        Self { rules, order }
    }

    pub(crate) fn len(&self) -> usize {
        self.rules.len()
    }

    /// The rule that counts for a request.
    pub(crate) fn find(&self, inbound: &Inbound) -> Option<Hit<'_>> {
        let host = host_of(&inbound.uri, &inbound.headers);
        let entry = self.order.iter().find(|entry| {
            entry
                .host
                .as_deref()
                .is_none_or(|wanted| host_fits(wanted, &host))
                && entry.found.fits(inbound)
        })?;
        Some(Hit {
            rule: &self.rules[entry.rule],
            path: &entry.found.path,
        })
    }
}

impl Hit<'_> {
    /// The target of a request for which `chance` (at least 0, less than 1) was drawn. `None` where the rule has none.
    pub(crate) fn target(&self, chance: f64) -> Option<&RouteTarget> {
        let total: u64 = self
            .rule
            .targets
            .iter()
            .map(|target| u64::from(target.weight))
            .sum();
        let mut left = (chance * total as f64) as u64;
        self.rule.targets.iter().find(|target| {
            let weight = u64::from(target.weight);
            let here = left < weight;
            left = left.saturating_sub(weight);
            here
        })
    }

    /// Does to the request what the rule says.
    pub(crate) fn rewrite(&self, inbound: &mut Inbound) {
        for (name, value) in &self.rule.headers.set {
            inbound.headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.rule.headers.add {
            inbound.headers.append(name.clone(), value.clone());
        }
        for name in &self.rule.headers.remove {
            inbound.headers.remove(name);
        }
        let path = match &self.rule.rewrite {
            None => return,
            Some(PathRewrite::Full(path)) => path.clone(),
            Some(PathRewrite::Prefix(replacement)) => {
                let matched = match self.path {
                    PathMatch::Prefix(prefix) => prefix.trim_end_matches('/'),
                    PathMatch::Exact(path) => path.as_str(),
                    PathMatch::Pattern(_) => inbound.uri.path(),
                };
                let rest = inbound.uri.path().get(matched.len()..).unwrap_or_default();
                joined(replacement, rest)
            }
        };
        let query = inbound
            .uri
            .query()
            .map_or(String::new(), |query| format!("?{query}"));
        let mut parts = inbound.uri.clone().into_parts();
        // What was a path and is joined from paths is one.
        if let Ok(rewritten) = format!("{path}{query}").parse() {
            parts.path_and_query = Some(rewritten);
            if let Ok(uri) = Uri::from_parts(parts) {
                inbound.uri = uri;
            }
        }
    }
}

fn joined(start: &str, rest: &str) -> String {
    let start = start.trim_end_matches('/');
    match (start, rest.strip_prefix('/').unwrap_or(rest)) {
        ("", rest) => format!("/{rest}"),
        (start, "") if rest.is_empty() => start.to_owned(),
        (start, rest) => format!("{start}/{rest}"),
    }
}

impl RequestMatch {
    fn fits(&self, inbound: &Inbound) -> bool {
        self.method
            .as_ref()
            .is_none_or(|method| *method == inbound.method)
            && self.path.fits(inbound.uri.path())
            && self.headers.iter().all(|(name, wanted)| {
                let mut values = inbound.headers.get_all(name).iter();
                values.any(|value| value.to_str().is_ok_and(|value| wanted.fits(value)))
            })
            && self.query.iter().all(|(name, wanted)| {
                parameter(inbound.uri.query().unwrap_or_default(), name)
                    .is_some_and(|value| wanted.fits(&value))
            })
    }
}

impl PathMatch {
    fn fits(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Pattern(pattern) => pattern.fits(path),
            Self::Prefix(prefix) => {
                let rest = path.strip_prefix(prefix.trim_end_matches('/'));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }
}

/// The first value of a query parameter.
fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = url_pairs(query);
    pairs.find(|(key, _)| key == name).map(|(_, value)| value)
}

fn url_pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let plain = |text: &str| {
            let text = text.replace('+', " ");
            percent_encoding::percent_decode_str(&text)
                .decode_utf8_lossy()
                .into_owned()
        };
        (plain(key), plain(value))
    })
}

/// Lower case, without port.
fn host_of(uri: &Uri, headers: &HeaderMap) -> String {
    let named = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = uri.host().or(named).unwrap_or_default();
    let bare = match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => bare,
        _ => host,
    };
    bare.to_ascii_lowercase()
}

fn host_fits(wanted: &str, host: &str) -> bool {
    match wanted.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => wanted == host,
    }
}

/// Named hosts first, then longer names; no host at all last.
fn rank_host(host: Option<&str>) -> (u8, Reverse<usize>) {
    match host {
        Some(host) if !host.starts_with('*') => (0, Reverse(host.len())),
        Some(host) => (1, Reverse(host.len())),
        None => (2, Reverse(0)),
    }
}

fn rank_match(found: &RequestMatch) -> (u8, Reverse<usize>, bool, Reverse<usize>, Reverse<usize>) {
    let (kind, length) = match &found.path {
        PathMatch::Exact(path) => (0, path.len()),
        PathMatch::Pattern(pattern) => (1, pattern.len()),
        PathMatch::Prefix(path) => (2, path.trim_end_matches('/').len()),
    };
    (
        kind,
        Reverse(length),
        found.method.is_none(),
        Reverse(found.headers.len()),
        Reverse(found.query.len()),
    )
}

#[cfg(test)]
#[path = "table_test.rs"]
mod table_test;
