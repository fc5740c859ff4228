//! `prefixgate serve`: the gateway before replicas that already run.

use std::process::ExitCode;

use crate::config::Overrides;
use crate::system::System;
use crate::up::signals::stop_requested;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    overrides: Overrides,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = super::config::resolved(&args.overrides)?.config;
    anyhow::ensure!(
        !config.pools.is_empty(),
        "there is no pool to serve: name replicas with --endpoint URL, or pools in a file given with --config"
    );
    let system = System::start(config).await?;
    tracing::info!(
        "gateway on http://{}, admin and metrics on http://{}",
        system.listen,
        system.admin_listen
    );
    for pool in &system.pools {
        tracing::info!(
            pool = pool.fleet.pool(),
            preset = pool.preset,
            "{}",
            pool.fleet.profile()
        );
    }
    stop_requested().await;
    tracing::info!("stopping: no new requests, those in flight end first");
    system.stop().await;
    Ok(ExitCode::SUCCESS)
}
