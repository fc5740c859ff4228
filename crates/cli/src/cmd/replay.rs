//! `prefixgate replay`: a fleet in virtual time against a trace, any scheduling side by side.

use std::process::ExitCode;

pub(crate) type Args = benchmark::replay::Args;

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    benchmark::replay::run(args)
}
