//! Which API server is it?

use kube::{Client, Config};

/// The client of `--kubeconfig`, else of `KUBECONFIG` or the pod's own account.
///
/// # Errors
/// There is no configuration, or it cannot be read; says where it was looked for.
pub async fn connect(kubeconfig: Option<&std::path::Path>) -> anyhow::Result<Client> {
    use anyhow::Context;

    let config = match kubeconfig {
        Some(path) => {
            let kubeconfig = kube::config::Kubeconfig::read_from(path)
                .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
                .await
                .with_context(|| format!("the kubeconfig {} has no cluster to use", path.display()))?
        }
        None => Config::infer()
            .await
            .context("no cluster: set KUBECONFIG, give --kubeconfig FILE, or run in a pod with a service account")?,
    };
    Client::try_from(config).context("cannot make a client of the cluster's configuration")
}
