//! What does a model server do, as seen from outside, when its cache and scheduler are real and its compute
//! is simulated?
//!
//! A vLLM-compatible HTTP server around a pure batch model. `model` decides what each step computes and
//! what the prefix cache holds, `backend` says how long a step takes; everything else here is the HTTP
//! shell. Every answer says that it is simulated.

mod args;
pub mod backend;
mod clock;
mod core;
mod fault;
mod http;
pub mod kv_events;
mod log;
mod loras;
mod metrics;
pub mod model;
mod seen;
mod settings;

pub use args::{DEFAULT_MODEL, EngineArgs, LoraModule, TextMode};
pub use fault::{Fault, HELP as FAULT_HELP, Kind as FaultKind};
pub use http::{Engine, Server};
pub use log::Log;

use std::future::Future;

/// Whether an engine could start with `args`, as far as that can be told without starting it.
///
/// # Errors
/// As [`Engine::start`].
pub fn check(args: EngineArgs) -> anyhow::Result<()> {
    settings::Settings::resolve(args).map(drop)
}

/// Serves until `shutdown` is ready, then drains. Access and throughput lines go to standard output.
///
/// # Errors
/// A bad setting, or an address that cannot be listened on.
pub async fn run(args: EngineArgs, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    run_with_log(args, Log::writer(std::io::stdout()), shutdown).await
}

/// As [`run`], with the lines going to `log`.
///
/// # Errors
/// As [`run`].
pub async fn run_with_log(
    args: EngineArgs,
    log: Log,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let about = format!(
        "simulated {} (time scale {}, seed {})",
        args.accelerator, args.time_scale, args.seed
    );
    let server = Server::bind(args, log.clone()).await?;
    log.line(format!(
        "INFO:     {about}: cache and scheduler are real, compute and text are invented"
    ));
    log.line(format!(
        "INFO:     Engine running on http://{} (Press CTRL+C to quit)",
        server.local_addr()
    ));
    server.serve(shutdown).await
}
