//! How far does the list go on an API server that is not the project's?
use std::path::Path;

pub(super) fn check(_: &Path, kubeconfig: &Path, _: &dyn Fn(&str)) -> anyhow::Result<()> {
    anyhow::bail!("{}", kubeconfig.display())
}
