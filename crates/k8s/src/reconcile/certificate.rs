//! Where does an engine that is told to serve with a certificate get one?

use std::collections::BTreeMap;

use anyhow::Context as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;

use super::Context;
use super::queue::Key;
use crate::desired::{self, Resolved, names};

/// Makes the self-signed certificate once, when the engine's arguments ask for TLS and the Secret is not there. One that
/// is there, whoever made it, is left as it is. Goes with the service.
pub(super) async fn provide(
    context: &Context,
    resolved: &Resolved,
    key: &Key,
) -> anyhow::Result<()> {
    let asked = resolved
        .spec
        .workload
        .template
        .as_ref()
        .is_some_and(desired::uses_tls);
    if !asked {
        return Ok(());
    }
    let name = names::certificate(&key.name);
    let api = Api::<Secret>::namespaced(context.client.clone(), &key.namespace);
    if api
        .get_metadata_opt(&name)
        .await
        .context("cannot look for the engines' certificate")?
        .is_some()
    {
        return Ok(());
    }
    let service = names::workload_service(&key.name);
    let hosts = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        service.clone(),
        format!("{service}.{}.svc", key.namespace),
        format!("{service}.{}.svc.cluster.local", key.namespace),
    ];
    let pair = rcgen::KeyPair::generate().context("cannot make a key")?;
    let certificate = rcgen::CertificateParams::new(hosts)
        .and_then(|parameters| parameters.self_signed(&pair))
        .context("cannot make a certificate")?;
    let pem = certificate.pem().into_bytes();
    let data = BTreeMap::from([
        (
            "tls.key".to_owned(),
            ByteString(pair.serialize_pem().into_bytes()),
        ),
        ("tls.crt".to_owned(), ByteString(pem.clone())),
        ("ca.crt".to_owned(), ByteString(pem)),
    ]);
    let mut secret = Secret {
        data: Some(data),
        type_: Some("kubernetes.io/tls".to_owned()),
        ..Secret::default()
    };
    secret.metadata.name = Some(name);
    secret.metadata.labels = Some(names::component(&key.name, "llminferenceservice-workload"));
    secret.metadata.owner_references =
        kube::Resource::controller_owner_ref(&resolved.service, &()).map(|owner| vec![owner]);
    match api.create(&PostParams::default(), &secret).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error).context("cannot create the engines' certificate"),
    }
}
