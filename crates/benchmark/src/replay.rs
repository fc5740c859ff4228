//! What would this routing do with that traffic, on a fleet of any size?
//!
//! A discrete-event run: many of the engine's batch models and the gateway's own scheduler, index and fleet state on one
//! virtual clock. No sockets and no threads in the model; the same seed gives the same events. All figures are simulated.
//! `docs/replay.md` says what is modelled, what is not, and how far published figures are reproduced.

mod args;
mod arms;
mod clock;
mod figures;
mod ledger;
mod outcome;
mod pace;
mod replicas;
mod router;
mod rule;
mod settings;
mod show;
mod source;
mod world;

use std::process::ExitCode;

pub use args::Args;

/// Runs what was asked for and prints it on standard output.
///
/// # Errors
/// Bad input, in words; a broken checker is not an error here but a failing exit code.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.list {
        crate::report::emit(&show::list())?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = args.plan()?;
    let report = arms::compare(&plan)?;
    show::emit(&args, &report)?;
    Ok(match report.is_sound() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
