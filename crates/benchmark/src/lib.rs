//! How fast is a system that speaks the OpenAI API, and does its routing keep prefixes where they are cached?
//!
//! Load goes over real sockets. `workload` says what is asked, `load` carries it and takes times, `engines`
//! reads the engines' own counters, `report` turns samples into figures that carry their sample counts.
//! Definitions and pitfalls are in `docs/benchmarking.md`.

pub mod command;
pub mod engines;
pub mod load;
pub mod replay;
pub mod report;
pub mod workload;

use std::process::ExitCode;

use clap::Subcommand;

/// The measurements there are; one file each under `command`.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Four load levels and a cache test; writes a JSON file and a summary.
    Suite(Box<command::suite::Args>),
    /// Groups of prompts with a common prefix: hit rate at the engines, latency, distribution.
    SharedPrefix(Box<command::shared_prefix::Args>),
    /// Rates from quiet to saturated: throughput, goodput, latency, the highest rate that is carried.
    Sweep(Box<command::sweep::Args>),
    /// A trace in the Mooncake format, sent by its own clock.
    Trace(Box<command::trace::Args>),
    /// Starts one and three replicas, cache off and on, round robin and ours, and takes their gains apart.
    Compare(Box<command::compare::Args>),
    Agree(Box<command::compare::agree::Args>),
    /// Measures saturation, then the four traffic situations and a five-fold burst.
    Situations(Box<command::situations::Args>),
}

/// Runs one measurement and prints its report on standard output. The exit code is a failure when no
/// request at all succeeded; failed requests among others are counted in the report.
pub async fn run(bench: Bench) -> anyhow::Result<ExitCode> {
    match bench {
        Bench::Suite(args) => command::suite::run(*args).await,
        Bench::SharedPrefix(args) => command::shared_prefix::run(*args).await,
        Bench::Sweep(args) => command::sweep::run(*args).await,
        Bench::Trace(args) => command::trace::run(*args).await,
        Bench::Compare(args) => command::compare::run(*args).await,
        Bench::Agree(args) => command::compare::agree::run(*args).await,
        Bench::Situations(args) => command::situations::run(*args).await,
    }
}
