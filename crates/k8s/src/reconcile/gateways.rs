//! What becomes of Gateways of our class, and of the routes and pools they serve?
//!
//! Classes, Gateways, routes and pools each get a status; only entries of our own are written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::Context;
use super::apply::apply;
use super::routes::{self, Cluster};
use crate::desired::{gateway, names};
use crate::types::{
    Condition, Gateway, GatewayClass, HttpRoute, InferencePool, PoolParent, RouteParentStatus,
};

/// Changes within this time are one look.
const DEBOUNCE: Duration = Duration::from_millis(200);
const RESYNC: Duration = Duration::from_secs(120);
const RETRY: Duration = Duration::from_secs(2);
/// What the gateway can do, for `supportedFeatures`.
const FEATURES: [&str; 4] = [
    "Gateway",
    "HTTPRoute",
    "HTTPRoutePathRewrite",
    "SupportInferencePool",
];

pub(super) async fn reconcile_forever(context: Arc<Context>) {
    let mut changes = context.views.routing_changes.subscribe();
    loop {
        tokio::time::sleep(DEBOUNCE).await;
        changes.mark_unchanged();
        let wait = match reconcile(&context).await {
            Ok(()) => RESYNC,
            Err(error) => {
                tracing::debug!("gateways: will look again: {error:#}");
                RETRY
            }
        };
        let _ = tokio::time::timeout(super::jittered(wait), changes.changed()).await;
    }
}

async fn reconcile(context: &Context) -> anyhow::Result<()> {
    let views = &context.views;
    let classes: Vec<_> = views
        .classes
        .all()
        .into_iter()
        .filter(|class| class.spec.controller_name == names::GATEWAY_CONTROLLER)
        .collect();
    for class in &classes {
        accept_class(context, class).await?;
    }
    let ours: BTreeSet<_> = classes
        .iter()
        .filter_map(|class| class.metadata.name.clone())
        .collect();
    let gateways: Vec<_> = views
        .gateways
        .all()
        .into_iter()
        .filter(|gateway| ours.contains(&gateway.spec.gateway_class_name))
        .collect();
    let routes = views.routes.all();
    let pools = views.pools.all();
    let cluster = Cluster {
        gateways: &gateways,
        pools: &pools,
        services: views
            .core_services
            .all()
            .iter()
            .map(|service| super::views::key_of(&**service))
            .collect(),
        namespaces: views
            .namespaces
            .all()
            .iter()
            .map(|namespace| {
                let metadata = &namespace.metadata;
                (
                    metadata.name.clone().unwrap_or_default(),
                    metadata.labels.clone().unwrap_or_default(),
                )
            })
            .collect(),
        now: crate::status::now_text(Timestamp::now()),
    };
    for gateway in &gateways {
        gateway_pass(context, gateway, &routes, &cluster).await?;
    }
    for route in &routes {
        route_status(context, route, &cluster).await?;
    }
    for pool in &pools {
        pool_status(context, pool, &routes, &cluster).await?;
    }
    Ok(())
}

async fn accept_class(context: &Context, class: &GatewayClass) -> anyhow::Result<()> {
    let old = class
        .status
        .as_ref()
        .map(|status| status.conditions.clone())
        .unwrap_or_default();
    let now = crate::status::now_text(Timestamp::now());
    let conditions = vec![routes::turn(
        &old,
        "Accepted",
        true,
        "Accepted",
        "prefixgate serves gateways of this class",
        class.metadata.generation,
        &now,
    )];
    if conditions == old {
        return Ok(());
    }
    let features: Vec<_> = FEATURES.iter().map(|name| json!({"name": name})).collect();
    let status = json!({"conditions": conditions, "supportedFeatures": features});
    let name = class.metadata.name.clone().unwrap_or_default();
    let api = Api::<GatewayClass>::all(context.client.clone());
    patch(
        &api,
        &name,
        class.metadata.resource_version.as_deref(),
        status,
    )
    .await
}

