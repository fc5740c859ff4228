//! Where should this request go, and why?
//!
//! One [`Ask`] and the [`Candidates`] go through a [`Profile`] (filters, weighted scorers, a picker) and a
//! [`Decision`] comes out: an ordered preference list with reasons. Configuration is the field's own
//! `EndpointPickerConfig` document.
//!
//! Nothing here does I/O, reads a clock or owns randomness: `now` and `rng` are arguments.

mod admitter;
mod around;
mod candidates;
mod config;
mod decider;
mod decision;
mod filter;
mod flow;
mod headers;
mod numbers;
mod picker;
mod plugin;
mod plugins;
mod profile;
mod reference;
mod scorer;
mod slo;
mod stage;
mod words;

pub use candidates::{AdapterFit, Ask, Candidates, EndpointInfo, Forecast};
pub use config::{
    At, Compiled, ConfigError, DEFAULT_PRESET, DataLayer, Document, FlowControl, InflightWiring,
    LatencyWiring, PRESETS, Parameters, Parser, Parsers, PluginRef, PluginSpec, PrefixWiring,
    Preset, Problem, ProfilePlugin, ProfileSpec, RequestHandler, SchedulingConfig, ScrapeWiring,
    SourceSpec, Wiring, compile, config_schema, suggest, yaml_problem,
};
pub use decision::{Beside, CandidateReason, Decision, NoEndpoint, ScoreReason};
pub use flow::{Band, Detector, EndpointLoad, Fairness, FlowSettings, Order};
pub use plugin::{Admitter, Decider, Filter, Picker, Raw, Rng, Scorer, Verdict};
pub use plugins::{Kind, NOT_BUILT, PLUGINS, PluginType, Stability, find};
pub use profile::Profile;
pub use reference::{plugin_markdown, plugins_markdown};
pub use slo::Slo;
pub use stage::{Stage, StageKind};
pub use words::explain_words;
