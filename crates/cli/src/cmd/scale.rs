//! `prefixgate scale`: a replica count, and what comes of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use k8s::scale::{Request, scale};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the LLMInferenceService.
    name: String,

    /// Replicas it is to have; 0 refuses requests.
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    replicas: u32,

    /// Namespace of the service; the kubeconfig's own when absent.
    #[arg(long, short)]
    namespace: Option<String>,

    /// Cluster to work on; KUBECONFIG or the pod's own account when absent.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Seconds to wait until exactly so many are ready; 0 does not wait.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    timeout: u64,
}

#[allow(clippy::print_stdout, reason = "the answer of the command")]
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = k8s::reconcile::client::connect(args.kubeconfig.as_deref()).await?;
    let request = Request {
        namespace: args.namespace,
        name: args.name,
        replicas: args.replicas,
        wait: Duration::from_secs(args.timeout),
    };
    scale(client, &request, |line| println!("{line}")).await?;
    Ok(ExitCode::SUCCESS)
}
