//! What would a cluster do, on one machine and without one?
//!
//! [`ApiServer`] speaks enough of the Kubernetes API over HTTP for `kubectl` and `kube` clients: discovery, list and
//! watch, the four patch types, subresources, conflicts, finalizers, owner garbage collection. [`Cluster`] adds what
//! makes objects live: deployments become pods, pods are placed on limited nodes and run as real processes, each on a
//! loopback address of its own. Only built for tests and `cargo xtask playground`; nothing of it is in the binary.

mod api;
mod apply;
mod client;
mod fields;
mod foreign_kinds;
mod kinds;
mod object;
mod patch;
mod select;
mod server;
mod sim;
mod status;
mod store;
mod strategic;
mod table;
mod write;

pub use api::body::Reply;
pub use client::Client;
pub use foreign_kinds::definitions as foreign_definitions;
pub use server::{ApiServer, Calls, Fault};
pub use sim::{Cluster, ClusterConfig, NodeSpec};
pub use status::Status;
