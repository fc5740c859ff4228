//! How do requests come in?

mod http;

pub(crate) use http::{Settings, connections, serve};
