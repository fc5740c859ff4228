//! Which requests does the API answer, and how?

pub(crate) mod body;
pub(crate) mod discovery;
pub(crate) mod openapi;
mod protobuf;
pub(crate) mod query;
pub(crate) mod request;
pub(crate) mod route;
pub(crate) mod schema;
pub(crate) mod watch;
