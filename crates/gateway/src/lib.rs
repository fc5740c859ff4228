//! How does a request get from a client to the right engine and back?
//!
//! [`Gateway::serve`] takes requests in; `path.rs` is the one way through: parse, admit, fingerprint, pick, forward.
//! The response's bytes pass through a guard that turns however the attempt ends into exactly one outcome.
//! [`Gateway::serve_admin`] answers operators.

mod admin;
pub mod config;
mod error;
mod gateway;
mod route;

pub use config::GatewayConfig;
pub use gateway::Gateway;
pub use route::{ClientKey, PoolRoute};
