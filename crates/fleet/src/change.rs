//! How does membership change?

use std::collections::BTreeMap;
use std::sync::Arc;

/// One endpoint as a discovery source describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSpec {
    /// Unique in its pool; `namespace/name` on Kubernetes, else `host:port`.
    pub name: Arc<str>,
    /// `http://host:port` or `https://…`, with an optional base path, no trailing slash.
    pub url: Arc<str>,
    /// `host:port` of `url`.
    pub address: Arc<str>,
    /// Data-parallel rank, where one address serves several.
    pub rank: Option<u32>,
    pub labels: BTreeMap<String, String>,
}

/// What a discovery source says; a source is a stream of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The whole membership of `source`: what is not in it has left.
    Resync {
        source: Arc<str>,
        endpoints: Vec<EndpointSpec>,
    },
    /// New or changed.
    Upsert {
        source: Arc<str>,
        endpoint: EndpointSpec,
    },
    /// Left for good: no new picks, index entries dropped; requests in flight end on their own.
    Remove { source: Arc<str>, name: Arc<str> },
    /// No new picks, but still there (pod terminating, operator's drain).
    Drain { name: Arc<str>, draining: bool },
}
