//! Which optional kinds does the API server know?

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::core::ApiResource;
use parking_lot::RwLock;
use serde_json::Value;

use super::Context;

/// Definitions come and go without a restart: asked this often.
const REFRESH: Duration = Duration::from_secs(60);
/// Name of the conversion webhook of KServe's own controller.
const KSERVE_WEBHOOK: &str = "llmisvc-webhook-server-service";

/// Every kind we apply: API version, kind, plural, optional.
const KNOWN: [(&str, &str, &str, bool); 18] = [
    ("apps/v1", "Deployment", "deployments", false),
    ("v1", "Service", "services", false),
    ("v1", "ConfigMap", "configmaps", false),
    ("v1", "Secret", "secrets", false),
    ("v1", "ServiceAccount", "serviceaccounts", false),
    ("rbac.authorization.k8s.io/v1", "Role", "roles", false),
    (
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        "rolebindings",
        false,
    ),
    (
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        false,
    ),
    (
        "policy/v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        false,
    ),
    (
        "networking.k8s.io/v1",
        "NetworkPolicy",
        "networkpolicies",
        false,
    ),
    (
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        false,
    ),
    (
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        "httproutes",
        true,
    ),
    (
        "inference.networking.k8s.io/v1",
        "InferencePool",
        "inferencepools",
        true,
    ),
    (
        "monitoring.coreos.com/v1",
        "ServiceMonitor",
        "servicemonitors",
        true,
    ),
    (
        "networking.gke.io/v1",
        "HealthCheckPolicy",
        "healthcheckpolicies",
        true,
    ),
    (
        "networking.istio.io/v1",
        "DestinationRule",
        "destinationrules",
        true,
    ),
    (
        "gateway.envoyproxy.io/v1alpha1",
        "BackendTrafficPolicy",
        "backendtrafficpolicies",
        true,
    ),
    ("keda.sh/v1alpha1", "ScaledObject", "scaledobjects", true),
];

/// How a kind is addressed; none: it is none of ours.
pub(crate) fn resource(kind: &str) -> Option<ApiResource> {
    let (api_version, kind, plural, _) = KNOWN.iter().find(|(_, known, ..)| *known == kind)?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Some(ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: (*api_version).to_owned(),
        kind: (*kind).to_owned(),
        plural: (*plural).to_owned(),
    })
}

pub(crate) struct Kinds {
    client: Client,
    known: RwLock<BTreeSet<String>>,
    kserve: RwLock<bool>,
}

impl Kinds {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            known: RwLock::default(),
            kserve: RwLock::new(false),
        }
    }

    /// Optional kinds there are.
    pub(crate) fn known(&self) -> BTreeSet<String> {
        self.known.read().clone()
    }

    /// KServe's own controller is installed for these services.
    pub(crate) fn kserve_installed(&self) -> bool {
        *self.kserve.read()
    }

    /// Asks again. What cannot be asked stays as it was.
    pub(crate) async fn refresh(&self) {
        let optional = KNOWN.iter().filter(|(.., optional)| *optional);
        for (api_version, kind, plural, _) in optional {
            match self.get(&format!("/apis/{api_version}")).await {
                Ok(Some(list)) => {
                    let there = list["resources"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .any(|resource| resource["name"] == *plural);
                    self.set(kind, there);
                }
                Ok(None) => self.set(kind, false),
                Err(error) => tracing::debug!("cannot ask for {api_version}: {error}"),
            }
        }
        let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/llminferenceservices.serving.kserve.io";
        if let Ok(crd) = self.get(crd).await {
            let service = crd.map(|crd| {
                crd["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["name"].clone()
            });
            *self.kserve.write() = service.is_some_and(|service| service == KSERVE_WEBHOOK);
        }
    }

    fn set(&self, kind: &str, there: bool) {
        let mut known = self.known.write();
        if there {
            known.insert(kind.to_owned());
        } else {
            known.remove(kind);
        }
    }

    async fn get(&self, path: &str) -> Result<Option<Value>, kube::Error> {
        let request = http::Request::get(path)
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        match self.client.request::<Value>(request).await {
            Ok(value) => Ok(Some(value)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Looks at every service again when a kind came or went.
pub(super) async fn refresh_forever(context: Arc<Context>) {
    loop {
        tokio::time::sleep(super::jittered(REFRESH)).await;
        let before = (context.kinds.known(), context.kinds.kserve_installed());
        context.kinds.refresh().await;
        if before != (context.kinds.known(), context.kinds.kserve_installed()) {
            context.views.every_service(|key| context.queue.push(key));
        }
    }
}
