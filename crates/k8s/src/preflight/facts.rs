//! What does the cluster say of what a manifest needs?

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;
use kube::core::Request;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::needs::{Needs, amount, items};
use crate::types::{Gateway, GatewayClass};

/// Known, or why it is not.
pub type Fact<T> = Result<T, String>;

/// Served versions of a resource definition, and its bundle version where it says one.
pub(super) type Served = (BTreeSet<String>, Option<String>);

/// Everything that was read.
#[derive(Clone, Debug)]
pub struct Facts {
    pub server_version: Fact<String>,
    pub namespace_exists: Fact<bool>,
    /// In the order of the needs; `None` where it does not exist.
    pub gateways: Vec<Fact<Option<Gateway>>>,
    pub classes: Fact<Vec<GatewayClass>>,
    /// By name of the definition.
    pub definitions: Fact<BTreeMap<String, Served>>,
    /// Ready Deployments of cert-manager; `None` where its namespace holds none.
    pub cert_manager: Fact<Option<bool>>,
    /// Keys of each secret that is needed; `None` where it does not exist.
    pub secrets: BTreeMap<String, Fact<Option<BTreeSet<String>>>>,
    pub nodes: Fact<Vec<NodeFacts>>,
    pub pods: Fact<Vec<PodFacts>>,
    /// Left of each quota'd resource in the namespace.
    pub quota: Fact<BTreeMap<String, u64>>,
    /// Most nodes by group, where a cluster autoscaler says so.
    pub group_max: Fact<BTreeMap<String, u64>>,
}

/// A node, as far as chips are concerned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeFacts {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Value>,
    pub allocatable: BTreeMap<String, u64>,
    /// Ready and not cordoned.
    pub usable: bool,
}

/// A pod that holds chips.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodFacts {
    pub node: String,
    /// Of the very service that is checked.
    pub own: bool,
    pub chips: BTreeMap<String, u64>,
}

#[derive(serde::Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Value>,
}

/// `None` for 404; words for everything else that is no answer.
async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> Fact<Option<T>> {
    let (collection, name) = path.rsplit_once('/').unwrap_or(("", path));
    let request = Request::new(collection)
        .get(name, &kube::api::GetParams::default())
        .map_err(|error| error.to_string())?;
    answered(client.request::<T>(request).await)
}

fn answered<T>(answer: kube::Result<T>) -> Fact<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            Err(format!("not allowed to read it: {}", status.message))
        }
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

async fn list(client: &Client, path: &str) -> Fact<Vec<Value>> {
    let request = Request::new(path)
        .list(&kube::api::ListParams::default())
        .map_err(|error| error.to_string())?;
    answered(client.request::<List>(request).await)
        .map(|found| found.map_or(Vec::new(), |list| list.items))
}

impl Facts {
    /// Reads everything that `needs` may depend on; nothing that fails stops the rest.
    pub async fn read(client: &Client, needs: &Needs) -> Self {
        let home = format!("/api/v1/namespaces/{}", needs.namespace);
        let mut gateways = Vec::new();
        for (namespace, name) in &needs.gateways {
            let path = format!(
                "/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/gateways/{name}"
            );
            gateways.push(get(client, &path).await);
        }
        let mut secrets = BTreeMap::new();
        for name in needs.pull_secrets.iter().chain(needs.secrets.keys()) {
            let secret: Fact<Option<Value>> = get(client, &format!("{home}/secrets/{name}")).await;
            secrets.insert(
                name.clone(),
                secret.map(|secret| secret.map(|secret| keys(&secret))),
            );
        }
        Self {
            server_version: client
                .apiserver_version()
                .await
                .map(|version| version.git_version)
                .map_err(|error| error.to_string()),
            namespace_exists: get::<Value>(client, &home)
                .await
                .map(|found| found.is_some()),
            gateways,
            classes: list(client, "/apis/gateway.networking.k8s.io/v1/gatewayclasses")
                .await
                .map(|all| {
                    all.into_iter()
                        .filter_map(|one| serde_json::from_value(one).ok())
                        .collect()
                }),
            definitions: list(
                client,
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            )
            .await
            .map(|all| all.iter().map(definition).collect()),
            cert_manager: list(client, "/apis/apps/v1/namespaces/cert-manager/deployments")
                .await
                .map(cert_manager),
            secrets,
            nodes: list(client, "/api/v1/nodes")
                .await
                .map(|all| all.iter().map(node).collect()),
            pods: list(client, "/api/v1/pods")
                .await
                .map(|all| all.iter().filter_map(|one| pod(one, needs)).collect()),
            quota: list(client, &format!("{home}/resourcequotas"))
                .await
                .map(|all| left(&all)),
            group_max: get::<Value>(
                client,
                "/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status",
            )
            .await
            .map(|map| {
                map.map_or(BTreeMap::new(), |map| {
                    group_max(map["data"]["status"].as_str().unwrap_or_default())
                })
            }),
        }
    }
}

