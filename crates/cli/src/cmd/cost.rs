//! `prefixgate cost`: what a service costs, and how many replicas it should have.

use std::process::ExitCode;

pub(crate) fn run(args: &operate::cost::Args) -> anyhow::Result<ExitCode> {
    operate::cost::run(args)
}
