//! What would this routing do with that traffic, on a fleet of any size?
//!
//! A discrete-event run: many of the engine's batch models and the gateway's own scheduler, index and fleet state on one
//! virtual clock. No sockets and no threads in the model; the same seed gives the same events. All figures are simulated.
//! `docs/replay.md` says what is modelled, what is not, and how far published figures are reproduced.

mod args;
mod arms;
mod clock;
mod falsify;
mod fidelity;
mod figures;
mod gap;
pub(crate) mod kept;
mod ledger;
mod outcome;
mod pace;
mod replicas;
mod router;
mod rule;
mod seeds;
mod settings;
mod show;
mod source;
mod sweep;
#[cfg(test)]
mod tests;
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
    let plans = args.plans()?;
    let [plan] = plans.as_slice() else {
        return over_seeds(&args, &plans);
    };
    if args.fidelity {
        return fidelity(&args, plan);
    }
    if let Some(what) = args.falsify {
        return falsified(&args, plan, what);
    }
    let report = arms::compare(plan)?;
    show::emit(&args, &report)?;
    Ok(code(report.is_sound()))
}

fn code(sound: bool) -> ExitCode {
    match sound {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// The comparison once for each seed: means and intervals.
fn over_seeds(args: &Args, plans: &[arms::Plan]) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        !args.fidelity && args.falsify.is_none() && args.html.is_none(),
        "--fidelity, --falsify and --html are for one seed"
    );
    let reports = plans
        .iter()
        .map(arms::compare)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let report = seeds::Report::of(reports);
    show::emit_seeds(args, &report)?;
    Ok(code(report.is_sound()))
}

/// Published figures beside simulated ones. The exit code does not say whether they agree: the table does.
fn fidelity(args: &Args, plan: &arms::Plan) -> anyhow::Result<ExitCode> {
    let tables = fidelity::tables(plan)?;
    if args.json {
        crate::report::emit_json(&serde_json::json!({
            "seed": plan.settings.seed,
            "simulated": true,
            "tables": tables,
        }))?;
    } else {
        let rendered: Vec<String> = tables.iter().map(fidelity::Table::render).collect();
        crate::report::emit(&format!(
            "seed {}  [simulated]\n\n{}",
            plan.settings.seed,
            rendered.join("\n")
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn falsified(args: &Args, plan: &arms::Plan, what: falsify::Falsify) -> anyhow::Result<ExitCode> {
    let cells = falsify::cells(plan, what)?;
    if args.json {
        crate::report::emit_json(&serde_json::json!({
            "seed": plan.settings.seed,
            "simulated": true,
            "cells": cells,
        }))?;
    } else {
        crate::report::emit(&format!(
            "seed {}  [simulated]  {}\n\n{}",
            plan.settings.seed,
            plan.source.describe(),
            falsify::render(&cells)
        ))?;
    }
    let sound = cells.iter().all(|cell| cell.violation_count == 0);
    Ok(code(sound))
}
