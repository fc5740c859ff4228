//! `prefixgate plugins`: every scheduling plugin with its formula, parameters and defaults.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this plugin type.
    name: Option<String>,
}

#[allow(clippy::print_stdout, reason = "the answer of the command")]
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.name {
        None => print!("{}", scheduler::plugins_markdown()),
        Some(name) => match scheduler::plugin_markdown(&name) {
            Ok(text) => print!("{text}"),
            Err(error) => anyhow::bail!("{error}"),
        },
    }
    Ok(ExitCode::SUCCESS)
}
