//! What does the cluster hold, as far as the controller looks?

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1 as core;
use kube::core::{PartialObjectMeta, Resource};
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::queue::Key;
use crate::desired::names;
use crate::types::{
    Deployment, Gateway, GatewayClass, HttpRoute, InferencePool, LlmInferenceService,
    LlmInferenceServiceConfig, WorkloadPod,
};

/// A view of one kind, and the way it is filled.
pub(crate) struct View<K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static> {
    store: Store<K>,
    writer: parking_lot::Mutex<Option<Writer<K>>>,
}

impl<K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static> Default for View<K> {
    fn default() -> Self {
        let writer = Writer::<K>::new(());
        Self {
            store: writer.as_reader(),
            writer: parking_lot::Mutex::new(Some(writer)),
        }
    }
}

impl<K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static> View<K> {
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let object = ObjectRef::new(name);
        let object = if namespace.is_empty() {
            object
        } else {
            object.within(namespace)
        };
        self.store.get(&object)
    }

    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.store.state()
    }
}

/// Everything looked at. Pods and Deployments are those of services only.
pub(crate) struct Views {
    pub(crate) services: View<LlmInferenceService>,
    pub(crate) configs: View<LlmInferenceServiceConfig>,
    pub(crate) deployments: View<Deployment>,
    pub(crate) pods: View<WorkloadPod>,
    pub(crate) routes: View<HttpRoute>,
    pub(crate) gateways: View<Gateway>,
    pub(crate) classes: View<GatewayClass>,
    pub(crate) pools: View<InferencePool>,
    pub(crate) core_services: View<PartialObjectMeta<core::Service>>,
    pub(crate) namespaces: View<PartialObjectMeta<core::Namespace>>,
    /// Counts changes of what gateways' statuses depend on.
    pub(crate) routing_changes: watch::Sender<u64>,
    /// What services depend on of each gateway: its count of routes, which each of them changes, is not in it.
    gateways_seen: parking_lot::Mutex<HashMap<Key, String>>,
}

impl Default for Views {
    fn default() -> Self {
        Self {
            services: View::default(),
            configs: View::default(),
            deployments: View::default(),
            pods: View::default(),
            routes: View::default(),
            gateways: View::default(),
            classes: View::default(),
            pools: View::default(),
            core_services: View::default(),
            namespaces: View::default(),
            routing_changes: watch::Sender::new(0),
            gateways_seen: parking_lot::Mutex::default(),
        }
    }
}

impl Views {
    /// Waits until the views that decide what objects are wanted are filled.
    pub(crate) async fn synced(&self, stop: &CancellationToken) {
        let filled = async {
            let _ = self.services.store.wait_until_ready().await;
            let _ = self.configs.store.wait_until_ready().await;
            let _ = self.deployments.store.wait_until_ready().await;
            let _ = self.pods.store.wait_until_ready().await;
            // Gateway kinds may not exist at all; half a minute is enough for those that do.
            let optional = async {
                let _ = self.classes.store.wait_until_ready().await;
                let _ = self.gateways.store.wait_until_ready().await;
                let _ = self.routes.store.wait_until_ready().await;
                let _ = self.pools.store.wait_until_ready().await;
            };
            let _ = tokio::time::timeout(Duration::from_secs(3), optional).await;
        };
        tokio::select! {
            () = filled => {}
            () = stop.cancelled() => {}
        }
    }

    pub(crate) fn every_service(&self, mut each: impl FnMut(Key)) {
        for service in self.services.all() {
            each(key_of(&*service));
        }
    }
}

