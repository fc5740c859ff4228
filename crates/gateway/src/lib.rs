//! How does a request get from a client to the right engine and back?
//!
//! [`Gateway::serve`] takes requests in; `path.rs` is the one way through: parse, admit, fingerprint, pick, forward.
//! The response's bytes pass through a guard that turns however the attempt ends into exactly one outcome.
//! [`Gateway::serve_admin`] answers operators.

mod access;
mod admin;
mod admit;
mod attempt;
mod body;
pub mod config;
mod control;
mod error;
mod fingerprint;
mod flight;
mod flow;
mod forward;
mod frontend;
mod gateway;
mod headers;
mod inbound;
mod large;
mod local;
mod metrics;
mod parse;
mod path;
mod pick;
mod record;
mod rename;
mod reply;
mod route;
mod scores;
mod sources;
mod splice;
mod sticky;
mod stored;
mod table;
mod tail;
mod text_match;
mod tokens;
mod watch;
mod wire;

pub use config::GatewayConfig;
pub use flow::Flow;
pub use frontend::ext_proc::{Certificates, Picker, PickerConfig, TlsSettings};
pub use gateway::Gateway;
pub use metrics::metrics_markdown;
pub use route::{ClientKey, PoolRoute};
pub use sources::{SourceReport, Sources};
pub use table::{HeaderEdits, PathMatch, PathRewrite, RequestMatch, RouteRule, RouteTarget};
pub use text_match::{Pattern, TextMatch};
pub use tokens::{TokenizerConfig, TokenizerError, Tokens};
