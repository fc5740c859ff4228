//! What is a request about?

use http::Method;

use super::query::Query;

/// A path below `/api/v1` or `/apis/GROUP/VERSION`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) plural: String,
    /// Empty for the collection.
    pub(crate) name: String,
    pub(crate) subresource: String,
}

impl Target {
    /// `None` for a path that is about no resource.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        let (group, version) = match parts.next()? {
            "api" => (String::new(), parts.next()?.to_owned()),
            "apis" => (parts.next()?.to_owned(), parts.next()?.to_owned()),
            _ => return None,
        };
        let rest: Vec<&str> = parts.collect();
        let text = |at: usize| {
            rest.get(at)
                .map_or(String::new(), |part| (*part).to_owned())
        };
        let skip = match rest.as_slice() {
            [] => return None,
            // `namespaces/x` and its subresources are about the namespace itself.
            ["namespaces", _, "status" | "finalize"] | ["namespaces"] | ["namespaces", _] => 0,
            ["namespaces", ..] => 2,
            _ => 0,
        };
        Some(Self {
            group,
            version,
            namespace: if skip == 2 { text(1) } else { String::new() },
            plural: text(skip),
            name: text(skip + 1),
            subresource: text(skip + 2),
        })
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Create,
    Replace,
    Patch,
    Delete,
}

impl Verb {
    pub(crate) fn of(method: &Method) -> Option<Self> {
        Some(match *method {
            Method::GET | Method::HEAD => Self::Get,
            Method::POST => Self::Create,
            Method::PUT => Self::Replace,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            _ => return None,
        })
    }
}

impl Verb {
    /// As access rules name it.
    pub(crate) fn name(self, target: &Target, query: &Query) -> &'static str {
        match self {
            Self::Get if query.is_true("watch") => "watch",
            Self::Get if target.name.is_empty() => "list",
            Self::Get => "get",
            Self::Create => "create",
            Self::Replace => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// In which shape the client wants objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Full,
    Table,
    Metadata,
}

impl Shape {
    pub(crate) fn of(accept: &str) -> Self {
        let first = accept.split(',').next().unwrap_or_default();
        if first.contains("as=Table") {
            Self::Table
        } else if first.contains("as=PartialObjectMetadata") {
            Self::Metadata
        } else {
            Self::Full
        }
    }
}
