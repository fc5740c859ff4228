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
