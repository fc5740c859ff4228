//! `prefixgate engine`: one vLLM-compatible model server.

use std::process::ExitCode;

use crate::up::signals::stop_requested;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    engine: engine::EngineArgs,

    /// End when standard input closes: how engines of `up` end with it even when it is killed.
    #[arg(long, hide = true)]
    exit_on_stdin_close: bool,
}

/// Whether an engine would start with the flags in `words`, its port aside.
///
/// # Errors
/// What it would say instead.
pub(crate) fn check(words: &[String]) -> anyhow::Result<()> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    let line = <Line as clap::Parser>::try_parse_from(words)?;
    engine::check(line.args.engine)
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.exit_on_stdin_close {
        // The parent is gone and nobody is left to answer to: no drain.
        tokio::spawn(async {
            super::guard::input_closed().await;
            std::process::exit(0);
        });
    }
    engine::run(args.engine, stop_requested()).await?;
    Ok(ExitCode::SUCCESS)
}