async fn gateway_pass(
    context: &Context,
    gateway: &Arc<Gateway>,
    routes: &[Arc<HttpRoute>],
    cluster: &Cluster<'_>,
) -> anyhow::Result<()> {
    let namespace = gateway.metadata.namespace.clone().unwrap_or_default();
    let name = gateway.metadata.name.clone().unwrap_or_default();
    if gateway.metadata.deletion_timestamp.is_some() {
        return release(context, gateway).await;
    }
    let objects = gateway::objects(gateway, &context.options.settings);
    if !objects.is_empty() {
        hold(context, gateway).await?;
    }
    for object in &objects {
        apply(context, object).await?;
    }
    let addresses = addresses(context, &namespace, &name).await;
    let status = routes::gateway_status(gateway, routes, addresses, cluster);
    let old = gateway
        .status
        .as_ref()
        .map(serde_json::to_value)
        .transpose()?
        .unwrap_or_default();
    if old == serde_json::to_value(&status)? {
        return Ok(());
    }
    let api = Api::<Gateway>::namespaced(context.client.clone(), &namespace);
    patch(
        &api,
        &name,
        gateway.metadata.resource_version.as_deref(),
        serde_json::to_value(&status)?,
    )
    .await
}

/// Kept on a Gateway while its ClusterRoleBinding, which nothing can own, exists.
const FINALIZER: &str = "prefixgate.dev/gateway";

async fn hold(context: &Context, gateway: &Gateway) -> anyhow::Result<()> {
    let mut finalizers = gateway.metadata.finalizers.clone().unwrap_or_default();
    if finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(());
    }
    finalizers.push(FINALIZER.to_owned());
    finalize(context, gateway, finalizers).await
}

async fn release(context: &Context, gateway: &Gateway) -> anyhow::Result<()> {
    let finalizers = gateway.metadata.finalizers.clone().unwrap_or_default();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(());
    }
    let namespace = gateway.metadata.namespace.as_deref().unwrap_or_default();
    let binding = gateway::binding_name(
        namespace,
        gateway.metadata.name.as_deref().unwrap_or_default(),
    );
    let api = Api::<k8s_openapi::api::rbac::v1::ClusterRoleBinding>::all(context.client.clone());
    match api
        .delete(&binding, &kube::api::DeleteParams::default())
        .await
    {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(error).context("cannot delete the gateway's ClusterRoleBinding"),
    }
    finalize(
        context,
        gateway,
        finalizers
            .into_iter()
            .filter(|finalizer| finalizer != FINALIZER)
            .collect(),
    )
    .await
}

async fn finalize(
    context: &Context,
    gateway: &Gateway,
    finalizers: Vec<String>,
) -> anyhow::Result<()> {
    let api = Api::<Gateway>::namespaced(
        context.client.clone(),
        gateway.metadata.namespace.as_deref().unwrap_or_default(),
    );
    let body = json!({"metadata": {"finalizers": finalizers, "resourceVersion": gateway.metadata.resource_version}});
    api.patch(
        gateway.metadata.name.as_deref().unwrap_or_default(),
        &PatchParams::default(),
        &Patch::Merge(body),
    )
    .await
    .context("cannot set the Gateway's finalizers")?;
    Ok(())
}

/// Where the gateway is reached: as set, else as its Service's load balancer says, else inside of the cluster.
async fn addresses(context: &Context, namespace: &str, name: &str) -> Vec<String> {
    if let Some(address) = &context.options.settings.gateway_address {
        let host = address
            .rsplit_once(':')
            .map_or(address.as_str(), |(host, _)| host);
        return vec![host.trim_matches(['[', ']']).to_owned()];
    }
    let api = Api::<core::Service>::namespaced(context.client.clone(), namespace);
    let Ok(Some(service)) = api.get_opt(&gateway::name(name)).await else {
        return Vec::new();
    };
    let ingress = service
        .status
        .and_then(|status| status.load_balancer?.ingress)
        .unwrap_or_default();
    let external: Vec<_> = ingress
        .into_iter()
        .filter_map(|ingress| ingress.ip.or(ingress.hostname))
        .collect();
    if !external.is_empty() {
        return external;
    }
    service
        .spec
        .and_then(|spec| spec.cluster_ip)
        .filter(|ip| ip != "None" && !ip.is_empty())
        .into_iter()
        .collect()
}

