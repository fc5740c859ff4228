//! How do requests come in?

mod activity;
mod client;
mod door;
pub(crate) mod ext_proc;
mod http;

pub(crate) use http::{Settings, connections, serve};
