//! `prefixgate bench`: load over real sockets, and reports of it.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    bench: benchmark::Bench,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    benchmark::run(args.bench).await
}
