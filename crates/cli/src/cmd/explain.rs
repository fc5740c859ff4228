//! `prefixgate explain`: why a request would go where.

use std::process::ExitCode;

pub(crate) async fn run(args: operate::explain::Args) -> anyhow::Result<ExitCode> {
    operate::explain::run(args).await
}
