//! The `prefixgate` binary: reads settings, builds, waits, drains.

mod cmd;
mod config;
mod handles;
mod kubernetes;
mod logging;
mod system;
mod up;

use std::process::ExitCode;

use clap::Parser;

use crate::cmd::Command;

/// Bodies of some hundred kilobytes come and go with each request; the system's allocator maps and unmaps each.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Sends every LLM request to the replica that already holds its prefix in KV cache.
#[derive(Debug, Parser)]
#[command(
    name = "prefixgate",
    version,
    about,
    max_term_width = 100,
    propagate_version = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// More detail in the log: -v debug, -vv trace. `RUST_LOG` overrides both.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,

    /// One JSON object per log line.
    #[arg(long, global = true)]
    log_json: bool,
}

fn main() -> ExitCode {
    let words = match cmd::epp::without_foreign(std::env::args().collect()) {
        Ok(words) => words,
        Err(error) => return fail(&anyhow::Error::msg(error)),
    };
    let cli = Cli::parse_from(words);
    logging::start(cli.verbose, cli.log_json, cli.command.logs_by_default());
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return fail(&anyhow::Error::new(error).context("cannot start the async runtime"));
        }
    };
    let code = match runtime.block_on(cli.command.run()) {
        Ok(code) => code,
        Err(error) => fail(&error),
    };
    // A read of standard input that never ends must not keep the process.
    runtime.shutdown_background();
    code
}

/// One line that says what, where and what to do; causes follow indented.
#[allow(
    clippy::print_stderr,
    reason = "the command's last word goes to the terminal, whatever the log is set to"
)]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("prefixgate: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
    ExitCode::FAILURE
}
