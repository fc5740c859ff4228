//! `prefixgate controller`: one manifest to running, routed, scaled replicas.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use k8s::desired::{
    DEFAULT_GATEWAY, DEFAULT_IMAGE, DEFAULT_PRESET_PREFIX, DEFAULT_STORAGE_IMAGE,
    DEFAULT_SYSTEM_NAMESPACE, Extras, Settings, Wanted, gateway_named,
};
use k8s::reconcile::{Claim, DEFAULT_CONCURRENCY, Options};
use tokio_util::sync::CancellationToken;

use crate::up::signals::stop_requested;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write the resource definitions into this folder (`-`: to standard output) and end.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "-")]
    print_crds: Option<PathBuf>,

    /// Cluster to work on; KUBECONFIG or the pod's own account when absent.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Look after services of this namespace only.
    #[arg(long, short)]
    namespace: Option<String>,

    /// Which services are reconciled.
    #[arg(long, value_enum, default_value_t = ClaimArg::Auto)]
    claim: ClaimArg,

    /// Namespace of shared configs and of the lease.
    #[arg(long, default_value = DEFAULT_SYSTEM_NAMESPACE, env = "PREFIXGATE_SYSTEM_NAMESPACE")]
    system_namespace: String,

    /// Gateway of services that say `gateway: {}`.
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = DEFAULT_GATEWAY)]
    default_gateway: String,

    /// Where gateways of our class are reached when they run outside of the cluster's Deployments; none is deployed then.
    #[arg(long, value_name = "HOST:PORT")]
    gateway_address: Option<String>,

    /// Image of pickers and gateways.
    #[arg(long, default_value = DEFAULT_IMAGE)]
    image: String,

    /// Image of the init container that fetches models.
    #[arg(long, default_value = DEFAULT_STORAGE_IMAGE)]
    storage_image: String,

    /// Put before the names of presets when they are looked up in the cluster.
    #[arg(long, default_value = DEFAULT_PRESET_PREFIX, env = "LLM_INFERENCE_SERVICE_CONFIG_PREFIX")]
    preset_prefix: String,

    /// Make a PodDisruptionBudget for each service.
    #[arg(long, value_enum, default_value_t = WantedArg::Auto)]
    pod_disruption_budget: WantedArg,

    /// Make a ServiceMonitor for each service.
    #[arg(long, value_enum, default_value_t = WantedArg::Auto)]
    service_monitor: WantedArg,

    /// Make NetworkPolicies for each service.
    #[arg(long, value_enum, default_value_t = WantedArg::Never)]
    network_policy: WantedArg,

    /// Services looked at at once.
    #[arg(long, default_value_t = DEFAULT_CONCURRENCY)]
    concurrency: usize,

    /// Write only while holding the lease, so that several controllers can stand by for each other.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = true)]
    leader_elect: bool,

    /// Name by which the lease is held; the host name and process id when absent.
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ClaimArg {
    /// All that are not annotated for another controller; where KServe's own controller is installed, only annotated ones.
    Auto,
    /// All that are not annotated for another controller.
    Unclaimed,
    /// Only those annotated `prefixgate.dev/controller: prefixgate`.
    Annotated,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum WantedArg {
    Never,
    /// Where the cluster knows the kind and it makes sense.
    Auto,
    Always,
}

impl From<WantedArg> for Wanted {
    fn from(wanted: WantedArg) -> Self {
        match wanted {
            WantedArg::Never => Self::Never,
            WantedArg::Auto => Self::Auto,
            WantedArg::Always => Self::Always,
        }
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &args.print_crds {
        print_crds(folder)?;
        return Ok(ExitCode::SUCCESS);
    }
    let client = k8s::reconcile::client::connect(args.kubeconfig.as_deref()).await?;
    let stop = CancellationToken::new();
    let running = k8s::reconcile::run(client, options(args), stop.clone());
    tokio::pin!(running);
    tokio::select! {
        result = &mut running => result?,
        () = stop_requested() => {
            tracing::info!("stopping: the lease is given back");
            stop.cancel();
            running.await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn options(args: Args) -> Options {
    let host = || {
        std::fs::read_to_string("/etc/hostname")
            .map(|name| name.trim().to_owned())
            .unwrap_or_default()
    };
    let identity = args
        .identity
        .unwrap_or_else(|| format!("{}-{}", host(), std::process::id()));
    Options {
        settings: Settings {
            system_namespace: args.system_namespace,
            default_gateway: gateway_named(&args.default_gateway),
            image: args.image,
            storage_image: args.storage_image,
            preset_prefix: args.preset_prefix,
            extras: Extras {
                pod_disruption_budget: args.pod_disruption_budget.into(),
                service_monitor: args.service_monitor.into(),
                network_policy: args.network_policy.into(),
            },
            gateway_address: args.gateway_address,
        },
        claim: match args.claim {
            ClaimArg::Auto => Claim::Auto,
            ClaimArg::Unclaimed => Claim::Unclaimed,
            ClaimArg::Annotated => Claim::Annotated,
        },
        namespace: args.namespace,
        concurrency: args.concurrency,
        identity: args.leader_elect.then_some(identity),
    }
}

#[allow(clippy::print_stdout, reason = "the answer of the command")]
fn print_crds(folder: &std::path::Path) -> anyhow::Result<()> {
    for (name, document) in k8s::types::crds::documents() {
        if folder == std::path::Path::new("-") {
            println!("---\n{document}");
        } else {
            let path = folder.join(name);
            std::fs::write(&path, document)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}
