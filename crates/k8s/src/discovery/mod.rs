//! Which endpoints and routes does the cluster hold?
//!
//! `watch` keeps the last view of each kind and says how current it is; `view` makes pools, endpoints and rules of
//! those views, and is pure; [`follow`] hands out a new [`ClusterView`] whenever one differs from the last. When the API
//! server cannot be reached the last views stay, and so does everything made of them.

mod attach;
mod endpoints;
mod follow;
mod kinds;
mod pools;
mod rules;
mod source;
mod view;
mod watch;

pub use attach::{Attachment, ListenerHosts, Unattached, attach};
pub use follow::{Discovery, DiscoveryConfig, client, connect, follow};
pub use kinds::{GrantRef, LeanPod, LeanService, Namespace, ReferenceGrant};
pub use rules::{PairMatch, PathKind, Rule, RuleMatch, RuleTarget, backend_exists, unsupported};
pub use source::SourceStatus;
pub use view::{ClusterView, Endpoint, Objects, PoolView, Seen};