fn keys(secret: &Value) -> BTreeSet<String> {
    secret["data"]
        .as_object()
        .into_iter()
        .flat_map(|data| data.keys().cloned())
        .collect()
}

fn definition(one: &Value) -> (String, (BTreeSet<String>, Option<String>)) {
    let served = items(&one["spec"]["versions"])
        .iter()
        .filter(|version| version["served"] == true)
        .filter_map(|version| Some(version["name"].as_str()?.to_owned()))
        .collect();
    let annotations = one["metadata"]["annotations"].as_object();
    let bundle = annotations
        .into_iter()
        .flatten()
        .find(|(key, _)| {
            key.ends_with("/bundle-version")
                && one["spec"]["group"]
                    .as_str()
                    .is_some_and(|group| key.starts_with(group))
        })
        .and_then(|(_, value)| Some(value.as_str()?.to_owned()));
    (
        one["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        (served, bundle),
    )
}

fn cert_manager(deployments: Vec<Value>) -> Option<bool> {
    let available = |one: &Value| one["status"]["availableReplicas"].as_u64().unwrap_or(0) > 0;
    (!deployments.is_empty()).then(|| deployments.iter().all(available))
}

fn counts(resources: &Value) -> BTreeMap<String, u64> {
    let pairs = resources.as_object().into_iter().flatten();
    pairs
        .filter_map(|(key, value)| Some((key.clone(), amount(value)?)))
        .collect()
}

fn node(one: &Value) -> NodeFacts {
    let ready = items(&one["status"]["conditions"])
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let labels = one["metadata"]["labels"].as_object().into_iter().flatten();
    NodeFacts {
        name: one["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        labels: labels
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
        taints: items(&one["spec"]["taints"]).to_vec(),
        allocatable: counts(&one["status"]["allocatable"]),
        usable: ready && one["spec"]["unschedulable"] != true,
    }
}

fn pod(one: &Value, needs: &Needs) -> Option<PodFacts> {
    let node = one["spec"]["nodeName"].as_str()?.to_owned();
    if matches!(
        one["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    ) {
        return None;
    }
    let mut chips: BTreeMap<String, u64> = BTreeMap::new();
    for container in items(&one["spec"]["containers"]) {
        for (name, count) in counts(&container["resources"]["limits"]) {
            *chips.entry(name).or_default() += count;
        }
    }
    let labels = &one["metadata"]["labels"];
    let own = one["metadata"]["namespace"] == needs.namespace.as_str()
        && labels["app.kubernetes.io/part-of"] == "llminferenceservice"
        && labels["app.kubernetes.io/name"] == needs.name.as_str();
    Some(PodFacts { node, own, chips })
}

/// What the tightest quota leaves, by resource.
fn left(quotas: &[Value]) -> BTreeMap<String, u64> {
    let mut left = BTreeMap::new();
    for quota in quotas {
        let used = counts(&quota["status"]["used"]);
        for (name, hard) in counts(&quota["spec"]["hard"]) {
            let room = hard.saturating_sub(used.get(&name).copied().unwrap_or(0));
            left.entry(name)
                .and_modify(|least: &mut u64| *least = room.min(*least))
                .or_insert(room);
        }
    }
    left
}

/// `maxSize` of each node group, from the status that a cluster autoscaler keeps.
fn group_max(status: &str) -> BTreeMap<String, u64> {
    let status: Value = serde_saphyr::from_str(status).unwrap_or_default();
    let group = |group: &Value| {
        let max = group["health"]["maxSize"].as_u64()?;
        Some((group["name"].as_str()?.to_owned(), max))
    };
    items(&status["nodeGroups"])
        .iter()
        .filter_map(group)
        .collect()
}
