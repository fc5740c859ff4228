//! How does a document become a profile?

mod compile;
mod document;
mod error;
mod extras;
mod flow;
pub(crate) mod handlers;
mod instances;
mod located;
pub(crate) mod params;
mod parsers;
pub(crate) mod pieces;
mod plan;
pub(crate) mod precise;
mod presets;
mod profile;
mod schema;
mod suggest;
pub(crate) mod wired;
mod wiring;
mod yaml;

pub(crate) use compile::default_profile;
pub use compile::{Compiled, SchedulingConfig, compile};
pub use document::{
    DataLayer, Document, FlowControl, Parameters, PluginRef, PluginSpec, ProfilePlugin,
    ProfileSpec, RequestHandler, SourceSpec,
};
pub(crate) use error::ParamError;
pub use error::{ConfigError, Problem};
pub use located::At;
pub use parsers::{Parser, Parsers};
pub use presets::{DEFAULT_PRESET, PRESETS, Preset};
pub use schema::config_schema;
pub(crate) use suggest::hint;
pub use suggest::suggest;
pub use wiring::{InflightWiring, LatencyWiring, PrefixWiring, ScrapeWiring, Wiring};
pub use yaml::yaml_problem;

pub(crate) const APPROX_PREFIX_PRODUCER: &str = "approx-prefix-cache-producer";
pub(crate) const PRECISE_PREFIX_PRODUCER: &str = "precise-prefix-cache-producer";
pub(crate) const PRECISE_PREFIX_SCORER: &str = "precise-prefix-cache-scorer";
pub(crate) const INFLIGHT_LOAD_PRODUCER: &str = "inflight-load-producer";
