//! `cost`: what does a service cost, how many replicas should it have, and what do routing and a schedule save?

mod advise;
mod args;
pub mod audit;
pub mod basis;
pub mod compare;
pub mod measured;
pub mod model;
pub mod pricing;
pub mod savings;
mod show;
mod show_audit;
pub mod tables;
mod trace;

use std::process::ExitCode;

use benchmark::report;

pub use advise::{Advice, AdviseArgs, advise};
pub use args::{Common, Format, TableArgs};

/// What a service costs, from prices and from measured or given throughput.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    pub what: Option<What>,
    #[command(flatten)]
    pub tables: TableArgs,
}

/// What else there is.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum What {
    /// Pattern 1, Pattern 3 or N replicas for a trace or a report, with reasons.
    Advise(Box<AdviseArgs>),
    /// The shipped prices and throughputs with their origins; a file of your own has the same shape.
    Pricing,
}

/// Prints the answer.
///
/// # Errors
/// A file that cannot be used, an unknown accelerator, or no throughput anywhere.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.what {
        None => tables(&args.tables)?,
        Some(What::Advise(args)) => advise::run(args)?,
        Some(What::Pricing) => report::emit(pricing::SHIPPED)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn tables(args: &TableArgs) -> anyhow::Result<()> {
    let answer = tables::report(args)?;
    match args.common.format() {
        Format::Json => report::emit_json(&answer),
        format => {
            let title = format!("Cost of a service on {}", answer.basis.accelerator.name);
            Ok(report::emit(&show::render(
                &title,
                &show::sections(&answer),
                format,
            ))?)
        }
    }
}
