//! `prefixgate serve`: the gateway before replicas that already run.

use std::process::ExitCode;

use crate::config::Overrides;
use crate::system::System;
use crate::up::signals::{hurried_exit, stop_requested, unless_hurried};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    overrides: Overrides,

    /// Take pools from InferencePools and LLMInferenceServices, endpoints from pods and rules from HTTPRoutes of the
    /// cluster that the kubeconfig or the service account leads to
    #[arg(long)]
    kubernetes: bool,

    /// Namespace to look in; all of them without
    #[arg(long, value_name = "NAMESPACE", requires = "kubernetes")]
    namespace: Option<String>,

    /// The Gateway whose routes are served; those of every Gateway of our class without
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "kubernetes", value_parser = gateway_name)]
    gateway: Option<(String, String)>,
}

fn gateway_name(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("write it as namespace/name".to_owned()),
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = super::config::resolved(&args.overrides)?.config;
    anyhow::ensure!(
        !config.pools.is_empty() || args.kubernetes,
        "there is no pool to serve: name replicas with --endpoint URL, pools in a file given with --config, or a cluster with --kubernetes"
    );
    let system = System::start(config.clone()).await?;
    if args.kubernetes {
        let discovery = k8s::discovery::DiscoveryConfig {
            namespace: args.namespace,
            gateway: args.gateway,
            objectives: false,
        };
        system.follow_cluster(&config, discovery).await?;
    }
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
    if unless_hurried(system.stop()).await {
        return Ok(ExitCode::SUCCESS);
    }
    tracing::warn!("stopping at once: requests in flight are cut");
    Ok(hurried_exit())
}
