//! `prefixgate verify`: the operator's checks of a running system.

use std::process::ExitCode;

pub(crate) async fn run(args: operate::verify::Args) -> anyhow::Result<ExitCode> {
    operate::verify::run(args).await
}
