//! What does a model server do, as seen from outside, when its cache and scheduler are real and its compute
//! is simulated?
//!
//! A vLLM-compatible HTTP server around a pure batch model. `model` decides what each step computes and
//! what the prefix cache holds, `backend` says how long a step takes; everything else here is the HTTP
//! shell. Every answer says that it is simulated.

mod args;
pub mod backend;
mod fault;
pub mod model;

pub use args::{EngineArgs, LoraModule, TextMode};
pub use fault::{Fault, Kind as FaultKind};

use std::future::Future;

/// Serves until `shutdown` is ready, then drains. Errors: a bad setting, a port in use.
pub async fn run(args: EngineArgs, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let _ = (args, shutdown);
    anyhow::bail!("the HTTP shell is not built yet")
}