async fn route_status(
    context: &Context,
    route: &HttpRoute,
    cluster: &Cluster<'_>,
) -> anyhow::Result<()> {
    let old = route
        .status
        .as_ref()
        .map(|status| status.parents.clone())
        .unwrap_or_default();
    let (ours, others): (Vec<_>, Vec<_>) = old
        .iter()
        .cloned()
        .partition(|entry| entry.controller_name == names::GATEWAY_CONTROLLER);
    let grants = grants(context, route).await;
    let new: Vec<RouteParentStatus> = routes::route_parents(route, &ours, &grants, cluster);
    if new == ours {
        return Ok(());
    }
    let all: Vec<_> = others.into_iter().chain(new).collect();
    let metadata = &route.metadata;
    let api = Api::<HttpRoute>::namespaced(
        context.client.clone(),
        metadata.namespace.as_deref().unwrap_or_default(),
    );
    patch(
        &api,
        metadata.name.as_deref().unwrap_or_default(),
        metadata.resource_version.as_deref(),
        json!({"parents": all}),
    )
    .await
}

/// Grants that let the route's namespace name targets elsewhere; asked for only when it does.
async fn grants(context: &Context, route: &HttpRoute) -> Vec<Value> {
    let own = route.metadata.namespace.as_deref().unwrap_or_default();
    let elsewhere: BTreeSet<_> = route
        .spec
        .rules
        .iter()
        .flat_map(|rule| &rule.backend_refs)
        .filter_map(|target| {
            target
                .namespace
                .as_deref()
                .filter(|namespace| *namespace != own)
        })
        .collect();
    let mut grants = Vec::new();
    for namespace in elsewhere {
        let path = format!(
            "/apis/gateway.networking.k8s.io/v1beta1/namespaces/{namespace}/referencegrants"
        );
        let Ok(request) = http::Request::get(path).body(Vec::new()) else {
            continue;
        };
        let list = context
            .client
            .request::<Value>(request)
            .await
            .unwrap_or_default();
        grants.extend(list["items"].as_array().cloned().unwrap_or_default());
    }
    grants
}

async fn pool_status(
    context: &Context,
    pool: &InferencePool,
    routes: &[Arc<HttpRoute>],
    cluster: &Cluster<'_>,
) -> anyhow::Result<()> {
    let old = pool
        .status
        .as_ref()
        .map(|status| status.parents.clone())
        .unwrap_or_default();
    let (ours, others): (Vec<PoolParent>, Vec<_>) = old
        .into_iter()
        .partition(|entry| entry.controller_name.as_deref() == Some(names::GATEWAY_CONTROLLER));
    let new = routes::pool_parents(pool, routes, &ours, cluster);
    if new == ours {
        return Ok(());
    }
    let all: Vec<_> = others.into_iter().chain(new).collect();
    let metadata = &pool.metadata;
    let api = Api::<InferencePool>::namespaced(
        context.client.clone(),
        metadata.namespace.as_deref().unwrap_or_default(),
    );
    patch(
        &api,
        metadata.name.as_deref().unwrap_or_default(),
        metadata.resource_version.as_deref(),
        json!({"parents": all}),
    )
    .await
}

/// Conflicts instead of overwriting what another controller wrote meanwhile.
async fn patch<K>(
    api: &Api<K>,
    name: &str,
    version: Option<&str>,
    status: Value,
) -> anyhow::Result<()>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let body = json!({"metadata": {"resourceVersion": version}, "status": status});
    match api
        .patch_status(name, &PatchParams::default(), &Patch::Merge(body))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot write the status of {name}")),
    }
}

/// Conditions of a status that is about to be written.
pub(super) type Conditions = Vec<Condition>;
