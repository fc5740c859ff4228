//! How do requests come in?

pub(crate) mod ext_proc;
mod http;

pub(crate) use http::{Settings, connections, serve};