pub(crate) fn key_of<K: Resource>(object: &K) -> Key {
    let metadata = object.meta();
    Key::new(
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

/// The service an object belongs to, by its label.
fn by_label<K: Resource>(object: &K) -> Option<Key> {
    let metadata = object.meta();
    let labels = metadata.labels.as_ref()?;
    if labels.get("app.kubernetes.io/part-of").map(String::as_str) != Some(names::PART_OF) {
        return None;
    }
    Some(Key::new(
        metadata.namespace.as_deref().unwrap_or_default(),
        labels.get("app.kubernetes.io/name")?,
    ))
}

/// Starts every watch.
pub(super) fn watch(context: &Arc<Context>, tasks: &mut JoinSet<()>) {
    let client = || context.client.clone();
    let namespace = context.options.namespace.as_deref();
    let ours =
        watcher::Config::default().labels(&format!("app.kubernetes.io/part-of={}", names::PART_OF));
    let any = watcher::Config::default;

    spawn(
        context,
        tasks,
        |views| &views.services,
        scoped(client(), namespace),
        any(),
        |context, service| {
            context.queue.push(key_of(service));
        },
    );
    spawn(
        context,
        tasks,
        |views| &views.configs,
        scoped(client(), None),
        any(),
        |context, _| {
            context.views.every_service(|key| context.queue.push(key));
        },
    );
    spawn(
        context,
        tasks,
        |views| &views.deployments,
        scoped(client(), namespace),
        ours.clone(),
        |context, object| {
            by_label(object)
                .into_iter()
                .for_each(|key| context.queue.push(key));
        },
    );
    spawn(
        context,
        tasks,
        |views| &views.pods,
        scoped(client(), namespace),
        ours,
        |context, pod| {
            by_label(pod)
                .into_iter()
                .for_each(|key| context.queue.push(key));
        },
    );
    spawn(
        context,
        tasks,
        |views| &views.routes,
        scoped(client(), None),
        any(),
        |context, route| {
            by_label(route)
                .into_iter()
                .for_each(|key| context.queue.push(key));
            routing_changed(context);
        },
    );
    spawn(
        context,
        tasks,
        |views| &views.pools,
        scoped(client(), None),
        any(),
        |context, pool| {
            by_label(pool)
                .into_iter()
                .for_each(|key| context.queue.push(key));
            routing_changed(context);
        },
    );
    spawn(
        context,
        tasks,
        |views| &views.gateways,
        scoped(client(), None),
        any(),
        |context, gateway| {
            services_through(context, gateway);
            routing_changed(context);
        },
    );
    spawn(
        context,
        tasks,
        |views| &views.classes,
        Api::all(client()),
        any(),
        |context, _| {
            context.views.every_service(|key| context.queue.push(key));
            routing_changed(context);
        },
    );
    spawn(
        context,
        tasks,
        |views| &views.core_services,
        scoped(client(), None),
        any(),
        |context, service| {
            by_label(service)
                .into_iter()
                .for_each(|key| context.queue.push(key));
            routing_changed(context);
        },
    );
    spawn(
        context,
        tasks,
        |views| &views.namespaces,
        Api::all(client()),
        any(),
        |context, _| routing_changed(context),
    );
}

fn routing_changed(context: &Context) {
    context
        .views
        .routing_changes
        .send_modify(|changes| *changes = changes.wrapping_add(1));
}

/// Services whose route goes through a gateway: from their routes, not from all services.
fn services_through(context: &Context, gateway: &Gateway) {
    let status = gateway.status.clone().unwrap_or_default();
    let matters = format!(
        "{:?} {:?} {:?}",
        gateway.spec, status.conditions, status.addresses
    );
    let gateway = key_of(gateway);
    if context
        .views
        .gateways_seen
        .lock()
        .insert(gateway.clone(), matters.clone())
        == Some(matters)
    {
        return;
    }
    let mut found = false;
    for route in context.views.routes.all() {
        let own = route.metadata.namespace.clone().unwrap_or_default();
        let through = route.spec.parent_refs.iter().any(|parent| {
            parent.name == gateway.name
                && parent.namespace.as_deref().unwrap_or(&own) == gateway.namespace
        });
        if through && let Some(key) = by_label(&*route) {
            context.queue.push(key);
            found = true;
        }
    }
    if !found {
        // New: whoever waits for it may not have a route yet.
        context.views.every_service(|key| context.queue.push(key));
    }
}

fn scoped<K>(client: Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

fn spawn<K>(
    context: &Arc<Context>,
    tasks: &mut JoinSet<()>,
    view: impl Fn(&Views) -> &View<K>,
    api: Api<K>,
    config: watcher::Config,
    changed: impl Fn(&Context, &K) + Send + 'static,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Default,
{
    let Some(writer) = view(&context.views).writer.lock().take() else {
        return;
    };
    let context = Arc::clone(context);
    let changes = watcher(api, config).default_backoff().modify(|object| {
        // As large as the object itself, and nobody reads it.
        object.meta_mut().managed_fields = None;
    });
    tasks.spawn(async move {
        let mut events = std::pin::pin!(reflector(writer, changes));
        let (mut away, mut filled) = (false, false);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if std::mem::take(&mut away) {
                        tracing::info!("{}: watched again", K::plural(&()));
                    }
                    if let watcher::Event::Apply(object) | watcher::Event::InitApply(object) | watcher::Event::Delete(object) = &event {
                        changed(&context, object);
                    }
                    // Read anew: what was deleted meanwhile is not among what was read, so nothing else tells of it.
                    if matches!(event, watcher::Event::InitDone) && std::mem::replace(&mut filled, true) {
                        context.views.every_service(|key| context.queue.push(key));
                        routing_changed(&context);
                    }
                }
                Err(error) => {
                    let missing = matches!(&error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404);
                    if !std::mem::replace(&mut away, true) {
                        if missing {
                            tracing::info!("{}.{} is not installed; it is looked for until it is", K::plural(&()), K::group(&()));
                        } else {
                            tracing::warn!("{}: watch interrupted, the last view is kept: {error}", K::plural(&()));
                        }
                    }
                }
            }
        }
    });
}
